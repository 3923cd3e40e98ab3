"""Bars of any number of seconds out of ticks."""

from services.quant.sdk.events import Bar, Tick, exchange_time

NS = 1_000_000_000


class BarBuilder:
    """Collects ticks; a bar closes when the first tick after its end arrives, so it is complete and never changes."""

    def __init__(self, seconds: int) -> None:
        self._span_ns = seconds * NS
        self._end_ns = 0
        self._bar: Bar | None = None
        self._volume = 0.0
        self._turnover = 0.0
        self._seen = False

    def add(self, tick: Tick) -> Bar | None:
        """Take a tick; returns the bar that it closed."""
        price = tick.last_price
        if not price:
            return None
        closed = None
        if self._bar is None or tick.time_ns >= self._end_ns:
            closed = self._bar
            start_ns = tick.time_ns // self._span_ns * self._span_ns
            self._end_ns = start_ns + self._span_ns
            self._bar = Bar(tick.symbol, exchange_time(start_ns), price, price, price, price)
        bar = self._bar
        bar.high = max(bar.high, price)
        bar.low = min(bar.low, price)
        bar.close = price
        bar.open_interest = tick.open_interest
        if self._seen:
            # Both are cumulative over the trading day and begin again with the next one.
            bar.volume += max(tick.volume - self._volume, 0.0)
            bar.turnover += max(tick.turnover - self._turnover, 0.0)
        self._seen = True
        self._volume, self._turnover = tick.volume, tick.turnover
        return closed
