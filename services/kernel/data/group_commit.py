"""The group-commit writer: all that waits is committed in one transaction; an answer follows its commit.

One thread owns one connection. While it commits, further submissions gather and become the next group, so that a
hot account costs nothing and a commit's price is shared. Submissions are committed in the order they were made.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.exc import IntegrityError, OperationalError

from services.kernel.errors import Unavailable

log = logging.getLogger(__name__)
Write = tuple[Executable, Mapping[str, Any]]
MAX_WAITING = 20_000
LARGEST_GROUP = 512
# Under load the next group begins no sooner than so long after the last began: fewer, larger groups cost half the work
# of many small ones, of which each takes the interpreter from the loop a dozen times. Load begins with a group of so
# many, and lasts while groups have at least so many.
BUSY_INTERVAL_S = 0.004
BUSY_FROM, BUSY_WHILE = 5, 3
# A group of which a row fails is written in so many parts, each behind a savepoint, and a failing part again in parts:
# one bad row of 512 costs about twice a good group, not 512 transactions.
PARTS = 8
# Rows in one statement. Each number of them is a statement of its own, prepared once.
ROWS_AT_ONCE = 32


class WriteSequence:
    """Submissions that build on each other: after one fails, all later ones fail until the owner mends the sequence.

    An owner that keeps its state in memory reads it anew from the database, and mends, before it submits again. It
    bounds itself: a change that was made in memory must not be refused for lack of room.
    """

    __slots__ = ("broken",)

    def __init__(self) -> None:
        self.broken = False


class _Submission:
    __slots__ = ("future", "loop", "refusable", "sequence", "writes")

    def __init__(
        self, writes: Sequence[Write], loop: asyncio.AbstractEventLoop, sequence: WriteSequence | None, refusable: bool
    ) -> None:
        self.writes = writes
        self.loop = loop
        self.sequence = sequence
        self.refusable = refusable
        self.future: asyncio.Future[None] = loop.create_future()


class GroupCommitWriter:
    """Commits submissions in groups, in order; beyond 20,000 waiting, those without a sequence are Unavailable."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._waiting: deque[_Submission] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._waking = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._prepared: dict[tuple[int, tuple[str, ...]], _Prepared] = {}
        self._thread = threading.Thread(target=self._run, name="group-writer", daemon=True)
        self._thread.start()

    def submit(
        self, writes: Sequence[Write], sequence: WriteSequence | None = None, refusable: bool = False
    ) -> "asyncio.Future[None]":
        """Commit `(statement, row)` pairs together; the future resolves after the commit, or raises.

        Pairs with the same statement object become one executemany, in order; different statements of a group run
        in the order they first appear, so a submission's rows in different tables must not depend on that order.
        A failure breaks its sequence, save an IntegrityError of a `refusable` one: nothing builds on it yet.
        """
        # Asked for once: on Python 3.11 it costs a system call.
        loop = self._loop
        if loop is None or loop.is_closed():
            loop, self._waking = asyncio.get_running_loop(), False
            self._loop = loop
        submission = _Submission(writes, loop, sequence, refusable)
        with self._wake:
            if self._closing or (sequence is None and len(self._waiting) >= MAX_WAITING):
                raise Unavailable("the database does not keep up" if not self._closing else "the database is closing")
            self._waiting.append(submission)
            # At the end of the loop's round: what it submits meanwhile comes into the same group, and the thread does
            # not fight for the interpreter with the loop that has more to submit.
            if not self._waking:
                self._waking = True
                loop.call_soon(self._notify)
        return submission.future

    def _notify(self) -> None:
        with self._wake:
            self._waking = False
            self._wake.notify()

    async def close(self) -> None:
        """Commit what waits, then stop."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join, 10)

    def _run(self) -> None:
        connection: Connection | None = None
        busy, not_before = False, 0.0
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                if not self._waiting:
                    break
            if (pause_s := not_before - time.monotonic()) > 0:
                time.sleep(pause_s)
            with self._wake:
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_GROUP))]
            busy = len(group) >= (BUSY_WHILE if busy else BUSY_FROM)
            not_before = time.monotonic() + BUSY_INTERVAL_S if busy else 0.0
            outcomes: list[BaseException | None] = []
            try:
                if connection is None:
                    connection = self._connect()
                self._commit(connection, group, outcomes)
            except Exception as error:
                log.exception("the database cannot be written")
                _discard(connection)
                connection = None
                for submission in group[len(outcomes) :]:
                    if submission.sequence is not None:
                        submission.sequence.broken = True
                    outcomes.append(Unavailable(f"the database cannot be written: {type(error).__name__}"))
                time.sleep(0.05)
            _answer(group, outcomes)
        _discard(connection)

    def _commit(self, connection: Connection, group: list[_Submission], outcomes: list[BaseException | None]) -> None:
        """Append what became of each submission, once that is certain: all of a group are committed together."""
        if not any(submission.sequence is not None and submission.sequence.broken for submission in group):
            try:
                _transaction(connection, group, self._prepared)
            except OperationalError:
                connection.rollback()
                raise
            except Exception:
                connection.rollback()
            else:
                outcomes += [None] * len(group)
                return
        in_parts: list[BaseException | None] = []
        try:
            _write_in_parts(connection, group, self._prepared, in_parts)
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        outcomes += in_parts


class _Prepared:
    """A statement compiled once, for rows with these keys: as executemany, SQLAlchemy works on every value anew."""

    def __init__(self, statement: Executable, dialect: Dialect, keys: Sequence[str]) -> None:
        self.statement = statement  # kept: its id is what the cache finds it by
        self._sql = ""
        # Around the values of an INSERT, so that they can be repeated: SQLite's driver releases the GIL for
        # each execution, and getting it back from a busy event loop takes longer than the row.
        self._around: tuple[str, str, str] | None = None
        self._sql_by_rows: dict[int, str] = {}
        self._columns: list[tuple[str, Callable[[Any], Any] | None]] = []
        compiled = statement.compile(dialect=dialect, column_keys=list(keys))  # type: ignore[attr-defined]
        # What needs more than values in their places, such as defaults made by Python, goes the long way.
        if compiled.positiontup and not compiled.prefetch and set(compiled.positiontup) == set(keys):
            self._sql = str(compiled)
            self._columns = [
                (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
                for name in compiled.positiontup
            ]
            values = f"({', '.join('?' * len(self._columns))})"
            head, separator, tail = self._sql.partition(f" VALUES {values}")
            if separator and dialect.paramstyle == "qmark" and head.startswith("INSERT ") and "?" not in tail:
                self._around = f"{head} VALUES ", values, tail

    def execute(self, connection: Connection, rows: list[Mapping[str, Any]]) -> None:
        """Execute it for all rows."""
        if not self._sql:
            connection.execute(self.statement, rows)
            return
        columns = self._columns
        values = [tuple(to(row[key]) if to is not None else row[key] for key, to in columns) for row in rows]
        if self._around is None or len(values) == 1:
            connection.exec_driver_sql(self._sql, values)
            return
        for start in range(0, len(values), ROWS_AT_ONCE):
            part = values[start : start + ROWS_AT_ONCE]
            connection.exec_driver_sql(self._sql_for(len(part)), tuple(chain.from_iterable(part)))

    def _sql_for(self, rows: int) -> str:
        sql = self._sql_by_rows.get(rows)
        if sql is None:
            assert self._around is not None
            head, row, tail = self._around
            sql = self._sql_by_rows[rows] = head + ", ".join([row] * rows) + tail
        return sql


def _transaction(
    connection: Connection, group: list[_Submission], prepared: dict[tuple[int, tuple[str, ...]], _Prepared]
) -> None:
    _write(connection, group, prepared)
    connection.commit()


def _write(
    connection: Connection, part: list[_Submission], prepared: dict[tuple[int, tuple[str, ...]], _Prepared]
) -> None:
    by_statement: dict[int, tuple[Executable, list[Mapping[str, Any]]]] = {}
    for submission in part:
        for statement, row in submission.writes:
            by_statement.setdefault(id(statement), (statement, []))[1].append(row)
    for statement, rows in by_statement.values():
        key = (id(statement), tuple(rows[0]))
        entry = prepared.get(key)
        if entry is None:
            entry = prepared[key] = _Prepared(statement, connection.dialect, key[1])
        entry.execute(connection, rows)


def _write_in_parts(
    connection: Connection,
    group: list[_Submission],
    prepared: dict[tuple[int, tuple[str, ...]], _Prepared],
    outcomes: list[BaseException | None],
) -> None:
    """Write what can be written of a group, in order; append what became of each submission. Commits nothing."""
    size = max(1, -(-len(group) // PARTS))
    for start in range(0, len(group), size):
        part = group[start : start + size]
        if any(submission.sequence is not None and submission.sequence.broken for submission in part):
            if len(part) == 1:
                outcomes.append(Unavailable("a write that this one builds on has failed"))
            else:
                _write_in_parts(connection, part, prepared, outcomes)
            continue
        connection.exec_driver_sql("SAVEPOINT part")
        try:
            _write(connection, part, prepared)
        except OperationalError:
            raise
        except Exception as error:
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT part")
            connection.exec_driver_sql("RELEASE SAVEPOINT part")
            if len(part) == 1:
                sequence = part[0].sequence
                if sequence is not None and not (part[0].refusable and isinstance(error, IntegrityError)):
                    sequence.broken = True
                outcomes.append(error)
            else:
                _write_in_parts(connection, part, prepared, outcomes)
        else:
            connection.exec_driver_sql("RELEASE SAVEPOINT part")
            outcomes += [None] * len(part)


def _discard(connection: Connection | None) -> None:
    if connection is not None:
        try:
            connection.invalidate()
            connection.close()
        except Exception:
            log.debug("a broken connection did not close", exc_info=True)


def _answer(group: list[_Submission], outcomes: Sequence[BaseException | None]) -> None:
    """Resolve the futures, with one wake-up per loop."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], BaseException | None]]] = {}
    for submission, outcome in zip(group, outcomes, strict=True):
        loops.setdefault(submission.loop, []).append((submission.future, outcome))
    for loop, answers in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, answers)
        except RuntimeError:
            log.debug("the loop is closed; the outcome of a commit is dropped")


def _resolve(answers: list[tuple["asyncio.Future[None]", BaseException | None]]) -> None:
    for future, outcome in answers:
        if future.done():
            continue
        if outcome is None:
            future.set_result(None)
        else:
            future.set_exception(outcome)
