"""SQLite's group-commit writer: all that waits is committed in one transaction; an answer follows its commit.

One thread owns one connection. While it commits, further submissions gather and become the next group, so that a
hot account costs nothing and a commit's price is shared. Submissions are committed in the order they were made.
"""

import asyncio
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from sqlalchemy import Dialect

from services.kernel.audit.draft import joining
from services.kernel.data.sqlite_batch import BatchWriter
from services.kernel.data.write_turn import WriteTurn
from services.kernel.data.writes import (
    LARGEST_GROUP,
    Fence,
    Submission,
    Trail,
    Write,
    WriteSequence,
    built_on_failure,
    fail_all,
    is_taken_key,
    parts_of,
    require_room,
    resolve,
    trail_writes,
)
from services.kernel.errors import Duplicate, RedFireError, RowRefused, Unavailable

log = logging.getLogger(__name__)
# Under load the next group begins no sooner than so long after the last began: fewer, larger groups cost half the work
# of many small ones, of which each takes the interpreter from the loop a dozen times. A load, the heavier ones first:
# the interval, the group with which it begins, and that of at least which it lasts.
LOADS = ((0.008, 12, 9), (0.004, 5, 3))


class GroupCommitWriter:
    """The writer of one SQLite file; `Writer` says what it promises."""

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], dialect: Dialect, trail: Trail, turn: WriteTurn
    ) -> None:
        self._connect = connect
        self._turn = turn
        self._trail = trail
        self._dialect = dialect
        self._waiting: deque[Submission] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._waking = False
        self._loop: asyncio.AbstractEventLoop | None = None
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
        draft = joining()
        record = None if draft is None else draft.record()
        submission = Submission(writes, loop, sequence, refusable, record=record)
        with self._wake:
            require_room(len(self._waiting), sequence, self._closing)
            self._waiting.append(submission)
            if draft is not None:
                draft.joined = submission.future
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
        writer: BatchWriter | None = None
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
            has_turn = self._turn.take()
            try:
                if writer is None:
                    writer = BatchWriter(self._connect(), self._dialect)
                self._commit(writer, group, outcomes)
            except Exception as error:
                log.exception("the database cannot be written")
                _discard(writer)
                writer = None
                failure = Unavailable(f"the database cannot be written: {type(error).__name__}")
                outcomes += fail_all(group[len(outcomes) :], failure)
                time.sleep(0.05)
            finally:
                if has_turn:
                    self._turn.give()
            _answer(group, outcomes)
        _discard(writer)

    def _commit(self, writer: BatchWriter, group: list[Submission], outcomes: list[BaseException | None]) -> None:
        """Append what became of each submission, once that is certain: all of a group are committed together."""
        if not any(submission.is_broken for submission in group):
            try:
                writer.commit([*group, *self._trail_of(group, None)])
            except sqlite3.OperationalError:
                raise
            except Exception:
                log.debug("a group cannot be written as one", exc_info=True)
            else:
                self._trail.committed()
                outcomes += [None] * len(group)
                return
        in_parts: list[BaseException | None] = []
        writer.connection.execute("BEGIN IMMEDIATE")
        try:
            _write_in_parts(writer, group, in_parts)
            writer.write(self._trail_of(group, in_parts))
            writer.connection.execute("COMMIT")
        except BaseException:
            writer.rollback()
            raise
        self._trail.committed()
        outcomes += in_parts

    def _trail_of(
        self, group: Sequence[Submission], outcomes: Sequence[BaseException | None] | None
    ) -> list[Submission]:
        """The records of what is committed, as what is written last."""
        writes = trail_writes(self._trail, group, outcomes)
        return [Submission(writes, group[0].loop, None, False)] if writes else []


def _write_in_parts(writer: BatchWriter, group: Sequence[Submission], outcomes: list[BaseException | None]) -> None:
    """Write what can be written of a group, in order; append what became of each submission. Commits nothing."""
    for part in parts_of(group):
        if any(submission.is_broken for submission in part):
            if len(part) == 1:
                outcomes.append(built_on_failure())
            else:
                _write_in_parts(writer, part, outcomes)
            continue
        writer.connection.execute("SAVEPOINT part")
        try:
            writer.write(part)
        except sqlite3.OperationalError:
            raise
        except Exception as error:
            writer.connection.execute("ROLLBACK TO SAVEPOINT part")
            writer.connection.execute("RELEASE SAVEPOINT part")
            if len(part) == 1:
                outcomes.append(part[0].refuse(_refusal(error)))
            else:
                _write_in_parts(writer, part, outcomes)
        else:
            writer.connection.execute("RELEASE SAVEPOINT part")
            outcomes += [None] * len(part)


def _interval_s(size: int, before_s: float) -> float:
    """The interval until the next group, after one of a size that came `before_s` after the one before it."""
    for interval_s, begins, lasts in LOADS:
        if size >= (lasts if interval_s <= before_s else begins):
            return interval_s
    return 0.0


def _discard(writer: BatchWriter | None) -> None:
    if writer is not None:
        try:
            writer.connection.close()
        except sqlite3.Error:
            log.debug("a broken connection did not close", exc_info=True)


def _refusal(error: Exception) -> RedFireError:
    """The kernel's word for the refusal of a row."""
    if isinstance(error, sqlite3.IntegrityError) and is_taken_key(error):
        return Duplicate(constraint=str(error))
    return RowRefused(f"the database takes no such row: {type(error).__name__}: {error}")


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
