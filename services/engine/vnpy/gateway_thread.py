"""A thread for one gateway's calls: a gateway that blocks holds up neither the loop nor another gateway."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from services.kernel.errors import ResourceExhausted

log = logging.getLogger(__name__)

MAX_WAITING = 1_000


class NotMade(Exception):
    """The call was taken back before it began."""


class Urgency(IntEnum):
    """The order of calls."""

    CANCEL = 0
    ORDER = 1
    OTHER = 2


class Call:
    """A call that waits or runs. `future` has its outcome, also long after its caller has left."""

    __slots__ = ("_function", "begun", "future")

    def __init__(self, function: Callable[[], Any], future: "asyncio.Future[Any]") -> None:
        self._function = function
        self.future = future
        self.begun = False

    def run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the call, on the thread."""
        value, error = None, None
        try:
            value = self._function()
        except Exception as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(_resolve, self.future, value, error)
        except RuntimeError:
            log.debug("the loop is closed; the outcome of a gateway's call is dropped")


class GatewayThread:
    """Calls in turn: cancels before orders, orders before anything else. Bounded: more orders are refused."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Condition()
        self._waiting: tuple[deque[Call], ...] = tuple(deque() for _ in Urgency)
        self._generation = 0
        self._thread: threading.Thread | None = None

    def call(self, urgency: Urgency, function: Callable[[], Any]) -> Call:
        """Queue a call. Raises: ResourceExhausted when too many orders wait; then it is never made."""
        call = Call(function, self._loop.create_future())
        call.future.add_done_callback(_log_failure)
        with self._lock:
            if urgency is Urgency.ORDER and len(self._waiting[urgency]) >= MAX_WAITING:
                raise ResourceExhausted(f"gateway {self._name}: {MAX_WAITING} orders wait for it")
            self._waiting[urgency].append(call)
            if self._thread is None:
                name = f"gateway-{self._name}"
                self._thread = threading.Thread(target=self._run, args=(self._generation,), name=name, daemon=True)
                self._thread.start()
            self._lock.notify()
        return call

    def withdraw(self, call: Call) -> bool:
        """Take a call back; False when it has begun."""
        with self._lock:
            if not call.begun:
                for queue in self._waiting:
                    if call in queue:
                        queue.remove(call)
                        _resolve(call.future, None, NotMade())
                        return True
        return False

    def renew(self) -> None:
        """Give up a thread that may hang in a gateway that was closed. What waits is not made: NotMade."""
        with self._lock:
            self._generation += 1
            self._thread = None
            waiting = [call for queue in self._waiting for call in queue]
            for queue in self._waiting:
                queue.clear()
            self._lock.notify_all()
        for call in waiting:
            _resolve(call.future, None, NotMade())

    def _run(self, generation: int) -> None:
        while (call := self._next(generation)) is not None:
            call.run(self._loop)

    def _next(self, generation: int) -> Call | None:
        with self._lock:
            while generation == self._generation:
                for queue in self._waiting:
                    if queue:
                        call = queue.popleft()
                        call.begun = True
                        return call
                self._lock.wait()
        return None


def _log_failure(future: "asyncio.Future[Any]") -> None:
    """Log the error of a call: its caller may have left."""
    if not future.cancelled() and (error := future.exception()) and not isinstance(error, NotMade):
        log.error("a call of a gateway failed", exc_info=error)


def _resolve(future: "asyncio.Future[Any]", value: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
