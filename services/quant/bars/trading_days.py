"""The trading days of ticks: as they state them, or the calendar's where they cannot be right."""

import logging
from collections import Counter

from services.quant.bars.local_clock import LocalClock

_log = logging.getLogger(__name__)


class TradingDays:
    """Judges what ticks state; `impossible` counts by symbol the days that were replaced, 0 (none stated) not."""

    def __init__(self, clock: LocalClock) -> None:
        self._clock = clock
        self.impossible: Counter[str] = Counter()

    def of(self, symbol: str, stated: int, time_ns: int) -> int:
        """The trading day (YYYYMMDD) of a tick that states one."""
        if stated and self._clock.is_possible(stated, time_ns):
            return stated
        day = self._clock.trading_day(symbol, time_ns)
        if stated:
            if symbol not in self.impossible:
                _log.warning("a tick of %s states the trading day %d: taken for one of %d", symbol, stated, day)
            self.impossible[symbol] += 1
        return day
