"""A bar, and the lengths that bars have."""

from dataclasses import dataclass
from enum import IntEnum

from services.quant.calendar.days import MINUTE_NS


class Interval(IntEnum):
    """A bar's length; numbers as in common.v1.Interval."""

    MINUTE = 1
    MINUTES_5 = 2
    MINUTES_15 = 3
    MINUTES_30 = 4
    HOUR = 5
    HOURS_4 = 6
    DAY = 7

    @property
    def length_ns(self) -> int:
        """Nanoseconds."""
        return _LENGTHS_NS[self]


_LENGTHS_NS = {
    Interval(number): minutes * MINUTE_NS for number, minutes in enumerate((1, 5, 15, 30, 60, 240, 1440), start=1)
}
LONGER = (Interval.MINUTES_5, Interval.MINUTES_15, Interval.MINUTES_30, Interval.HOUR, Interval.HOURS_4)


@dataclass(slots=True)
class Bar:
    """A bar that begins at `start_ns`. Mutable while it is open; a closed one is changed no more."""

    symbol: str
    interval: Interval
    start_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float
    open_interest: float
    trading_day: int
    incomplete: bool = False
    """True if it was built over a gap: trades of its span may be missing, or others may be in it."""

    @property
    def end_ns(self) -> int:
        """The first moment after it."""
        return self.start_ns + self.interval.length_ns

    def longer(self, interval: Interval, start_ns: int) -> "Bar":
        """A longer bar that so far has this one only."""
        return Bar(
            self.symbol,
            interval,
            start_ns,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.turnover,
            self.open_interest,
            self.trading_day,
            self.incomplete,
        )

    def fold(self, shorter: "Bar") -> None:
        """Add the next shorter bar of its span."""
        self.high = max(self.high, shorter.high)
        self.low = min(self.low, shorter.low)
        self.close = shorter.close
        self.volume += shorter.volume
        self.turnover += shorter.turnover
        self.open_interest = shorter.open_interest
        self.incomplete |= shorter.incomplete
