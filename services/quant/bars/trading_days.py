"""The trading days of ticks: as they state them, or the calendar's where they cannot be right."""

import logging
from collections.abc import Callable

from services.quant.bars.local_clock import LocalClock

_log = logging.getLogger(__name__)


class TradingDays:
    """Judges what ticks state. `listeners` get the symbol of each tick whose day is replaced; none (0) is no fault."""

    def __init__(self, clock: LocalClock) -> None:
        self._clock = clock
        self._logged: set[str] = set()
        self.listeners: list[Callable[[str], None]] = []

    def of(self, symbol: str, stated: int, time_ns: int) -> int:
        """The trading day (YYYYMMDD) of a tick that states one."""
        if stated and self._clock.is_possible(stated, time_ns):
            return stated
        day = self._clock.trading_day(symbol, time_ns)
        if stated:
            if symbol not in self._logged:
                self._logged.add(symbol)
                _log.warning("a tick of %s states the trading day %d: taken for one of %d", symbol, stated, day)
            for listener in self.listeners:
                listener(symbol)
        return day
