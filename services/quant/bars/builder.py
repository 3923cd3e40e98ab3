"""The bar builder: all symbols' open bars, fed with ticks, watermarks and epochs in their order."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from services.quant.bars.bar import Bar
from services.quant.bars.local_clock import NEVER, LocalClock
from services.quant.bars.open_bars import GatewayTime, Lengths, Rules
from services.quant.bars.symbol_bars import Begins, SymbolBars
from services.quant.bars.trading_days import TradingDays
from services.quant.ticks.tick_batch import TickBatch

Watermarks = Mapping[str, int]
NO_TIMES: Watermarks = MappingProxyType({})


class Tick(Protocol):
    """The fields of a tick that bars read; volume and turnover are the trading day's so far."""

    symbol: str
    gateway: str
    sequence: int
    time_ns: int
    last_price: float
    last_quantity: float
    volume: float
    turnover: float
    open_interest: float
    open_price: float
    high_price: float
    low_price: float
    trading_day: int


class BarBuilder:
    """All symbols' open bars. Closed ones go to the listeners, in order of their end per symbol."""

    def __init__(self, clock: LocalClock, lengths: Lengths | None = None) -> None:
        """`lengths`: by default those of market, which are all that `Interval` names."""
        self.epoch = ""
        """The present one; empty while none is known."""
        self._days = TradingDays(clock)
        self._rules = Rules(clock, self._days, lengths or Lengths(), self._closed)
        self._listeners: list[Callable[[Bar], None]] = []
        self._failed: Callable[[str], None] | None = None
        self._symbols: dict[str, SymbolBars] = {}
        self._gateways: dict[str, GatewayTime] = {}

    def __iter__(self) -> Iterator[SymbolBars]:
        return iter(self._symbols.values())

    def on_closed(self, listener: Callable[[Bar], None]) -> None:
        """Register a listener of closed bars."""
        self._listeners.append(listener)

    def on_failed(self, report: Callable[[str], None]) -> None:
        """Report the symbol for which something raised, and go on, instead of raising.

        A tick of a batch that raises costs no other tick, a symbol's time or epoch no other symbol, and a listener that
        raises costs no other listener a bar.
        """
        self._failed = report

    def on_impossible_day(self, listener: Callable[[str], None]) -> None:
        """Register a listener of ticks, by symbol, whose trading day cannot be right: the calendar's counts."""
        self._days.listeners.append(listener)

    def on_ticks(self, ticks: Iterable[Tick]) -> None:
        """Apply ticks, in order."""
        symbols = self._symbols
        for tick in ticks:
            symbol, gateway = tick.symbol, tick.gateway
            bars = symbols.get(symbol)
            if bars is None or bars.time.gateway != gateway:
                bars = self._bars_of(symbol, gateway)
            bars.on_tick(
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

    def on_batch(self, batch: TickBatch, left_out: Container[str] = ()) -> None:
        """Apply the ticks of a batch, symbol by symbol, but for those of symbols that are left out."""
        for number, run in enumerate(batch.runs()):
            symbol, gateway = run.symbol, run.gateway
            if symbol in left_out:
                continue
            bars = self._symbols.get(symbol)
            if bars is None or bars.time.gateway != gateway:
                bars = self._bars_of(symbol, gateway)
            done, count = 0, len(run.frames)
            while done < count:
                done += batch.fold(number, done, bars)
                if done < count:
                    self._isolated(symbol, bars.on_tick, *batch.bar_fields(number, done))
                    done += 1

    def on_tick_fields(
        self,
        symbol: str,
        gateway: str,
        sequence: int,
        time_ns: int,
        price: float,
        last_quantity: float,
        volume: float,
        turnover: float,
        open_interest: float,
        open_price: float,
        high: float,
        low: float,
        trading_day: int,
    ) -> None:
        """Apply one tick, field by field: for what has columns instead of objects."""
        bars = self._symbols.get(symbol)
        if bars is None or bars.time.gateway != gateway:
            bars = self._bars_of(symbol, gateway)
        bars.on_tick(
            sequence,
            time_ns,
            price,
            last_quantity,
            volume,
            turnover,
            open_interest,
            open_price,
            high,
            low,
            trading_day,
        )

    def on_watermark(self, gateway: str, time_ns: int) -> None:
        """Close bars of a gateway that end by this exchange time: quiet symbols' bars do not wait for their next tick.

        One of an earlier time than the last changes nothing.
        """
        time = self._gateway(gateway)
        if time_ns <= time.watermark_ns:
            return
        time.watermark_ns = time_ns
        if time_ns < time.next_close_ns:
            return
        time.next_close_ns = NEVER
        for bars in self._symbols.values():
            if bars.time is not time:
                continue
            if bars.close_at_ns <= time_ns and bars.applied_ns < time_ns:
                self._isolated(bars.symbol, bars.on_watermark, time_ns)
            if bars.close_at_ns < time.next_close_ns:
                time.next_close_ns = bars.close_at_ns

    def on_symbol_watermark(self, symbol: str, time_ns: int) -> None:
        """Apply a watermark to one symbol: between its ticks that are resumed, where those of others come later."""
        bars = self._symbols.get(symbol)
        if bars is not None and max(bars.applied_ns, bars.time.watermark_ns) < time_ns:
            bars.applied_ns = time_ns
            if bars.close_at_ns <= time_ns:
                self._isolated(symbol, bars.on_watermark, time_ns)

    def on_watermarks(self, watermarks_ns: Mapping[str, int]) -> None:
        """Apply the watermarks of several gateways."""
        for gateway, time_ns in watermarks_ns.items():
            self.on_watermark(gateway, time_ns)

    def begin_epoch(self, epoch: str) -> None:
        """Begin an epoch, of which the next ticks are; the present one again changes nothing.

        Sequences and volumes of another one have nothing to do with those before.
        """
        for bars in self._symbols.values():
            if bars.epoch != epoch:
                bars.epoch = epoch
                self._isolated(bars.symbol, bars.end_epoch, Begins.EPOCH)
        if epoch != self.epoch:
            self.epoch = epoch
            for time in self._gateways.values():
                time.watermark_ns = 0

    def lose(self, sequences: Mapping[str, int]) -> None:
        """The epoch's ticks up to these sequences, by symbol, are lost if they did not come: no tick may ever follow.

        Open bars are marked, and the next tick is one behind a gap.
        """
        for symbol, sequence in sequences.items():
            bars = self._symbols.get(symbol)
            if bars is not None and not bars.begins and bars.sequence < sequence:
                bars.lose(sequence)

    def close_all(self, gateway: str = "") -> None:
        """The feed has ended, or that of one gateway: close everything of it, days included."""
        for bars in self._symbols.values():
            if not gateway or bars.time.gateway == gateway:
                self._isolated(bars.symbol, bars.end)

    def dump(self) -> dict[str, dict[str, Any]]:
        """The open bars in plain values, by symbol."""
        return {symbol: bars.dump() for symbol, bars in self._symbols.items()}

    @property
    def watermarks_ns(self) -> dict[str, int]:
        """The watermarks so far, by gateway: also of those whose symbols have not come yet."""
        return {name: time.watermark_ns for name, time in self._gateways.items() if time.watermark_ns}

    def load(self, state: Mapping[str, dict[str, Any]], epoch: str = "", watermarks_ns: Watermarks = NO_TIMES) -> None:
        """Go on in an epoch from dumps of symbols, which may be of different moments, and the watermarks at the first.

        Epochs and watermarks that a symbol's dump has seen already change nothing of it when they come again.
        """
        for symbol, one in state.items():
            if "epoch" in one:  # those of versions before epochs begin anew
                bars = self._symbols[symbol] = SymbolBars(symbol, self._gateway(one["gateway"]), self._rules)
                bars.load(one)
                self.epoch = bars.epoch
        for time in self._gateways.values():
            time.watermark_ns = min((bars.applied_ns for bars in self if bars.time is time), default=0)
        if epoch:
            self.begin_epoch(epoch)
        for gateway, time_ns in watermarks_ns.items():
            self._gateway(gateway).watermark_ns = time_ns

    def _closed(self, bar: Bar) -> None:
        for listener in self._listeners:
            self._isolated(bar.symbol, listener, bar)

    def _isolated(self, symbol: str, function: Callable[..., None], *arguments: Any) -> None:
        try:
            function(*arguments)
        except Exception:
            if self._failed is None:
                raise
            self._failed(symbol)

    def _gateway(self, gateway: str) -> GatewayTime:
        time = self._gateways.get(gateway)
        if time is None:
            time = self._gateways[gateway] = GatewayTime(gateway)
        return time

    def _bars_of(self, symbol: str, gateway: str) -> SymbolBars:
        """The bars of a symbol that is new, or that another gateway serves from now on."""
        bars = self._symbols.get(symbol)
        if bars is None:
            bars = self._symbols[symbol] = SymbolBars(symbol, self._gateway(gateway), self._rules)
            bars.epoch = self.epoch
        else:
            bars.end_epoch(Begins.MARKET)
            bars.time = self._gateway(gateway)
            bars.set_alarm()
        return bars
