"""Units of work with a repository, alike on SQLite and PostgreSQL, and the kernel's words for what fails in them."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.kernel.audit.draft import joining
from services.kernel.audit.record import Record
from services.kernel.data.audit_chain import append
from services.kernel.data.audit_tables import AuditTables
from services.kernel.data.backend import WRITE_LOCK
from services.kernel.data.writes import is_taken_key
from services.kernel.errors import CommitUnknown, Duplicate, RedFireError, Unavailable

R = TypeVar("R")
Transaction = AsyncSession
"""A unit of work's, for what only hands it on."""
# Connection exceptions, insufficient resources, operator intervention, system errors; and a read-only database.
UNAVAILABLE_CLASSES, READ_ONLY = {"08", "53", "57", "58"}, "25006"


class Repositories(Generic[R]):
    """Makes repositories, each on a transaction of its own: `async with orders() as repository`.

    Units that write do so one after the other, on both databases: what one has read is still so when it writes. Units
    that read see the state of one moment.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        make: Callable[[AsyncSession], R],
        turns: AbstractAsyncContextManager[None],
        audit: AuditTables,
    ) -> None:
        """`turns` is the database's: who waits to write does so without a connection that others could read by."""
        self._audit = audit
        self._make = make
        self._turns = turns
        self._engine = engine
        self._is_postgres = engine.dialect.name == "postgresql"
        self._reading = (
            engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            if self._is_postgres
            else engine
        )
        self._looking = engine.execution_options(isolation_level="AUTOCOMMIT") if self._is_postgres else engine

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[R]:
        """A repository that may write; commits on clean exit, rolls back when the block raises.

        The record of the call that the running code serves is written with the first unit that is committed.

        Raises: Duplicate when a key is taken, Unavailable when nothing was done, CommitUnknown when the database was
        lost during the commit.
        """
        is_committing = False
        try:
            # To close a session rolls back; where the connection is lost that is an error, too.
            async with self._turns, AsyncSession(self._engine, expire_on_commit=False, autoflush=True) as session:
                await _connect(session, {"redfire_write": True})
                if self._is_postgres:
                    await session.execute(_LOCK)
                yield self._make(session)
                await session.flush()
                if (draft := joining()) is not None:
                    await record_in(session, self._audit, draft.record())
                is_committing = True
                await session.commit()
                if draft is not None:
                    draft.joined = True
                    self._audit.appended += 1
                for action in session.info.get(_AFTER_COMMIT, ()):
                    action()
        except BaseException as error:
            word = kernel_error(error)
            if is_committing and self._is_postgres and isinstance(word or error, Unavailable | OSError):
                word = CommitUnknown()
            if word is not None:
                raise word from error
            raise

    def read(self) -> AbstractAsyncContextManager[R]:
        """A repository that only reads, at one moment's state. Raises Unavailable."""
        return self._read_by(self._reading)

    def read_one(self) -> AbstractAsyncContextManager[R]:
        """A repository for one statement, which is a moment by itself: one round trip where `read` takes three."""
        return self._read_by(self._looking)

    @asynccontextmanager
    async def _read_by(self, engine: AsyncEngine) -> AsyncIterator[R]:
        try:
            async with AsyncSession(engine, expire_on_commit=False, autoflush=False) as session:
                if self._is_postgres:
                    await _connect(session, {})
                yield self._make(session)
        except BaseException as error:
            if word := kernel_error(error):
                raise word from error
            raise


async def record_in(session: Transaction, audit: AuditTables, record: Record) -> None:
    """Append a record to the chain `main`, in a unit of work that may write."""
    connection = await session.connection()
    await connection.run_sync(append, audit, record)


def after_commit(session: Transaction, action: Callable[[], None]) -> None:
    """Do it once the unit of work is committed, and once only, however often it is asked for."""
    session.info.setdefault(_AFTER_COMMIT, set()).add(action)


async def _connect(session: AsyncSession, options: dict[str, Any]) -> None:
    try:
        await session.connection(execution_options=options)
    except OSError as error:
        raise unreachable(error) from None


def unreachable(error: OSError) -> Unavailable:
    """The kernel's word for a server that cannot be connected to, or is silent."""
    return Unavailable(f"the database does not answer: {error.strerror or type(error).__name__}")


def is_away(sqlstate: str) -> bool:
    """Test for a state of a server that cannot be used, by no fault of the statement."""
    return sqlstate[:2] in UNAVAILABLE_CLASSES or sqlstate == READ_ONLY


def kernel_error(error: BaseException) -> RedFireError | None:
    """The kernel's word for a database's error: a taken key, or no database; None for any other."""
    if isinstance(error, TimeoutError):  # the driver's, of a server that is silent
        return unreachable(error)
    if isinstance(error, PoolTimeout):
        return Unavailable("the database does not answer")
    if not isinstance(error, DBAPIError):
        return None
    reason = error.orig
    if isinstance(error, IntegrityError):
        return Duplicate(constraint=str(reason)) if reason is not None and is_taken_key(reason) else None
    state = str(getattr(reason, "sqlstate", None) or "")
    is_without_state = isinstance(error, OperationalError | InterfaceError) and not state
    # SQLITE_ERROR is wrong SQL.
    if is_without_state and getattr(reason, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_ERROR:
        return Unavailable(f"the database cannot be used: {reason}")
    if error.connection_invalidated or is_away(state):
        return Unavailable("the database does not answer")
    return None


_AFTER_COMMIT = "after_commit"
# Who holds it and stands still (a stopped process, a machine out of reach) is ended before others have waited for long.
_LOCK = text(
    f"SELECT pg_advisory_xact_lock({WRITE_LOCK}), set_config('idle_in_transaction_session_timeout', '5s', true)"
)
