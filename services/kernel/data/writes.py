"""The contract of writers: typed batches of rows by table, committed in groups, in the order of their submission.

Two writers keep it, `group_commit` for SQLite and `postgres_writer` for PostgreSQL; one suite of tests runs on both.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sqlalchemy import Column, Dialect, Executable, Table, insert, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.dml import Insert

from services.kernel.errors import Duplicate, Fenced, RedFireError, Unavailable

if TYPE_CHECKING:
    from services.kernel.audit.record import Record

MAX_WAITING = 20_000
LARGEST_GROUP = 512
# A group of which a row fails is written in so many parts, each behind a savepoint, and a failing part again in parts:
# one bad row of 512 costs about twice a good group, not 512 transactions.
PARTS = 8
SHARD_LEASES = "shard_leases"
"""The table of shards' owners; `services.kernel.shards.columns` has it."""
_TAKEN = {
    "23505",
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
}


class Mode(Enum):
    """The effect of a write on a row."""

    INSERT = "insert"
    UPSERT = "upsert"
    UPDATE = "update"
    DELETE = "delete"


class TableWrite:
    """One way to write rows of one table; made once, at start: writers prepare statements by it.

    INSERT adds a row, whose keys must be new. UPSERT adds it, or changes all columns but `fixed` ones of the row that
    has the `key`. UPDATE changes the columns that are given in the row with the key, if there is one. DELETE needs the
    key's columns alone.
    """

    __slots__ = ("fixed", "key", "mode", "table")

    def __init__(self, mode: Mode, table: Table, key: Sequence[str], fixed: Sequence[str] = ()) -> None:
        self.mode = mode
        self.table = table
        self.key = tuple(key)
        self.fixed = frozenset(fixed)

    def __repr__(self) -> str:
        return f"{self.mode.value} {self.table.name}"

    def sets(self, columns: Sequence[str]) -> list[str]:
        """Those of a row's columns that change in a row that is there."""
        return [name for name in columns if name not in self.key and name not in self.fixed]


Write = tuple[TableWrite, Mapping[str, Any]]


class WriteSequence:
    """Submissions that build on each other: after one fails, all later ones fail until the owner mends the sequence.

    An owner that keeps its state in memory reads it anew from the database, and mends, before it submits again. It
    bounds itself: a change that was made in memory must not be refused for lack of room.
    """

    __slots__ = ("broken",)

    def __init__(self) -> None:
        self.broken = False


class Fence(NamedTuple):
    """Condition of a write for users of a shard: this epoch of the shard's ownership has not ended.

    It falls when another process takes the shard. On SQLite there is no other.
    """

    shard: int
    epoch: int


class Writer(Protocol):
    """Commits submissions in groups, in order; beyond 20,000 waiting, those without a sequence are Unavailable."""

    def submit(
        self,
        writes: Sequence[Write],
        sequence: WriteSequence | None = None,
        refusable: bool = False,
        fences: Sequence[Fence] = (),
    ) -> "asyncio.Future[None]":
        """Commit rows together; the future resolves after the commit, or raises.

        What is done with the rows of one table is done in order; a submission's rows in different tables must not
        depend on their order. A failure breaks its sequence, save Duplicate of a `refusable` one: nothing builds on
        it yet.

        The record of the call that the running code serves is written with the first submission that succeeds.

        Raises: Duplicate when a key is taken, RowRefused when the database takes no such row, Fenced when one of
        `fences` has fallen, Unavailable when nothing was done, CommitUnknown when the database was lost during the
        commit and is not back yet.
        """

    async def close(self) -> None:
        """Commit what waits, then stop."""


class Trail(Protocol):
    """The chain of a writer's records (services.kernel.data.audit_chain)."""

    def extend(self, records: "Sequence[Record]") -> list[Write]:
        """Rows of records for the present transaction."""

    def committed(self) -> None:
        """The transaction of the last `extend` is committed."""

    def renew(self) -> None:
        """Nobody knows whether it was."""


class Submission:
    """Writes that wait for their commit together."""

    __slots__ = ("fences", "future", "loop", "record", "refusable", "sequence", "writes")

    def __init__(
        self,
        writes: Sequence[Write],
        loop: asyncio.AbstractEventLoop,
        sequence: WriteSequence | None,
        refusable: bool,
        fences: Sequence[Fence] = (),
        record: "Record | None" = None,
    ) -> None:
        self.writes = writes
        self.record = record
        self.loop = loop
        self.sequence = sequence
        self.refusable = refusable
        self.fences = fences
        self.future: asyncio.Future[None] = loop.create_future()

    @property
    def is_broken(self) -> bool:
        """Test for a write before it that failed, on which it builds."""
        return self.sequence is not None and self.sequence.broken

    def obstacle(self, fallen: Set[Fence]) -> RedFireError | None:
        """The error for which it cannot be written: a write before it failed, a fence fell. Fails what builds on it."""
        if self.is_broken:
            return built_on_failure()
        if fallen and not fallen.isdisjoint(self.fences):
            self.fail_sequence()
            return Fenced()
        return None

    def fail_sequence(self) -> None:
        """Fail what builds on this."""
        if self.sequence is not None:
            self.sequence.broken = True

    def refuse(self, error: RedFireError) -> RedFireError:
        """Its outcome when its rows alone are refused; what builds on it fails too, unless nothing does yet."""
        if not (self.refusable and isinstance(error, Duplicate)):
            self.fail_sequence()
        return error


