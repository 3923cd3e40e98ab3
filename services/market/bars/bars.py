"""Bars, made once from ticks: a minute per symbol is kept up with each tick, longer bars are folded from minutes.

Bars are stamped at their start. Intraday bars start at multiples of their length from local midnight of the exchange; a
day's bar covers the trading day, night session included, and takes its prices and volume from the exchange's own
figures in the ticks. A span in which nothing was traded has no bar: snapshots that only repeat the last trade (as
exchanges send after the close) open none; ticks of the second after a session's end belong to its last minute.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, Protocol

from services.market.local_clock import SECOND_NS, LocalClock


class Interval(IntEnum):
    """A bar's length; numbers as in common.v1.Interval."""

    MINUTE = 1
    MINUTES_5 = 2
    MINUTES_15 = 3
    MINUTES_30 = 4
    HOUR = 5
    HOURS_4 = 6
    DAY = 7

    @property
    def length_ns(self) -> int:
        """Nanoseconds."""
        return _LENGTHS_NS[self]


_LENGTHS_NS = {
    Interval(number): minutes * 60 * SECOND_NS for number, minutes in enumerate((1, 5, 15, 30, 60, 240, 1440), start=1)
}
LONGER = (Interval.MINUTES_5, Interval.MINUTES_15, Interval.MINUTES_30, Interval.HOUR, Interval.HOURS_4)


@dataclass(slots=True)
class Bar:
    """A bar that begins at `start_ns`. Mutable while it is open; a closed one is changed no more."""

    symbol: str
    interval: Interval
    start_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float
    open_interest: float
    trading_day: int

    @property
    def end_ns(self) -> int:
        """The first moment after it."""
        return self.start_ns + self.interval.length_ns


class Tick(Protocol):
    """The fields of a tick that bars read; volume and turnover are the trading day's so far."""

    symbol: str
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


