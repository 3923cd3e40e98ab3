"""One service's database: units of work for the slow paths, a writer and a reader for the hot ones.

SQLite files in the data folder by default, or PostgreSQL. Nothing outside this folder knows which it is.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import DeclarativeBase

from services.kernel.audit.operator import command_draft
from services.kernel.data.audit_chain import Chain, append
from services.kernel.data.audit_tables import AuditTables
from services.kernel.data.backend import MIGRATION_LOCK, Backend, PostgresOptions
from services.kernel.data.reads import Reader
from services.kernel.data.repositories import Repositories
from services.kernel.data.schema import differences, extend, in_words, schema_of
from services.kernel.data.sqlite_backend import SqliteBackend
from services.kernel.data.writes import Mode, TableWrite, Writer, table_of
from services.kernel.errors import StartError

log = logging.getLogger(__name__)
R = TypeVar("R")
T = TypeVar("T")
SLOW_ATTEMPTS = 6
"""Times that a start asks a database which does not answer in time."""


class Database:
    """A service's tables."""

    def __init__(self, url: str, base: type[DeclarativeBase], options: PostgresOptions | None = None) -> None:
        self._url = make_url(url)
        self.dialect = self._url.get_backend_name()
        self._backend: Backend
        if self.dialect == "sqlite":
            self._backend = SqliteBackend(self._url)
        else:
            # Imported where it is needed alone: the driver takes a tenth of a second.
            from services.kernel.data.postgres_backend import PostgresBackend

            self._backend = PostgresBackend(self._url, options or PostgresOptions())
        self._engine = self._backend.engine
        self.schema = schema_of(base)
        self.audit = AuditTables(self.schema.metadata)
        self.chain = Chain(self.audit)
        """Of the records that the writer writes."""
        self.writable = True
        """Outcome of the last `probe`: the database can be written."""
        self._writer: Writer | None = None
        self._reader: Reader | None = None

    async def start(self, migrate: bool = True) -> None:
        """Make sure that the tables are this version's. Raises StartError when they are not, or unreadable.

        A SQLite file is made when it is not there, and with `migrate` brought to this version.
        """
        with self._errors():
            if self.dialect == "sqlite" and (migrate or not await self._backend.exists()):
                self._refuse((await self._exclusively(self._prepare))[1])
            else:
                self._refuse(await self._check_patiently())

    async def check(self, thorough: bool = False) -> list[str]:
        """Reasons, in words, for which this version cannot run on the database; empty when it can. Changes nothing.

        `thorough`: also that it is a newer one's that this version runs on, and indexes, keys and types, by which the
        models differ from what migrations made.
        """
        with self._errors():
            return await self._check(thorough)

    async def _check_patiently(self) -> list[str]:
        """Check, again where a server is there and too busy to answer: others start at the same time."""
        for _ in range(SLOW_ATTEMPTS - 1):
            try:
                return await self._check()
            except TimeoutError:
                log.warning("the database does not answer in time; it is asked again")
        return await self._check()

    async def _check(self, thorough: bool = False) -> list[str]:
        if not await self._backend.exists():
            return ["it does not exist"]
        async with self._engine.connect() as connection:
            problems = self.schema.problems(await connection.run_sync(self.schema.state), exact=thorough)
            if thorough and not problems:
                from services.kernel.data.migrations import drift

                problems = await connection.run_sync(drift, self.schema.metadata)
            return problems

    async def migrate(self) -> str:
        """Bring the tables to this version, a missing database too; returns what was done, empty for nothing.

        One transaction: killed at any moment, it has happened or it has not. Twice at once, the second waits.

        Raises: StartError when they are of a newer version, or of none that is known.
        """
        with self._errors():
            await self._backend.ensure()
            done, problems = await self._exclusively(self._prepare)
            self._refuse(problems)
            return done

    @property
    def is_shared(self) -> bool:
        """Test for a server's: replicas of the service write to it, too."""
        return self.dialect != "sqlite"

    @property
    def name(self) -> str:
        """Name for people: the file, or the address without its password."""
        if self.dialect == "sqlite":
            return self._url.database or ":memory:"
        return self._url.render_as_string(hide_password=True)

    async def probe(self) -> None:
        """Try to write, and keep in `writable` what came of it; a database that is only busy stays as it was."""
        error = await self._backend.probe()
        if error is None:
            return
        if error and self.writable:
            log.error("the database cannot be written", extra={"database": self.name, "error": error})
        elif not error and not self.writable:
            log.info("the database can be written again", extra={"database": self.name})
        self.writable = not error

    async def close(self) -> None:
        """Commit what waits and close."""
        if self._writer is not None:
            await self._writer.close()
        if self._reader is not None:
            await self._reader.close()
        await self._backend.close()

    def repositories(self, repository: Callable[[AsyncSession], R]) -> Repositories[R]:
        """Units of work with a repository."""
        return Repositories(self._engine, repository, self._backend.turns, self.audit)

    def has_table(self, name: str) -> bool:
        """Test for a table that processes share: always false on SQLite, where there is only one."""
        return self.dialect != "sqlite" and name in self.schema.metadata.tables

    async def connect(self) -> Any:
        """A connection of the driver's, for what holds one as long as it runs: on PostgreSQL alone."""
        return await self._backend.connect()

    def writer(self) -> Writer:
        """The one writer of the hot path; every call answers the same."""
        if self._writer is None:
            self._writer = self._backend.make_writer(self.chain)
        return self._writer

    def reader(self) -> Reader:
        """The one reader of lists; every call answers the same."""
        if self._reader is None:
            self._reader = self._backend.make_reader()
        return self._reader

    @staticmethod
    def insert(model: type[DeclarativeBase]) -> TableWrite:
        """Rows that are new."""
        table = table_of(model)
        return TableWrite(Mode.INSERT, table, table.primary_key.columns.keys())

    @staticmethod
    def upsert(model: type[DeclarativeBase], key: Sequence[str], fixed: Sequence[str] = ()) -> TableWrite:
        """Rows that are new, or that change all but the `fixed` columns of the one with the same key."""
        return TableWrite(Mode.UPSERT, table_of(model), key, fixed)

    @staticmethod
    def update(model: type[DeclarativeBase], key: Sequence[str]) -> TableWrite:
        """Changes of rows with a key: the columns that are given."""
        return TableWrite(Mode.UPDATE, table_of(model), key)

    @staticmethod
    def delete(model: type[DeclarativeBase], key: Sequence[str]) -> TableWrite:
        """Deletions of rows with a key."""
        return TableWrite(Mode.DELETE, table_of(model), key)

    async def _exclusively(self, function: Callable[[Connection], T]) -> T:
        """Run a function on a connection, in one transaction, while no other process migrates."""
        async with self._backend.migration_engine.connect() as raw:
            connection: AsyncConnection = await raw.execution_options(redfire_write=True)
            async with connection.begin():
                if self.dialect != "sqlite":
                    await connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
                return await connection.run_sync(function)

    def _prepare(self, connection: Connection) -> tuple[str, list[str]]:
        """Make or migrate the tables. What was done; and what this version cannot do about, then nothing was done."""
        schema, state = self.schema, self.schema.state(connection)
        if schema.is_empty(state):
            schema.make(connection)
            return f"made, at {schema.head}", []
        if schema.migrations is None:
            problems = differences(schema.metadata, state, addable=True)
            if not problems:
                extend(schema.metadata, connection)
            return "", problems
        if state.revision == schema.head or state.revision not in ("", *schema.revisions):
            problems = schema.problems(state)
            is_left = state.revision != schema.head and not problems
            return f"left at {state.revision}, which this version runs on" if is_left else "", problems
        # Imported where it is needed alone: it takes longer than the start of a database.
        from services.kernel.data import migrations

        before = state.revision
        if not before:
            first = schema.revisions[0]
            tables = migrations.tables_at(schema.migrations, first)
            if problems := differences(tables, state, addable=True):
                return "", [f"it was made by another version of RedFire ({in_words(problems)})"]
            extend(tables, connection)
            schema.stamp(connection, first)
        migrations.upgrade(connection, schema.migrations)
        versions = {"before": {"schema": before or "adopted"}, "after": {"schema": schema.head}}
        append(connection, self.audit, command_draft("redfire migrate", f"databases/{self.name}", **versions).record())
        return f"{before or 'adopted'} → {schema.head}", schema.problems(self.schema.state(connection))

    def _refuse(self, problems: list[str]) -> None:
        if problems:
            raise StartError(f"database {self.name}: {in_words(problems)}{_advice(problems)}")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """A database's errors as the one line of a StartError."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, (DBAPIError, OSError, *self._backend.errors)):
                raise
            reason = getattr(error, "orig", None) or error
            words = " ".join(str(reason).split()) or type(reason).__name__
            raise StartError(f"database {self.name}: {words}") from None


def _advice(problems: list[str]) -> str:
    is_behind = problems[0].startswith(("it does not exist", "it has no tables", "it is another version's"))
    return "; run redfire migrate" if is_behind else "; start the version that made it, or put a backup back"