def trail_writes(
    trail: Trail, group: Sequence[Submission], outcomes: Sequence[BaseException | None] | None
) -> list[Write]:
    """Rows of the records of a group, at the end of its transaction: of what is committed (None: all of it)."""
    records = [
        submission.record
        for at, submission in enumerate(group)
        if submission.record is not None and (outcomes is None or outcomes[at] is None)
    ]
    return trail.extend(records)


def require_room(waiting: int, sequence: WriteSequence | None, closing: bool) -> None:
    """Raises Unavailable where another submission cannot wait; one of a sequence always can."""
    if closing:
        raise Unavailable("the database is closing")
    if sequence is None and waiting >= MAX_WAITING:
        raise Unavailable("the database does not keep up")


def parts_of(group: Sequence[Submission]) -> Iterator[Sequence[Submission]]:
    """A group in parts, in order."""
    size = max(1, -(-len(group) // PARTS))
    for start in range(0, len(group), size):
        yield group[start : start + size]


def fail_all(group: Sequence[Submission], error: RedFireError) -> list[BaseException | None]:
    """The outcomes of a group of which nothing was done, an error each."""
    for submission in group:
        submission.fail_sequence()
    return [type(error)(error.message) for _ in group]


def built_on_failure() -> Unavailable:
    """The outcome of what is not tried."""
    return Unavailable("a write that this one builds on has failed")


def resolve(answers: Sequence[tuple[Submission, BaseException | None]]) -> None:
    """Resolve the futures, on their loop."""
    for submission, outcome in answers:
        if submission.future.done():
            continue
        if outcome is None:
            submission.future.set_result(None)
        else:
            submission.future.set_exception(outcome)


def table_of(model: type[DeclarativeBase]) -> Table:
    """A model's table."""
    table = model.__table__
    assert isinstance(table, Table)
    return table


def bind_processor(column: Column[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """The conversion of a column's values into the driver's; None where they are the same."""
    return column.type.dialect_impl(dialect).bind_processor(dialect)


def is_taken_key(error: BaseException) -> bool:
    """Test for a driver's error that says that a key is taken."""
    code = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorcode", None)
    return code in _TAKEN


async def write_rows(session: AsyncSession, write: TableWrite, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows in a unit of work instead: INSERT and UPSERT."""
    await session.execute(_statement(write, session.get_bind().dialect.name), list(rows))


async def hold_fences(session: AsyncSession, fences: Set[Fence]) -> None:
    """Hold fences until the end of a unit of work that writes. Raises Fenced when one has fallen."""
    if not fences or session.get_bind().dialect.name == "sqlite":
        return
    standing = (await session.execute(text(standing_fences(fences)))).all()
    if len(standing) < len(fences):
        raise Fenced


def standing_fences(fences: Set[Fence]) -> str:
    """PostgreSQL's query for those that have not fallen; until the transaction's end none of these falls.

    KEY SHARE: who takes a shard changes its epoch, which is part of a key, and waits. Who renews a lease changes no key
    and waits for nobody. All take the rows in one order.
    """
    pairs = ", ".join(f"({int(fence.shard)}, {int(fence.epoch)})" for fence in fences)
    return f"SELECT shard, epoch FROM {SHARD_LEASES} WHERE (shard, epoch) IN ({pairs}) ORDER BY shard FOR KEY SHARE"  # noqa: S608 # nosec B608


def fences_held(shards: str, epochs: str) -> str:
    """PostgreSQL's expression of a WITH that holds those of these fences that have not fallen, as `standing_fences`."""
    given = f"unnest({shards}, {epochs}) AS given (shard, epoch)"
    held = f"SELECT 1 FROM {SHARD_LEASES} AS l JOIN {given} USING (shard, epoch) ORDER BY l.shard"  # noqa: S608 # nosec B608
    return f"fence AS MATERIALIZED ({held} FOR KEY SHARE OF l)"


@cache
def _statement(write: TableWrite, dialect: str) -> Executable:
    if write.mode is Mode.INSERT:
        return insert(write.table)
    assert write.mode is Mode.UPSERT, write
    build: Callable[[Table], Insert] = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement: Any = build(write.table)
    others = {name: statement.excluded[name] for name in write.sets(write.table.columns.keys())}
    if not others:
        return statement.on_conflict_do_nothing(index_elements=list(write.key))
    return statement.on_conflict_do_update(index_elements=list(write.key), set_=others)