class SymbolBars:
    """The open bars of one symbol, and the fields of its last tick that the next one is compared with."""

    __slots__ = (
        "_clock",
        "close_at_ns",
        "closed_before_ns",
        "day_high",
        "day_low",
        "day_open",
        "folded",
        "last_price",
        "longer",
        "minute",
        "open_interest",
        "own_time_until_ns",
        "sequence",
        "symbol",
        "time_ns",
        "trading_day",
        "turnover",
        "volume",
    )

    def __init__(self, symbol: str, clock: LocalClock) -> None:
        self.symbol = symbol
        self._clock = clock
        self.sequence = 0
        self._forget_day()

    def _forget_day(self) -> None:
        self.trading_day = 0
        self.time_ns = 0
        self.last_price = 0.0
        self.volume = 0.0
        self.turnover = 0.0
        self.open_interest = 0.0
        self.day_open = 0.0
        self.day_high = 0.0
        self.day_low = 0.0
        self.minute: Bar | None = None
        self.longer: dict[Interval, Bar] = {}
        self.folded: Bar | None = None
        self.close_at_ns = 0
        self.closed_before_ns = 0
        self.own_time_until_ns = 0

    def on_tick(self, tick: Tick, close: Callable[[Bar], None]) -> None:
        """Apply a tick; bars that end before it are closed first."""
        price = tick.last_price
        if not 0.0 < price < 1e300:  # CTP writes the largest double where it has no price
            return
        time_ns, volume, sequence = tick.time_ns, tick.volume, tick.sequence
        trading_day = tick.trading_day or self._clock.trading_day(self.symbol, time_ns)
        if trading_day != self.trading_day:
            if trading_day > self.trading_day:
                self.close_all(close)
            else:
                self._forget_day()  # a replay begins again: what is open is not a whole bar
            self.trading_day = trading_day
            self._first_tick(tick, price)
            return
        if time_ns < self.time_ns and volume < self.volume:
            if sequence == self.sequence + 1:
                return  # a snapshot that comes too late has nothing new
            self._forget_day()  # a replay of the same day begins again
            self.trading_day = trading_day
            self._first_tick(tick, price)
            return
        self.sequence = sequence
        if time_ns >= self.own_time_until_ns:
            time_ns, self.own_time_until_ns = self._clock.bar_time(self.symbol, time_ns)
        if self.close_at_ns and time_ns >= self.close_at_ns:
            self.close_until(time_ns, close)
        traded = volume - self.volume
        turnover = tick.turnover
        high, low = tick.high_price, tick.low_price
        new_high, new_low = high > self.day_high > 0.0, 0.0 < low < self.day_low
        bar = self.minute
        if bar is None:
            if traded > 0.0 or price != self.last_price or new_high or new_low:
                bar = self._open_minute(time_ns, price)
        elif price > bar.high:
            bar.high = price
        elif price < bar.low:
            bar.low = price
        if bar is not None:
            bar.close = price
            bar.open_interest = tick.open_interest
            if traded > 0.0:
                bar.volume += traded
            if turnover > self.turnover:
                bar.turnover += turnover - self.turnover
            # Trades between two snapshots show only in the day's extremes.
            if new_high and high > bar.high:
                bar.high = high
            if new_low and low < bar.low:
                bar.low = low
        if time_ns > self.time_ns:
            self.time_ns = time_ns
        self.last_price, self.volume, self.turnover = price, volume, turnover
        self.open_interest = tick.open_interest
        self.day_open = tick.open_price or self.day_open
        self.day_high = max(high, price, self.day_high)
        self.day_low = min(low if low > 0.0 else price, price, self.day_low)

    def _first_tick(self, tick: Tick, price: float) -> None:
        """The first one of its trading day counts its whole volume, unless it shows a day that is under way already:
        then the day's bar is whole, by the exchange's figures, but the minute begins here."""
        volume, turnover = tick.volume, tick.turnover
        high, low = tick.high_price or price, tick.low_price or price
        under_way = high > low and 0.0 <= tick.last_quantity < volume
        self.sequence, self.time_ns = tick.sequence, tick.time_ns
        self.last_price, self.volume, self.turnover = price, volume, turnover
        self.open_interest = tick.open_interest
        self.day_open = tick.open_price
        self.day_high, self.day_low = max(high, price), min(low, price)
        counted = tick.last_quantity if under_way else volume
        if counted > 0.0:
            bar = self._open_minute(tick.time_ns, price)
            bar.volume = counted
            bar.open_interest = tick.open_interest
            if under_way:
                bar.turnover = turnover * counted / volume
            else:
                bar.turnover = turnover
                bar.open = tick.open_price or price
                bar.high, bar.low = self.day_high, self.day_low

    def _open_minute(self, time_ns: int, price: float) -> Bar:
        length_ns = Interval.MINUTE.length_ns
        start_ns = max(self._clock.bucket_start(time_ns, length_ns), self.closed_before_ns)
        bar = Bar(self.symbol, Interval.MINUTE, start_ns, price, price, price, price, 0.0, 0.0, 0.0, self.trading_day)
        self.minute = bar
        self.close_at_ns = start_ns + length_ns
        return bar

    def close_until(self, now_ns: int, close: Callable[[Bar], None]) -> None:
        """Close every intraday bar that ends at or before `now_ns`."""
        minute = self.minute
        if minute is not None and minute.end_ns <= now_ns:
            self._fold(minute, close)
        for interval in [interval for interval, bar in self.longer.items() if bar.end_ns <= now_ns]:
            close(self.longer.pop(interval))
        self._set_alarm()

    def close_all(self, close: Callable[[Bar], None]) -> None:
        """The trading day is over: close everything, the day's bar last."""
        if self.minute is not None:
            self._fold(self.minute, close)
        for bar in self.longer.values():
            close(bar)
        day = self._day_bar()
        if day is not None:
            close(day)
        self._forget_day()

    def _fold(self, minute: Bar, close: Callable[[Bar], None]) -> None:
        close(minute)
        self.minute = None
        self.closed_before_ns = minute.end_ns
        for interval in LONGER:
            bar = self.longer.get(interval)
            if bar is not None and minute.start_ns >= bar.end_ns:
                close(self.longer.pop(interval))
                bar = None
            if bar is None:
                start_ns = self._clock.bucket_start(minute.start_ns, interval.length_ns)
                self.longer[interval] = _copy(minute, interval, start_ns)
            else:
                _merge(bar, minute)
        if self.folded is None:
            self.folded = _copy(minute, Interval.DAY, self._clock.midnight_ns(self.trading_day))
        else:
            _merge(self.folded, minute)

    def _day_bar(self) -> Bar | None:
        """The day as the exchange counts it, or as its minutes add up where ticks lack its figures."""
        if self.folded is None and self.volume <= 0.0:
            return None
        day, folded = self.trading_day, self.folded
        return Bar(
            self.symbol,
            Interval.DAY,
            self._clock.midnight_ns(day),
            open=self.day_open or (folded.open if folded else self.last_price),
            high=self.day_high,
            low=self.day_low,
            close=self.last_price,
            volume=self.volume,
            turnover=self.turnover,
            open_interest=self.open_interest,
            trading_day=day,
        )

    def _set_alarm(self) -> None:
        ends = [bar.end_ns for bar in self.longer.values()]
        if self.minute is not None:
            ends.append(self.minute.end_ns)
        self.close_at_ns = min(ends, default=0)

    def dump(self) -> dict[str, Any]:
        """All of it in plain values, for the checkpoint."""
        state = {name: getattr(self, name) for name in _PLAIN}
        state["minute"] = asdict(self.minute) if self.minute else None
        state["folded"] = asdict(self.folded) if self.folded else None
        state["longer"] = [asdict(bar) for bar in self.longer.values()]
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a dump()."""
        for name in _PLAIN:
            setattr(self, name, state[name])
        self.minute = _bar(state["minute"]) if state["minute"] else None
        self.folded = _bar(state["folded"]) if state["folded"] else None
        bars = [_bar(one) for one in state["longer"]]
        self.longer = {bar.interval: bar for bar in bars}


_NOT_KEPT = ("_clock", "minute", "folded", "longer", "own_time_until_ns")
_PLAIN = tuple(name for name in SymbolBars.__slots__ if name not in _NOT_KEPT)


class Bars:
    """All symbols' open bars. Closed ones go to the listeners, in order of their end per symbol."""

    def __init__(self, clock: LocalClock) -> None:
        self._clock = clock
        self._listeners: list[Callable[[Bar], None]] = []
        self._on_close = self._closed  # bound once, not with each tick
        self._symbols: dict[str, SymbolBars] = {}

    def __iter__(self) -> Iterator[SymbolBars]:
        return iter(self._symbols.values())

    def on_closed(self, listener: Callable[[Bar], None]) -> None:
        """Register a listener of closed bars."""
        self._listeners.append(listener)

    def _closed(self, bar: Bar) -> None:
        for listener in self._listeners:
            listener(bar)

    def on_ticks(self, ticks: Iterable[Tick]) -> None:
        """Apply ticks, in order."""
        symbols, on_close = self._symbols, self._on_close
        for tick in ticks:
            symbol = tick.symbol
            bars = symbols.get(symbol)
            if bars is None:
                bars = symbols[symbol] = SymbolBars(symbol, self._clock)
            bars.on_tick(tick, on_close)

    def forget(self, symbol: str) -> None:
        """Another gateway serves the symbol: its open bars are of another market, and no whole ones."""
        self._symbols.pop(symbol, None)

    def close_until(self, now_ns: int) -> None:
        """Close intraday bars that ended by the clock: quiet symbols' bars do not wait for their next tick."""
        for bars in self._symbols.values():
            if bars.close_at_ns and bars.close_at_ns <= now_ns:
                bars.close_until(now_ns, self._on_close)

    def close_all(self) -> None:
        """The feed has ended: close everything, days included."""
        for bars in self._symbols.values():
            bars.close_all(self._on_close)

    def dump(self) -> dict[str, dict[str, Any]]:
        """The open bars in plain values."""
        return {symbol: bars.dump() for symbol, bars in self._symbols.items()}

    def load(self, state: dict[str, dict[str, Any]]) -> None:
        """Go on from a dump()."""
        for symbol, one in state.items():
            self._symbols[symbol] = SymbolBars(symbol, self._clock)
            self._symbols[symbol].load(one)


def _bar(state: dict[str, Any]) -> Bar:
    return Bar(**{**state, "interval": Interval(state["interval"])})


def _copy(minute: Bar, interval: Interval, start_ns: int) -> Bar:
    return Bar(
        minute.symbol,
        interval,
        start_ns,
        minute.open,
        minute.high,
        minute.low,
        minute.close,
        minute.volume,
        minute.turnover,
        minute.open_interest,
        minute.trading_day,
    )


def _merge(bar: Bar, minute: Bar) -> None:
    bar.high = max(bar.high, minute.high)
    bar.low = min(bar.low, minute.low)
    bar.close = minute.close
    bar.volume += minute.volume
    bar.turnover += minute.turnover
    bar.open_interest = minute.open_interest
