"""Days of exchanges: which are open, and the trading day that a moment belongs to. Days are counted from 1970-01-01."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Protocol

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
SHANGHAI_NS = 8 * HOUR_NS
"""Shanghai's offset to UTC; it has had no summer time since 1991."""
ROLL_NS = 17 * HOUR_NS
"""Begin of the next trading day of Chinese exchanges, on Shanghai's clock: after the close, before any night."""
_EPOCH = date(1970, 1, 1).toordinal()
_LAST_DAY = date.max.toordinal() - _EPOCH


def day_number(day: int) -> int:
    """Days since 1970 as YYYYMMDD."""
    return to_number(date.fromordinal(day + _EPOCH))


def day_of_number(number: int) -> int:
    """YYYYMMDD as days since 1970. Raises: ValueError for what is no date."""
    return to_date(number).toordinal() - _EPOCH


def days_after(number: int, days: int) -> int:
    """The calendar day so many days after one, both YYYYMMDD."""
    return day_number(min(day_of_number(number) + days, _LAST_DAY))


def to_date(number: int) -> date:
    """YYYYMMDD as a date. Raises: ValueError for what is no date."""
    return date(number // 10_000, number // 100 % 100, number % 100)


def to_number(day: date) -> int:
    """A date as YYYYMMDD."""
    return day.year * 10_000 + day.month * 100 + day.day


class Days(Protocol):
    """The days of a group of exchanges."""

    offset_ns: int
    """The local clock less UTC."""
    roll_ns: int
    """End of a day on the local clock, counted from midnight."""

    def is_open(self, day: int) -> bool:
        """Return whether the day is a trading day."""

    def of(self, time_ns: int) -> int:
        """The trading day (YYYYMMDD) of a moment."""


class RoundTheClock:
    """Days in UTC, all of them open."""

    offset_ns = 0
    roll_ns = DAY_NS

    def __init__(self) -> None:
        self._span = (0, 0, 0)

    def is_open(self, day: int) -> bool:
        """Every day is."""
        return True

    def of(self, time_ns: int) -> int:
        """The day in UTC."""
        start, end, number = self._span
        if start <= time_ns < end:
            return number
        day = time_ns // DAY_NS
        number = day_number(day)
        self._span = day * DAY_NS, (day + 1) * DAY_NS, number
        return number


class ChineseDays:
    """Days of the Chinese exchanges. `of` remembers the span it answered last, since moments come in order."""

    offset_ns = SHANGHAI_NS
    roll_ns = ROLL_NS

    def __init__(self, closes: Callable[[int], bool]) -> None:
        self._closes = closes
        self._span = (0, 0, 0)

    def is_open(self, day: int) -> bool:
        """Neither a weekend nor a holiday nor a closure."""
        return (day + 3) % 7 < 5 and not self._closes(day)  # 1970-01-01 was a Thursday

    def of(self, time_ns: int) -> int:
        """The first open day, counted from 17:00."""
        start, end, number = self._span
        if start <= time_ns < end:
            return number
        day = next_open(self, (time_ns + SHANGHAI_NS + DAY_NS - ROLL_NS) // DAY_NS)
        number = day_number(day)
        start, end = span(self, day)
        self._span = start, end, number
        return number


def next_open(days: Days, day: int) -> int:
    """The first open day from `day` on."""
    while not days.is_open(day):
        day += 1
    return day


def last_open(days: Days, day: int) -> int:
    """The last open day until `day`."""
    while not days.is_open(day):
        day -= 1
    return day


def open_days(days: Days, start: int, end: int) -> Iterator[int]:
    """The open days from `start` to `end`, both included."""
    return (day for day in range(start, end + 1) if days.is_open(day))


def span(days: Days, day: int) -> tuple[int, int]:
    """The moments of an open day: from the roll of the open day before it until its own, in ns since the epoch."""
    before = last_open(days, day - 1)
    ends = days.roll_ns - days.offset_ns
    return before * DAY_NS + ends, day * DAY_NS + ends
