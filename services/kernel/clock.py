"""The time, injected so that tests can turn it."""

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """The machine's clock."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds that never go back; uvloop's loop.time() steps by a millisecond, this does not."""
        return time.perf_counter()

    def now(self) -> datetime:
        """The time as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.now_ns() / 1e9, UTC)


class ManualClock(Clock):
    """A clock that stands still until it is advanced."""

    def __init__(self, start: datetime = datetime(2026, 1, 5, 2, 0, tzinfo=UTC)) -> None:
        self._ns = int(start.timestamp() * 1e9)
        self._start_ns = self._ns

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z."""
        return self._ns

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return (self._ns - self._start_ns) / 1e9

    def advance(self, seconds: float = 0, **parts: float) -> None:
        """Turn the clock forward by seconds and timedelta's parts."""
        self._ns += int((timedelta(**parts).total_seconds() + seconds) * 1e9)
