"""The trading day of Chinese futures: it begins at 17:00 Shanghai time of the working day before."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")
_ROLL_HOUR = 17


class TradingCalendar:
    """Trading days of moments, as YYYYMMDD; it remembers the day it answered last, since moments come in order.

    A night session belongs to the next working day, so Friday's night and the weekend are Monday's. Public holidays
    are not known here: a simulated market has none, and recordings carry their own trading day.
    """

    def __init__(self) -> None:
        self._start_ns = 0
        self._end_ns = 0
        self._day = 0

    def day_of(self, time_ns: int) -> int:
        """The trading day of a moment given in nanoseconds since the epoch."""
        if not self._start_ns <= time_ns < self._end_ns:
            self._find(time_ns)
        return self._day

    def _find(self, time_ns: int) -> None:
        local = datetime.fromtimestamp(time_ns // 1_000_000_000, SHANGHAI)
        start = datetime(local.year, local.month, local.day, _ROLL_HOUR, tzinfo=SHANGHAI)
        if local < start:
            start -= timedelta(days=1)
        self._start_ns = int(start.timestamp()) * 1_000_000_000
        self._end_ns = int((start + timedelta(days=1)).timestamp()) * 1_000_000_000
        self._day = day_number(next_working_day(start.date()))


def next_working_day(day: date) -> date:
    """The first day after `day` that is not a Saturday or Sunday."""
    day += timedelta(days=1)
    while day.weekday() >= 5:
        day += timedelta(days=1)
    return day


def day_number(day: date) -> int:
    """2026-11-23 → 20261123."""
    return day.year * 10_000 + day.month * 100 + day.day
