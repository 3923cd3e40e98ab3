"""PostgreSQL's group-commit writer: one task, one connection; a group is one statement that is its own transaction.

While a group is being committed, further submissions gather and become the next one. What the statement cannot do, as
when a row is refused, is done in a transaction of several, behind savepoints. A connection that is lost meanwhile
leaves the question whether the group is committed, but for one that is lost before COMMIT was sent. Every transaction
therefore puts its number into a row of the writer's own, which the next connection reads before anything else is
written. (A transaction's id does not tell: after a crash of the server another one may get the same.)

A transaction begins with the fences of its group and holds them to its end: after a process has taken a shard, no write
of the shard's former owner follows.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
from sqlalchemy import Dialect

from services.kernel.audit.draft import joining
from services.kernel.backoff import Backoff
from services.kernel.data.postgres_batch import Gate, Plan, Shapes, one_by_one
from services.kernel.data.schema import MARKERS
from services.kernel.data.writes import (
    LARGEST_GROUP,
    Fence,
    Submission,
    Trail,
    Write,
    WriteSequence,
    fail_all,
    is_taken_key,
    parts_of,
    require_room,
    resolve,
    standing_fences,
    trail_writes,
)
from services.kernel.errors import CommitUnknown, Duplicate, RedFireError, RowRefused, Unavailable
from services.kernel.identifiers import new_id

log = logging.getLogger(__name__)
Connection = Any
# Of the whole group: nothing was done, and the same may succeed (serialization failure, deadlock).
RETRIED = {"40001", "40P01"}
MOST_RETRIES = 3
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
"""Between attempts while the database is away."""
# Time to find out what became of a commit during which the connection was lost.
ASK_S = 10.0
# Classes of SQLSTATE that speak of one row: data exceptions and integrity constraints.
ROW_CLASSES = {"22", "23"}
LOST = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# Of writers that were killed; no connection asks for its last commit after so long.
MARKERS_KEPT_NS = 7 * 86_400 * 10**9


class _CommitLost(Exception):
    """The connection was lost during COMMIT."""

    def __init__(self, outcomes: list[BaseException | None]) -> None:
        super().__init__()
        self.outcomes = outcomes


class PostgresWriter:
    """The writer of one database; `Writer` says what it promises."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], dialect: Dialect, trail: Trail) -> None:
        self._connect = connect
        self._trail = trail
        self._shapes = Shapes(dialect)
        self._waiting: deque[Submission] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._id = new_id()
        # Of the transaction that was begun last.
        self._number = 0
        self._is_unknown = False
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)

    def submit(
        self,
        writes: Sequence[Write],
        sequence: WriteSequence | None = None,
        refusable: bool = False,
        fences: Sequence[Fence] = (),
    ) -> "asyncio.Future[None]":
        """Commit rows together; see `Writer`."""
        require_room(len(self._waiting), sequence, self._closing)
        draft = joining()
        record = None if draft is None else draft.record()
        submission = Submission(writes, asyncio.get_running_loop(), sequence, refusable, fences, record)
        self._waiting.append(submission)
        if draft is not None:
            draft.joined = submission.future
        self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="postgres-writer")
        return submission.future

    async def close(self) -> None:
        """Commit what waits, then stop."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=10)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._discard()

    async def _run(self) -> None:
        while True:
            while not self._waiting:
                if self._closing:
                    await self._close_connection()
                    return
                self._wake.clear()
                await self._wake.wait()
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_GROUP))]
            pause_s = 0.0
            try:
                outcomes = await self._commit(group)
                self._backoff.reset()
            except asyncio.CancelledError:
                resolve(list(zip(group, fail_all(group, CommitUnknown()), strict=True)))
                raise
            except CommitUnknown as error:
                self._trail.renew()
                outcomes = fail_all(group, error)
            except Exception as error:
                log.exception("the database cannot be written")
                self._discard()
                outcomes = fail_all(group, Unavailable(f"the database cannot be written: {type(error).__name__}"))
                pause_s = self._backoff.pause_s()
            resolve(list(zip(group, outcomes, strict=True)))
            if pause_s:
                await asyncio.sleep(pause_s)

    async def _close_connection(self) -> None:
        if self._connection is not None:
            try:
                await self._connection.execute(f"DELETE FROM {MARKERS} WHERE writer = '{self._id}'")  # noqa: S608 # nosec B608
                await self._connection.close(timeout=1)
            except (*LOST, asyncpg.PostgresError):
                log.debug("the writer's connection was lost before it was closed", exc_info=True)

    async def _commit(self, group: list[Submission]) -> list[BaseException | None]:
        """Outcomes of a group's submissions. Raises what is the whole group's; then nothing was done."""
        retries = 0
        while True:
            connection = await self._connected()
            broken = [submission.sequence for submission in group if submission.is_broken]
            try:
                return await self._commit_once(connection, group, in_parts=bool(broken))
            except _CommitLost as lost:
                self._is_unknown = True
                self._discard()
                if await self._ask_within(ASK_S):
                    self._trail.committed()
                    return lost.outcomes
                raise Unavailable("the database was lost; nothing was done") from None
            except asyncpg.PostgresError as error:
                self._mend(group, broken)
                if error.sqlstate not in RETRIED or retries == MOST_RETRIES:
                    raise
                retries += 1
                await _roll_back(connection)

    @staticmethod
    def _mend(group: list[Submission], broken: list[WriteSequence | None]) -> None:
        """Undo what the parts of a transaction that failed as a whole did to sequences."""
        for submission in group:
            if submission.sequence is not None and submission.sequence not in broken:
                submission.sequence.broken = False

    async def _commit_once(
        self, connection: Connection, group: list[Submission], in_parts: bool
    ) -> list[BaseException | None]:
        if not in_parts and await self._at_once(connection, group):
            return [None] * len(group)
        return await self._transaction(connection, group, in_parts)

    async def _at_once(self, connection: Connection, group: list[Submission]) -> bool:
        """Commit a group by one statement; False where it takes more than one, and nothing was done."""
        trail = trail_writes(self._trail, group, None)
        whole = [*group, Submission(trail, group[0].loop, None, False)] if trail else group
        try:
            plan = Plan(whole, self._shapes)
            if plan.count < len(whole) or plan.is_empty:
                return False
            self._number += 1
            fences = sorted({fence for submission in group for fence in submission.fences})
            sql, parameters = plan.statement(Gate(self._id, self._number, time.time_ns(), fences))
            is_done = await connection.fetchval(sql, *parameters) is not None
        except asyncpg.PostgresError as error:
            if connection.is_closed():
                raise _CommitLost([None] * len(group)) from None
            if not _is_of_a_row(error):
                raise
            return False
        except LOST:
            raise _CommitLost([None] * len(group)) from None
        except (ValueError, TypeError, OverflowError):
            return False
        if is_done:
            self._trail.committed()
        return is_done

    async def _transaction(
        self, connection: Connection, group: list[Submission], in_parts: bool
    ) -> list[BaseException | None]:
        outcomes: list[BaseException | None] = []
        fallen = await self._begin(connection, group)
        if not in_parts and not fallen:
            try:
                taken = await self._write(connection, group)
                outcomes = [None if is_taken else Duplicate() for is_taken in taken]
            except (asyncpg.PostgresError, ValueError, TypeError, OverflowError) as error:
                if not _is_of_a_row(error):
                    raise
                await connection.execute("ROLLBACK")
                fallen = await self._begin(connection, group)
                in_parts = True
        if in_parts or fallen:
            await self._write_in_parts(connection, group, fallen, outcomes)
        # Behind all else: only now is it known which rows are taken.
        if writes := trail_writes(self._trail, group, outcomes):
            await self._write(connection, [Submission(writes, group[0].loop, None, False)])
        try:
            await connection.execute("COMMIT")
        except asyncpg.PostgresError:
            # An answer, unless the server ends the connection with it, at a moment that nobody knows.
            if connection.is_closed():
                raise _CommitLost(outcomes) from None
            raise
        except LOST:
            raise _CommitLost(outcomes) from None
        self._trail.committed()
        return outcomes

    async def _begin(self, connection: Connection, group: Sequence[Submission]) -> set[Fence]:
        """Begin a transaction, until whose end the group's fences stand; those that have fallen before."""
        self._number += 1
        row = f"('{self._id}', {self._number}, {time.time_ns()})"
        change = "number = excluded.number, time_ns = excluded.time_ns"
        mark = f"INSERT INTO {MARKERS} VALUES {row} ON CONFLICT (writer) DO UPDATE SET {change}"  # noqa: S608 # nosec B608
        fences = {fence for submission in group for fence in submission.fences}
        if not fences:
            await connection.execute(f"BEGIN; {mark}")
            return fences
        standing = standing_fences(fences)
        # One round trip; the status of the last statement has the number of its rows.
        if await connection.execute(f"BEGIN; {mark}; {standing}") == f"SELECT {len(fences)}":
            return set()
        return fences.difference([Fence(*row) for row in await connection.fetch(standing)])

    async def _write(self, connection: Connection, part: Sequence[Submission]) -> list[bool]:
        """Write submissions; whether each was taken."""
        taken = [True] * len(part)
        start = 0
        while start < len(part):
            plan = Plan(part[start:], self._shapes)
            if plan.count:
                if plan.is_empty:
                    break  # what is left has no rows
                sql, parameters = plan.statement()
                for number in set(plan.claimed).difference(await connection.fetchval(sql, *parameters)):
                    taken[start + number] = False
                start += plan.count
                continue
            for sql, parameters in one_by_one(part[start], self._shapes):
                await connection.execute(sql, *parameters)
            start += 1
        return taken

    async def _write_in_parts(
        self,
        connection: Connection,
        group: Sequence[Submission],
        fallen: set[Fence],
        outcomes: list[BaseException | None],
    ) -> None:
        """Write what can be written of a group, in order; append what became of each submission. Commits nothing."""
        for part in parts_of(group):
            if len(part) == 1 and (obstacle := part[0].obstacle(fallen)) is not None:
                outcomes.append(obstacle)
                continue
            if any(one.is_broken or not fallen.isdisjoint(one.fences) for one in part):
                await self._write_in_parts(connection, part, fallen, outcomes)
                continue
            await connection.execute("SAVEPOINT part")
            try:
                taken = await self._write(connection, part)
            except (asyncpg.PostgresError, ValueError, TypeError, OverflowError) as error:
                if not _is_of_a_row(error):
                    raise
                await connection.execute("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
                if len(part) == 1:
                    outcomes.append(part[0].refuse(_refusal(error)))
                else:
                    await self._write_in_parts(connection, part, fallen, outcomes)
            else:
                await connection.execute("RELEASE SAVEPOINT part")
                outcomes += [None if is_taken else Duplicate() for is_taken in taken]

    async def _connected(self) -> Connection:
        """The connection, anew when it was lost, and once the outcome of the last commit is known."""
        if self._connection is not None and self._connection.is_closed():
            self._discard()
        if self._connection is None:
            connection = await self._connect()
            try:
                if self._is_unknown:
                    await self._ask(connection)
                # Of processes that were killed.
                before = time.time_ns() - MARKERS_KEPT_NS
                await connection.execute(f"DELETE FROM {MARKERS} WHERE time_ns < $1", before)  # noqa: S608 # nosec B608
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection

    async def _ask_within(self, seconds: float) -> bool:
        """True when the lost commit is done. Raises CommitUnknown when the database is not back within the time."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        connection = await self._connect()
                        try:
                            return await self._ask(connection)
                        finally:
                            connection.terminate()
                    except (*LOST, asyncpg.PostgresError) as error:
                        log.warning("the outcome of a commit is not known yet: %s", error)
                        await asyncio.sleep(backoff.pause_s())
        except TimeoutError:
            raise CommitUnknown() from None

    async def _ask(self, connection: Connection) -> bool:
        # The lock waits for the transaction's end where the server has not noticed yet that its client is gone.
        number = await connection.fetchval(
            f"SELECT number FROM {MARKERS} WHERE writer = $1 FOR UPDATE", self._id  # noqa: S608 # nosec B608
        )  # fmt: skip
        self._is_unknown = False
        is_done = bool(number == self._number)
        log.warning("the commit during which the database was lost is %s", "done" if is_done else "not done")
        return is_done

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


async def _roll_back(connection: Connection) -> None:
    if not connection.is_closed() and connection.is_in_transaction():
        await connection.execute("ROLLBACK")


def _is_of_a_row(error: BaseException) -> bool:
    """Test for an error by values alone: of the database, or of the driver that cannot encode one."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "")[:2] in ROW_CLASSES
    return not isinstance(error, LOST)


def _refusal(error: BaseException) -> RedFireError:
    if isinstance(error, asyncpg.PostgresError) and is_taken_key(error):
        return Duplicate(constraint=error.constraint_name or "")
    return RowRefused(f"the database takes no such row: {type(error).__name__}: {error}")
