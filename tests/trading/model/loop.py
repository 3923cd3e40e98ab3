"""A loop whose time is simulated: it jumps to the next timer, and can stop between any two callbacks.

SQLite is the real one; what it does runs at the moment it is asked for, in the loop's own thread, so that a run
depends on nothing but its seed.
"""

import asyncio
import random
import time as real_time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import aiosqlite.core

from services.kernel import identifiers
from services.kernel.data import group_commit, sqlite_backend, sqlite_reader
from services.kernel.errors import Unavailable
from services.kernel.rpc import channels, server
from tests.simulated_time import START, SimulatedLoop


class SimulatedWriter(group_commit.GroupCommitWriter):
    """The group-commit writer without its thread: a group is committed some simulated time after it is submitted.

    `fault` may fail a transaction, or report that the process dies just before or after its commit.
    """

    latency: Callable[[], float] = staticmethod(lambda: 0.0)
    fault: Callable[[str], None] = staticmethod(lambda moment: None)

    def __init__(self, connect: Callable[[], Any], dialect: Any, trail: Any, turn: Any) -> None:
        with mock.patch.object(group_commit.threading, "Thread"):
            super().__init__(connect, dialect, trail, turn)
        self._writer: Any = None
        self._answers: list[tuple[Any, Any]] = []
        self.dead = False

    def _notify(self) -> None:
        self._waking = False
        if self._waiting and not self.dead:
            asyncio.get_running_loop().call_later(self.latency(), self._commit_waiting)

    def _commit_waiting(self) -> None:
        if not self._waiting or self.dead:
            return
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), group_commit.LARGEST_GROUP))]
        outcomes: list[BaseException | None] = []
        try:
            if self._writer is None:
                self._writer = group_commit.BatchWriter(self._connect(), self._dialect)
            self.fault("before commit")
            if self.dead:
                return
            self._commit(self._writer, group, outcomes)
            self.fault("after commit")
        except Exception as error:
            group_commit._discard(self._writer)
            self._writer = None
            for submission in group[len(outcomes) :]:
                if submission.sequence is not None:
                    submission.sequence.broken = True
                outcomes.append(Unavailable(f"the database cannot be written: {type(error).__name__}"))
        if self.dead:
            return
        loop = asyncio.get_running_loop()
        loop.call_soon(group_commit._answer, group, outcomes)
        if self._waiting:
            loop.call_soon(self._commit_waiting)

    async def close(self) -> None:
        self._closing = True
        while self._waiting and not self.dead:
            self._commit_waiting()
        group_commit._discard(self._writer)
        self._writer = None


class SimulatedReader(sqlite_reader.SqliteReader):
    """The reader of lists without its threads: it reads at once."""

    def _hand_over(self, job: Any) -> None:
        future, sql, values = job
        connection = self._connect()
        try:
            future.set_result(sqlite_reader.read(connection, sql, values))
        finally:
            connection.close()


class _InlineQueue:
    """aiosqlite's queue of work for its thread, done at once."""

    def put_nowait(self, item: tuple[Any, Callable[[], Any]]) -> None:
        future, function = item
        try:
            result = function()
        except BaseException as error:
            if future is not None:
                asyncio.get_running_loop().call_soon(aiosqlite.core.set_exception, future, error)
            return
        if future is not None:
            asyncio.get_running_loop().call_soon(aiosqlite.core.set_result, future, result)


async def _to_no_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Replace asyncio.to_thread by a call in line: a loop that waits for a thread has nothing left to do."""
    return function(*arguments)


@contextmanager
def simulated(seed: int) -> Iterator[SimulatedLoop]:
    """A loop with simulated time, SQLite in line, and identifiers that depend on the seed."""
    loop = SimulatedLoop()
    clock = SimpleNamespace(
        perf_counter=loop.time,
        monotonic=loop.time,
        time=real_time.time,
        time_ns=lambda: int(START.timestamp() * 1e9 + loop.time() * 1e9),
        sleep=lambda seconds: None,
    )
    before = random.getstate()
    random.seed(seed)
    with (
        mock.patch.object(aiosqlite.core, "SimpleQueue", _InlineQueue),
        mock.patch.object(aiosqlite.core, "Thread", mock.Mock()),
        mock.patch.object(sqlite_backend, "GroupCommitWriter", SimulatedWriter),
        mock.patch.object(sqlite_backend, "SqliteReader", SimulatedReader),
        mock.patch.object(asyncio, "to_thread", _to_no_thread),
        mock.patch.object(identifiers, "time", clock),
        mock.patch.object(identifiers, "_last", 0),
        mock.patch.object(server, "time", clock),
        mock.patch.object(channels, "time", clock),
    ):
        try:
            asyncio.set_event_loop(loop)
            yield loop
        finally:
            random.setstate(before)
            asyncio.set_event_loop(None)
            loop.close()
