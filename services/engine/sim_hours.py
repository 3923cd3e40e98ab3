"""The hours of the simulated exchange where the setting `trading.enforce_sessions` keeps them; else it never closes."""

from datetime import UTC, datetime, timedelta

from services.kernel.clock import Clock
from services.quant.calendar import Calendar, SessionState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SimHours:
    """States and ends of trading days, as the calendar has them now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calendar = Calendar.load()

    def state(self, symbol: str) -> SessionState:
        """What the symbol's market does now."""
        return self._calendar.status(symbol, self._clock.now_ns()).state

    def trading_day(self) -> int:
        """The exchange's trading day now."""
        return self._calendar.chinese_trading_day(self._clock.now_ns())

    def day_end(self, symbol: str, trading_day: int) -> datetime:
        """When the last session of the symbol's trading day ends."""
        return _EPOCH + timedelta(microseconds=self._calendar.day_end_ns(symbol, trading_day) // 1000)
