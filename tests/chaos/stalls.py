"""Stalls of the machine: times in which it ran nothing of this process, which has the priority of the platform's.

Clients stand still then whatever the fault is. A platform that shares its machine with a build or a measurement loses
its leases by that, and has them again afterwards.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

STEP_S = 0.05
LATE_S = 0.2
"""Delays below are those of any scheduler."""


class Stalls(threading.Thread):
    """Notes how late a thread wakes that wants to run every few milliseconds; until `end`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, step_s: float = STEP_S) -> None:
        super().__init__(daemon=True)
        self._clock, self._step_s = clock, step_s
        self._ended = threading.Event()
        self._stalls: deque[tuple[float, float]] = deque(maxlen=100_000)
        self._before = clock()

    def run(self) -> None:
        self._before = self._clock()
        while not self._ended.wait(self._step_s):
            self.wake()

    def wake(self) -> None:
        """Note that the thread runs now."""
        due, self._before = self._before + self._step_s, self._clock()
        if self._before - due > LATE_S:
            self._stalls.append((due, self._before))

    def end(self) -> None:
        """Stop."""
        self._ended.set()
        if self.ident is not None:
            self.join(10)

    def between(self, begun: float, ended: float) -> float:
        """Seconds of stalls in a time."""
        return sum(max(0.0, min(last, ended) - max(first, begun)) for first, last in list(self._stalls))
