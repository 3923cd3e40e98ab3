"""Owned tasks: every task has a name and an owner, is awaited when the owner stops, and its failure is logged."""

import asyncio
import logging
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

from services.kernel.errors import RedFireError

log = logging.getLogger(__name__)
T = TypeVar("T")
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0


class Tasks:
    """The tasks of one owner."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, Any], *, awaited: bool = False) -> asyncio.Task[Any]:
        """Run a coroutine; its exception is logged, unless it is a refusal and a caller has `awaited` it."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended_as_awaited if awaited else self._ended)
        return task

    def supervise(
        self, name: str, run: Callable[[], Awaitable[None]], longest_pause_s: float = LONGEST_PAUSE_S
    ) -> asyncio.Task[Any]:
        """Run `run` until it is cancelled; when it ends it is started again, later each time; what it raises is logged.

        A short `longest_pause_s` is for what others wait for while a peer is away.
        """
        return self.spawn(name, self._restarting(name, run, longest_pause_s))

    async def stop(self, grace_s: float = 3.0) -> None:
        """Cancel all and wait for them."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=grace_s)
            for task in pending:
                log.warning("task %s does not stop", task.get_name())

    def _ended_as_awaited(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and isinstance(task.exception(), RedFireError):
            self._tasks.discard(task)
        else:
            self._ended(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("task %s failed", task.get_name(), exc_info=error)

    @staticmethod
    async def _restarting(name: str, run: Callable[[], Awaitable[None]], longest_pause_s: float) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await run()
            except Exception:
                log.exception("task %s failed; it is started again", name)
            if asyncio.get_running_loop().time() - started > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, longest_pause_s)


async def wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event; False when it is not set in time."""
    limit = TimeLimit(seconds)
    try:
        return await event.wait()
    except asyncio.CancelledError:
        if limit.ends():
            return False
        raise
    finally:
        limit.stop()


@types.coroutine
def within(coroutine: Coroutine[Any, Any, T], seconds: float) -> Generator[Any, Any, T]:
    """Await a coroutine for at most so long; raises TimeoutError. One that never waits needs no timer, and has none."""
    try:
        waits_for = coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    limit = TimeLimit(seconds)
    try:
        # What `yield from` does, for a coroutine that has begun.
        while True:
            try:
                sent = yield waits_for
            except BaseException as error:
                waits_for = coroutine.throw(error)
            else:
                waits_for = coroutine.send(sent)
    except StopIteration as end:
        result = end.value
        return result
    except asyncio.CancelledError:
        if limit.ends():
            raise TimeoutError from None
        raise
    finally:
        limit.stop()


class TimeLimit:
    """Cancels the running task after so many seconds, as asyncio.timeout does, at a third of its price.

    asyncio.timeout asks four times for the running loop, and each time Python 3.11 asks the kernel for the process.
    """

    __slots__ = ("_cancelling", "_expired", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._expired = False
        self._timer = loop.call_later(max(0.0, seconds), self._expire)

    def ends(self) -> bool:
        """Test whether a CancelledError is the limit's own; once, where it was caught."""
        expired, self._expired = self._expired, False
        return expired and self._task.uncancel() <= self._cancelling

    def stop(self) -> None:
        """End the limit."""
        self._timer.cancel()
        if self._expired:
            self._task.uncancel()

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
