"""The open bars of one symbol: opening, folding and closing them, and marking those that are not whole."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from services.quant.bars.bar import LONGER, Bar, Interval
from services.quant.bars.local_clock import NEVER, LocalClock
from services.quant.bars.trading_days import TradingDays
from services.quant.calendar.days import MINUTE_NS, SECOND_NS

_INTERVALS = {interval.length_ns: interval for interval in (Interval.MINUTE, *LONGER)}
Close = Callable[[Bar], None]


@dataclass(frozen=True, slots=True)
class Lengths:
    """The bars that are made: the shortest out of ticks, longer ones by folding them, and the trading day's."""

    shortest_ns: int = MINUTE_NS
    longer_ns: tuple[int, ...] = tuple(interval.length_ns for interval in LONGER)
    day: bool = True
    folds_only: bool = False
    """True if the shortest are not given out."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Clock, trading days and lengths of all symbols' bars, and `close`, which gets the closed ones."""

    clock: LocalClock
    days: TradingDays
    lengths: Lengths
    close: Close


class GatewayTime:
    """The time of a gateway: its watermark, and the moment before which none of its bars can end."""

    __slots__ = ("gateway", "next_close_ns", "watermark_ns")

    def __init__(self, gateway: str) -> None:
        self.gateway = gateway
        self.watermark_ns = 0
        self.next_close_ns = NEVER


