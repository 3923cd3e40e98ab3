"""SQLite's group-commit writer: all that waits is committed in one transaction; an answer follows its commit.

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

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from services.kernel.data.writes import (
    LARGEST_GROUP,
    Fence,
    Mode,
    Submission,
    TableWrite,
    Write,
    WriteSequence,
    bind_processor,
    built_on_failure,
    fail_all,
    is_taken_key,
    parts_of,
    require_room,
    resolve,
)
from services.kernel.errors import Duplicate, RedFireError, RowRefused, Unavailable

log = logging.getLogger(__name__)
# Under load the next group begins no sooner than so long after the last began: fewer, larger groups cost half the work
# of many small ones, of which each takes the interpreter from the loop a dozen times. A load, the heavier ones first:
# the interval, the group with which it begins, and that of at least which it lasts.
LOADS = ((0.008, 12, 9), (0.004, 5, 3))
# Rows in one statement. Each number of them is a statement of its own, prepared once.
ROWS_AT_ONCE = 32


class GroupCommitWriter:
    """The writer of one SQLite file; `Writer` says what it promises."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._waiting: deque[Submission] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._waking = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._prepared: dict[tuple[int, tuple[str, ...]], _Prepared] = {}
        self._thread = threading.Thread(target=self._run, name="group-writer", daemon=True)
        self._thread.start()

    def submit(
        self,
        writes: Sequence[Write],
        sequence: WriteSequence | None = None,
        refusable: bool = False,
        fences: Sequence[Fence] = (),
    ) -> "asyncio.Future[None]":
        """Commit rows together; see `Writer`."""
        # Asked for once: on Python 3.11 it costs a system call.
        loop = self._loop
        if loop is None or loop.is_closed():
            loop, self._waking = asyncio.get_running_loop(), False
            self._loop = loop
        submission = Submission(writes, loop, sequence, refusable)
        with self._wake:
            require_room(len(self._waiting), sequence, self._closing)
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
        interval_s = not_before = 0.0
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
            interval_s = _interval_s(len(group), interval_s)
            not_before = time.monotonic() + interval_s if interval_s else 0.0
            outcomes: list[BaseException | None] = []
            try:
                if connection is None:
                    connection = self._connect()
                self._commit(connection, group, outcomes)
            except Exception as error:
                log.exception("the database cannot be written")
                _discard(connection)
                connection = None
                failure = Unavailable(f"the database cannot be written: {type(error).__name__}")
                outcomes += fail_all(group[len(outcomes) :], failure)
                time.sleep(0.05)
            _answer(group, outcomes)
        _discard(connection)

    def _commit(self, connection: Connection, group: list[Submission], outcomes: list[BaseException | None]) -> None:
        """Append what became of each submission, once that is certain: all of a group are committed together."""
        if not any(submission.is_broken for submission in group):
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
    """The SQL of a write for rows with these columns: as executemany, SQLAlchemy works on every value anew."""

    def __init__(self, write: TableWrite, dialect: Dialect, columns: Sequence[str]) -> None:
        self.write = write  # kept: its id is what the cache finds it by
        # Around the values of an INSERT, so that they can be repeated: SQLite's driver releases the GIL for
        # each execution, and getting it back from a busy event loop takes longer than the row.
        self._around: tuple[str, str, str] | None = None
        self._sql_by_rows: dict[int, str] = {}
        quote = dialect.identifier_preparer.quote
        table, names = dialect.identifier_preparer.format_table(write.table), [quote(name) for name in columns]
        sets, order = write.sets(columns), list(columns)
        where = " AND ".join(f"{quote(name)} = ?" for name in write.key)
        if write.mode is Mode.DELETE:
            self._sql, order = f"DELETE FROM {table} WHERE {where}", list(write.key)  # noqa: S608 names, quoted
        elif write.mode is Mode.UPDATE:
            assignments = ", ".join(f"{quote(name)} = ?" for name in sets)
            self._sql, order = f"UPDATE {table} SET {assignments} WHERE {where}", [*sets, *write.key]  # noqa: S608
        else:
            tail = ""
            if write.mode is Mode.UPSERT:
                assignments = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in sets)
                action = f"UPDATE SET {assignments}" if sets else "NOTHING"
                tail = f" ON CONFLICT ({', '.join(map(quote, write.key))}) DO {action}"
            head = f"INSERT INTO {table} ({', '.join(names)}) VALUES "  # noqa: S608
            self._around = head, f"({', '.join('?' * len(names))})", tail
            self._sql = self._sql_for(1)
        self._columns = [(name, bind_processor(write.table.columns[name], dialect)) for name in order]

    def execute(self, connection: Connection, rows: list[Mapping[str, Any]]) -> None:
        """Execute it for all rows."""
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
    connection: Connection, group: Sequence[Submission], prepared: dict[tuple[int, tuple[str, ...]], _Prepared]
) -> None:
    _write(connection, group, prepared)
    connection.commit()


