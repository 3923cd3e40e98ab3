"""Running a host until a stop signal."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import uvloop

SWITCH_INTERVAL_S = 0.0005


def run(main: Callable[["StopSignal"], Coroutine[Any, Any, None]]) -> None:
    """Run `main` on uvloop; SIGINT and SIGTERM set its stop signal, a second one ends the process at once."""

    async def with_signals() -> None:
        await main(StopSignal(asyncio.get_running_loop()))

    # The loop shares the GIL with vnpy's and the database's threads: none waits 5 ms (the default) for it.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    uvloop.run(with_signals())


class StopSignal:
    """Set by SIGINT or SIGTERM."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._event = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._set, loop, number)

    def _set(self, loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
        self._event.set()
        loop.remove_signal_handler(number)

    @property
    def is_set(self) -> bool:
        """True once the process is to stop."""
        return self._event.is_set()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for it, at most `timeout_s`; whether it is set."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def unless(self, work: Awaitable[Any]) -> bool:
        """Await work that a stop signal cuts short; whether the work was done."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False
