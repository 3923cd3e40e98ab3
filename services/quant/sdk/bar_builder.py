"""Bars of a strategy: of one symbol and any number of seconds, made by the builder that makes market's."""

from collections.abc import Mapping

from services.quant.bars import Bar as BuiltBar
from services.quant.bars import BarBuilder as Builder
from services.quant.bars import Lengths, LocalClock
from services.quant.sdk.events import EXCHANGE_TIME, Bar, Tick, exchange_time

NS = 1_000_000_000
_MINUTE_S, _DAY_S = 60, 86_400


class BarBuilder:
    """Collects ticks; a bar closes when the first tick after its end arrives, so it is complete and never changes.

    Told of what comes between the ticks, too, it closes bars as market does, which waits for no tick of a quiet symbol:
    bars of whole minutes are then those of market, as far as the same ticks made them.
    """

    def __init__(self, seconds: int) -> None:
        """Raises: ValueError for less than a second or more than a day."""
        if not 1 <= seconds <= _DAY_S:
            raise ValueError(f"bars last 1 s to a day, not {seconds} s")
        self._closed: list[BuiltBar] = []
        self._builder = Builder(LocalClock(EXCHANGE_TIME.key), _lengths(seconds))
        self._builder.on_closed(self._closed.append)

    def add(self, tick: Tick) -> Bar | None:
        """Take a tick; returns the bar that it closed."""
        builder = self._builder
        if tick.epoch != builder.epoch:
            builder.begin_epoch(tick.epoch)
        builder.on_tick_fields(
            tick.symbol,
            tick.gateway,
            tick.sequence,
            tick.time_ns,
            tick.last_price,
            tick.last_quantity,
            tick.volume,
            tick.turnover,
            tick.open_interest,
            tick.open_price,
            tick.high_price,
            tick.low_price,
            tick.trading_day,
        )
        return _bar(self._closed.pop()) if self._closed else None

    def pass_time(
        self, epoch: str, watermarks_ns: Mapping[str, int], symbol_watermarks_ns: Mapping[str, int] | None = None
    ) -> list[Bar]:
        """Apply watermarks by gateway, and by symbol: no tick of it behind them is of an earlier time, but late ones.

        Returns the bars that they closed.
        """
        self._builder.begin_epoch(epoch)
        self._builder.on_watermarks(watermarks_ns)
        for symbol, time_ns in (symbol_watermarks_ns or {}).items():
            self._builder.on_symbol_watermark(symbol, time_ns)
        return self._take_closed()

    def lose(self, epoch: str, symbol: str, sequence: int) -> None:
        """The epoch's ticks up to this sequence never come: what is open is marked as incomplete."""
        self._builder.begin_epoch(epoch)
        self._builder.lose({symbol: sequence})

    def end(self) -> list[Bar]:
        """The feed has ended: close what is open, marked where its span is not over; returns it."""
        self._builder.close_all()
        return self._take_closed()

    def _take_closed(self) -> list[Bar]:
        closed = [_bar(bar) for bar in self._closed]
        self._closed.clear()
        return closed


def _lengths(seconds: int) -> Lengths:
    if seconds == _DAY_S:
        return Lengths(longer_ns=(), day=True, folds_only=True)
    if seconds > _MINUTE_S and seconds % _MINUTE_S == 0:
        return Lengths(longer_ns=(seconds * NS,), day=False, folds_only=True)
    return Lengths(shortest_ns=seconds * NS, longer_ns=(), day=False)


def _bar(bar: BuiltBar) -> Bar:
    return Bar(
        bar.symbol,
        exchange_time(bar.start_ns),
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.volume,
        bar.turnover,
        bar.open_interest,
        bar.incomplete,
    )
