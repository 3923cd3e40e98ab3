"""The exchanges' clock: where the spans of bars begin, and which moment and trading day a tick counts to."""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from services.quant.calendar import Calendar, SessionState
from services.quant.calendar.days import DAY_NS, HOUR_NS, SECOND_NS, day_of_number

NEVER = 1 << 62
_SESSION_END_NS = SECOND_NS
"""Time after a session's end in which ticks still belong to it, nanoseconds."""
_DAYS_BEHIND, _DAYS_AHEAD = 1, 15
"""Days by which a trading day may be off its ticks' local date: a night before a long holiday, or days in UTC."""
_MOST_SESSIONS = 32


class LocalClock:
    """The clock of a time zone, and the calendar."""

    def __init__(self, timezone: str) -> None:
        zone = ZoneInfo(timezone)
        self._calendar = Calendar.load()

        @lru_cache(maxsize=4096)
        def offset_ns(hour: int) -> int:
            offset = datetime.fromtimestamp(hour * 3600, UTC).astimezone(zone).utcoffset()
            assert offset is not None
            return int(offset.total_seconds()) * SECOND_NS

        self._offset_ns = offset_ns
        self._zone = zone

    def bucket_start(self, time_ns: int, length_ns: int) -> int:
        """The start of the bucket of `length_ns` that this moment is in, counted from local midnight."""
        offset = self._offset_ns(time_ns // HOUR_NS)
        local = time_ns + offset
        return local - local % length_ns - offset

    def date_number(self, time_ns: int) -> int:
        """The local date as YYYYMMDD."""
        day = datetime.fromtimestamp(time_ns // SECOND_NS, self._zone)
        return day.year * 10_000 + day.month * 100 + day.day

    def trading_day(self, symbol: str, time_ns: int) -> int:
        """The trading day of a tick that does not say it."""
        return self._calendar.trading_day(symbol, time_ns)

    def is_possible(self, trading_day: int, time_ns: int) -> bool:
        """Return whether a tick of this moment can be of this trading day: a date, and about the moment's own."""
        try:
            day = day_of_number(trading_day)
        except ValueError:
            return False
        date = (time_ns + self._offset_ns(time_ns // HOUR_NS)) // DAY_NS
        return date - _DAYS_BEHIND <= day <= date + _DAYS_AHEAD

    def day_end_ns(self, symbol: str, trading_day: int) -> int:
        """The first moment after a trading day."""
        return self._calendar.day_span_ns(symbol, trading_day)[1]

    def bar_time(self, symbol: str, time_ns: int) -> tuple[int, int]:
        """(the moment that a tick of this time counts to, until when ticks count to their own).

        What an exchange sends right after a session's end is of its last minute: the trades of 15:00:00 are 14:59's.
        """
        calendar = self._calendar
        status = calendar.status(symbol, time_ns)
        if not status.state.takes_orders:
            before = calendar.status(symbol, time_ns - _SESSION_END_NS)
            if before.state is SessionState.OPEN:
                return before.next_change_ns - 1, time_ns
        return time_ns, status.next_change_ns or NEVER

    def quiet_until_ns(self, symbol: str, time_ns: int) -> int:
        """The first moment from `time_ns` on at which the market takes orders."""
        status = self._calendar.status(symbol, time_ns)
        return time_ns if status.state.takes_orders else status.next_change_ns or NEVER

    def session_time_ns(self, symbol: str, start_ns: int, end_ns: int) -> int:
        """The time of continuous trading between two moments, on the second one's trading day only."""
        calendar = self._calendar
        moment, open_ns = max(start_ns, calendar.day_begin_ns(symbol, calendar.trading_day(symbol, end_ns))), 0
        for _ in range(_MOST_SESSIONS):
            if moment >= end_ns:
                break
            status = calendar.status(symbol, moment)
            until = min(status.next_change_ns or end_ns, end_ns)
            if status.state is SessionState.OPEN:
                open_ns += until - moment
            moment = until
        return open_ns

    def midnight_ns(self, date_number: int) -> int:
        """The local midnight that a date (YYYYMMDD) begins with."""
        year, rest = divmod(date_number, 10_000)
        return int(datetime(year, rest // 100, rest % 100, tzinfo=self._zone).timestamp()) * SECOND_NS
