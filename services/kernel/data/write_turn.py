"""The turn to write into a SQLite file: units of work and the writer's thread, in the order in which they ask.

SQLite's own lock knows no order: who waits looks now and then whether it is free, and one unit of work after the other
may have it meanwhile, until the writer gives up.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from functools import partial

log = logging.getLogger(__name__)
LONG_S, TOO_LONG_S = 5.0, 30.0
"""A wait of the writer that is logged, and one after which it goes on without the turn, to SQLite's own lock."""


class WriteTurn:
    """One turn at a time: `async with turn` for units of work, `take` and `give` for a thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_taken = False
        self._waiting: deque[_UnitWaits | _ThreadWaits] = deque()

    async def __aenter__(self) -> None:
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            waits = _UnitWaits()
            self._waiting.append(waits)
        try:
            await waits.future
        except BaseException:
            self._leave(waits)
            raise

    async def __aexit__(self, *_: object) -> None:
        self.give()

    def take(self) -> bool:
        """Wait for the turn in a thread; False when it does not come."""
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return True
            waits = _ThreadWaits()
            self._waiting.append(waits)
        since = time.monotonic()
        if not waits.event.wait(LONG_S):
            log.warning("the writer waits for a unit of work that has not ended for %g s", LONG_S)
            if not waits.event.wait(TOO_LONG_S - LONG_S) and not self._withdraw(waits):
                log.error("the writer goes on without its turn after %.1f s", time.monotonic() - since)
                return False
        return True

    def give(self) -> None:
        """Pass the turn on to who asked next."""
        with self._lock:
            while self._waiting:
                if self._waiting.popleft().notify():
                    return
            self._is_taken = False

    def _leave(self, waits: "_UnitWaits") -> None:
        if self._withdraw(waits):
            self.give()

    def _withdraw(self, waits: "_UnitWaits | _ThreadWaits") -> bool:
        """Wait no longer; True when the turn has come meanwhile."""
        with self._lock:
            if waits in self._waiting:
                self._waiting.remove(waits)
                return False
            return waits.has_turn


class _UnitWaits:
    """A unit of work that waits in its loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future = self._loop.create_future()
        self.has_turn = False

    def notify(self) -> bool:
        try:
            self._loop.call_soon_threadsafe(partial(_end, self.future))
        except RuntimeError:  # the loop is closed
            return False
        self.has_turn = True
        return True


class _ThreadWaits:
    """A thread that waits."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.has_turn = False

    def notify(self) -> bool:
        self.has_turn = True
        self.event.set()
        return True


def _end(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