class OpenBars:
    """The open bars of one symbol and trading day. Bars of lengths that no Interval has say MINUTE."""

    __slots__ = (
        "_clock",
        "_close",
        "_lengths",
        "applied_ns",
        "close_at_ns",
        "closed_before_ns",
        "day_closed",
        "day_end_ns",
        "day_unfinished",
        "folded",
        "known_from_ns",
        "longer",
        "minute",
        "minute_end_ns",
        "opened",
        "over_ns",
        "symbol",
        "time",
        "time_ns",
        "trading_day",
    )

    def __init__(self, symbol: str, time: GatewayTime, rules: Rules) -> None:
        self.symbol = symbol
        self.time = time
        self._clock, self._lengths, self._close = rules.clock, rules.lengths, rules.close
        self.opened = 0
        self.applied_ns = 0
        """The watermark that a loaded dump had seen, or that was told of this symbol alone."""
        self.forget_day()

    def forget_day(self) -> None:
        """Be without a trading day; what is open is dropped."""
        self.trading_day = 0
        self.time_ns = 0
        """The newest tick's time."""
        self.minute: Bar | None = None
        self.minute_end_ns = 0
        self.longer: dict[int, Bar] = {}
        self.folded: Bar | None = None
        self.known_from_ns = 0
        """Spans that begin before are not whole."""
        self.over_ns = 0
        """Until then all that is traded is known, as far as `mark_unfinished` has looked."""
        self.close_at_ns = NEVER
        self.closed_before_ns = 0
        self.day_end_ns = NEVER
        self.day_unfinished = False
        self.day_closed = False

    def open_minute(self, time_ns: int, price: float) -> Bar:
        """Open the shortest bar that a moment is in, or the one after the last closed."""
        length_ns = self._lengths.shortest_ns
        start_ns = max(self._clock.bucket_start(time_ns, length_ns), self.closed_before_ns)
        bar = Bar(self.symbol, Interval.MINUTE, start_ns, price, price, price, price, 0.0, 0.0, 0.0, self.trading_day)
        bar.incomplete = start_ns < self.known_from_ns
        self.opened += 1
        self.minute = bar
        self.minute_end_ns = start_ns + length_ns
        self.set_alarm()
        return bar

    def on_watermark(self, now_ns: int) -> None:
        """Close what ended: no tick before `now_ns` comes any more, but for late ones."""
        at_ns, _ = self._clock.bar_time(self.symbol, now_ns)
        self.close_until(at_ns)
        if self.time_ns < self.day_end_ns <= at_ns:
            self.close_day()

    def close_until(self, now_ns: int) -> None:
        """Close every intraday bar that ends at or before `now_ns`; no bar begins any more in a span that is over."""
        if self.minute is not None and self.minute_end_ns <= now_ns:
            self._fold(self.minute)
        if self.longer:
            ended = [length for length, bar in self.longer.items() if bar.start_ns + length <= now_ns]
            for length_ns in ended:
                self._close(self.longer.pop(length_ns))
        over_ns = self._clock.bucket_start(now_ns, self._lengths.shortest_ns)
        self.closed_before_ns = max(self.closed_before_ns, over_ns)
        self.set_alarm()

    def close_day(self) -> None:
        """Close everything, the day's bar last. Closed before, it is made again only for what was traded since."""
        if self.minute is not None:
            self._fold(self.minute)
        for bar in self.longer.values():
            self._close(bar)
        self.longer = {}
        if self._lengths.day and self.trading_day:
            day = self.day_bar()
            if day is not None:
                self._close(day)
        self.folded, self.day_closed, self.day_end_ns = None, True, NEVER
        self.set_alarm()

    def day_bar(self) -> Bar | None:
        """The day's bar; None when nothing was traded."""
        return self.folded

    def mark_open(self) -> None:
        """Mark the intraday bars: they are built over a gap."""
        for bar in self.longer.values():
            bar.incomplete = True
        if self.minute is not None:
            self.minute.incomplete = True

    def mark_unfinished(self) -> None:
        """Mark the bars in whose spans the market may trade yet, by all that is known of the time."""
        if not self.trading_day:
            return
        now_ns = max(self.time_ns, self.time.watermark_ns, self.applied_ns) + SECOND_NS
        over_ns = self.over_ns = max(self.over_ns, self._clock.quiet_until_ns(self.symbol, now_ns))
        for length_ns, bar in self.longer.items():
            bar.incomplete |= bar.start_ns + length_ns > over_ns
        if self.minute is not None:
            self.minute.incomplete |= self.minute_end_ns > over_ns
        self.day_unfinished = not self.day_closed and self.day_end_ns > over_ns

    def _fold(self, minute: Bar) -> None:
        if not self._lengths.folds_only:
            self._close(minute)
        self.minute = None
        self.closed_before_ns = self.minute_end_ns
        for length_ns in self._lengths.longer_ns:
            bar = self.longer.get(length_ns)
            if bar is not None and minute.start_ns >= bar.start_ns + length_ns:
                self._close(self.longer.pop(length_ns))
                bar = None
            if bar is None:
                start_ns = self._clock.bucket_start(minute.start_ns, length_ns)
                bar = minute.longer(_INTERVALS.get(length_ns, Interval.MINUTE), start_ns)
                bar.incomplete |= start_ns < self.known_from_ns
                self.longer[length_ns] = bar
            else:
                bar.fold(minute)
        if self._lengths.day:
            if self.folded is None:
                self.folded = minute.longer(Interval.DAY, self._clock.midnight_ns(self.trading_day))
            else:
                self.folded.fold(minute)

    def set_alarm(self) -> None:
        """Note when the next bar ends."""
        at_ns = self.minute_end_ns if self.minute is not None else NEVER
        for length_ns, bar in self.longer.items():
            at_ns = min(at_ns, bar.start_ns + length_ns)
        if self.time_ns < self.day_end_ns:
            at_ns = min(at_ns, self.day_end_ns)
        self.close_at_ns = at_ns
        if at_ns < self.time.next_close_ns:
            self.time.next_close_ns = at_ns

    def dump(self) -> dict[str, Any]:
        """All of it in plain values."""
        state = {name: getattr(self, name) for name in _PLAIN}
        state["gateway"] = self.time.gateway
        state["applied_ns"] = max(self.time.watermark_ns, self.applied_ns)
        state["minute"] = asdict(self.minute) if self.minute else None
        state["folded"] = asdict(self.folded) if self.folded else None
        state["longer"] = [[length_ns, asdict(bar)] for length_ns, bar in self.longer.items()]
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a dump()."""
        for name in _PLAIN:
            setattr(self, name, state[name])
        self.minute = _bar(state["minute"]) if state["minute"] else None
        self.folded = _bar(state["folded"]) if state["folded"] else None
        self.longer = {length_ns: _bar(bar) for length_ns, bar in state["longer"]}
        self.set_alarm()


_NOT_PLAIN = ("_clock", "_close", "_lengths", "folded", "longer", "minute", "symbol", "time")
_PLAIN = tuple(name for name in OpenBars.__slots__ if name not in _NOT_PLAIN)


def _bar(state: dict[str, Any]) -> Bar:
    return Bar(**{**state, "interval": Interval(state["interval"])})