def _write(
    connection: Connection, part: Sequence[Submission], prepared: dict[tuple[int, tuple[str, ...]], _Prepared]
) -> None:
    batches: list[tuple[TableWrite, list[Mapping[str, Any]]]] = []
    # By table the last batch: what is done with its rows is done in order.
    last: dict[int, tuple[TableWrite, list[Mapping[str, Any]]]] = {}
    for submission in part:
        for write, row in submission.writes:
            batch = last.get(id(write.table))
            if batch is None or batch[0] is not write:
                batch = last[id(write.table)] = write, []
                batches.append(batch)
            batch[1].append(row)
    for write, rows in batches:
        key = (id(write), tuple(rows[0]))
        entry = prepared.get(key)
        if entry is None:
            entry = prepared[key] = _Prepared(write, connection.dialect, key[1])
        entry.execute(connection, rows)


def _write_in_parts(
    connection: Connection,
    group: Sequence[Submission],
    prepared: dict[tuple[int, tuple[str, ...]], _Prepared],
    outcomes: list[BaseException | None],
) -> None:
    """Write what can be written of a group, in order; append what became of each submission. Commits nothing."""
    for part in parts_of(group):
        if any(submission.is_broken for submission in part):
            if len(part) == 1:
                outcomes.append(built_on_failure())
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
                outcomes.append(part[0].refuse(_refusal(error)))
            else:
                _write_in_parts(connection, part, prepared, outcomes)
        else:
            connection.exec_driver_sql("RELEASE SAVEPOINT part")
            outcomes += [None] * len(part)


def _interval_s(size: int, before_s: float) -> float:
    """The interval until the next group, after one of a size that came `before_s` after the one before it."""
    for interval_s, begins, lasts in LOADS:
        if size >= (lasts if interval_s <= before_s else begins):
            return interval_s
    return 0.0


def _discard(connection: Connection | None) -> None:
    if connection is not None:
        try:
            connection.invalidate()
            connection.close()
        except Exception:
            log.debug("a broken connection did not close", exc_info=True)


def _refusal(error: Exception) -> RedFireError:
    """The kernel's word for the refusal of a row."""
    reason = getattr(error, "orig", None) or error
    if isinstance(error, IntegrityError) and is_taken_key(reason):
        return Duplicate(constraint=str(reason))
    name = type(reason if isinstance(error, DBAPIError) else error).__name__
    return RowRefused(f"the database takes no such row: {name}: {reason}")


def _answer(group: list[Submission], outcomes: Sequence[BaseException | None]) -> None:
    """Resolve the futures, with one wake-up per loop."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[Submission, BaseException | None]]] = {}
    for submission, outcome in zip(group, outcomes, strict=True):
        loops.setdefault(submission.loop, []).append((submission, outcome))
    for loop, answers in loops.items():
        try:
            loop.call_soon_threadsafe(resolve, answers)
        except RuntimeError:
            log.debug("the loop is closed; the outcome of a commit is dropped")
