"""Time that jumps to the next timer when nothing else is left to do: an hour is tested in no time, exactly."""

import asyncio
import functools
import heapq
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from services.kernel.clock import ManualClock

START = datetime(2026, 1, 5, 1, 30, tzinfo=UTC)  # Monday, 9:30 in Shanghai


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Runs callbacks in asyncio's order. `after_step` is called between any two of them."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__()
        self.steps = 0
        self.after_step: Callable[[], None] | None = None

    def time(self) -> float:
        """Simulated seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass: what runs takes it."""
        self._now += seconds

    def _run_once(self) -> None:
        scheduled, ready = self._scheduled, self._ready
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not ready:
            if not scheduled:
                raise RuntimeError("nothing is left to do: the run would hang")
            self._now = max(self._now, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self._now:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False
            ready.append(timer)
        handle = ready.popleft()
        if not handle._cancelled:
            handle._run()
        self.steps += 1
        if self.after_step is not None:
            self.after_step()


class SimulatedClock(ManualClock):
    """The loop's time, and what it was advanced by besides."""

    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__(START)
        self._loop = loop

    def now_ns(self) -> int:
        return super().now_ns() + int(self._loop.time() * 1e9)

    def monotonic(self) -> float:
        return super().monotonic() + self._loop.time()


def in_simulated_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on a SimulatedLoop: for what uses timers only, no threads and no sockets."""

    @functools.wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        loop = SimulatedLoop()
        try:
            loop.run_until_complete(test(*arguments, **fixtures))
        finally:
            loop.close()

    return run
