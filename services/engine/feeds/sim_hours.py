"""The hours of the simulated exchange where the setting `trading.enforce_sessions` keeps them; else it never closes."""

from datetime import UTC, datetime, timedelta

from services.kernel.clock import Clock
from services.quant.calendar import Calendar, SessionState
from services.quant.calendar.days import to_number
from services.quant.catalogue import Catalogue

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SimHours:
    """States and ends of trading days, as the calendar has them now. A contract is closed after its last day."""

    def __init__(self, clock: Clock, catalogue: Catalogue) -> None:
        self._clock = clock
        self._catalogue = catalogue
        self._calendar = Calendar.load()

    def state(self, symbol: str) -> SessionState:
        """The present state of the symbol's market."""
        return self._calendar.status(symbol, self._clock.now_ns(), self._last_day(symbol)).state

    def trading_day(self) -> int:
        """The exchange's trading day now."""
        return self._calendar.chinese_trading_day(self._clock.now_ns())

    def last_end(self, symbol: str) -> datetime | None:
        """The end of the contract's last session, None when it has no last day."""
        last_day = self._last_day(symbol)
        return self.day_end(symbol, last_day) if last_day else None

    def _last_day(self, symbol: str) -> int:
        instrument = self._catalogue.find(symbol)
        day = instrument.expire_date if instrument else None
        return to_number(day) if day else 0

    def day_end(self, symbol: str, trading_day: int) -> datetime:
        """The end of the last session of the symbol's trading day."""
        return _EPOCH + timedelta(microseconds=self._calendar.day_end_ns(symbol, trading_day) // 1000)
