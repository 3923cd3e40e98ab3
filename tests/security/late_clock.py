"""The machine's clock, which a test may turn forward."""

from datetime import timedelta

from services.kernel.clock import Clock


class LateClock(Clock):
    """The time of the machine, and what a test has added to it; what waits, waits by the machine's own."""

    def __init__(self) -> None:
        self._ahead_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self._ahead_ns

    def advance(self, **parts: float) -> None:
        self._ahead_ns += int(timedelta(**parts).total_seconds() * 1e9)
