"""The bars of one symbol out of its ticks: what each tick adds, and what is late, missing or begins anew."""

from enum import IntEnum
from typing import Any

from services.quant.bars.bar import Bar, Interval
from services.quant.bars.open_bars import GatewayTime, OpenBars, Rules
from services.quant.calendar.days import MINUTE_NS

NO_VALUE = 1e300
"""Numbers from here on are none: CTP writes the largest double where it has no price."""
_UNUSUAL = 8
"""A silence is a gap when it is so many times longer than the symbol's silences usually are."""
_ASSUMED = 8
"""Silences of a minute that are assumed of a symbol before it is known."""


class Begins(IntEnum):
    """Kinds of beginning at the next tick: none, an epoch, or another market's prices under the symbol."""

    NOTHING = 0
    EPOCH = 1
    MARKET = 2


class SymbolBars(OpenBars):
    """The open bars of one symbol, and the fields of its last tick that the next one is compared with."""

    __slots__ = (
        "_days",
        "begins",
        "counted_turnover",
        "counted_volume",
        "day_high",
        "day_low",
        "day_open",
        "epoch",
        "last_price",
        "missed",
        "open_interest",
        "own_time_until_ns",
        "quiet",
        "sequence",
        "turnover",
        "volume",
    )

    def __init__(self, symbol: str, time: GatewayTime, rules: Rules) -> None:
        super().__init__(symbol, time, rules)
        self._days = rules.days
        self.epoch = ""
        self.sequence = 0
        self.begins = Begins.EPOCH
        self.missed = False
        self.quiet = 0
        """Whole minutes of its sessions that were silent before the bars that were opened."""

    def forget_day(self) -> None:
        """Be without a trading day; what is open is dropped."""
        super().forget_day()
        self.last_price = 0.0
        self.volume = 0.0
        self.turnover = 0.0
        self.open_interest = 0.0
        # What was counted before the exchange's own count began again within the day.
        self.counted_volume = 0.0
        self.counted_turnover = 0.0
        self.day_open = 0.0
        self.day_high = 0.0
        self.day_low = 0.0
        self.own_time_until_ns = 0

    def on_tick(
        self,
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
        """Apply a tick's fields; bars that end before it are closed first."""
        if sequence != self.sequence + 1 and 0 < self.sequence < sequence:
            self.missed = True
        self.sequence = sequence
        if not 0.0 < price < NO_VALUE:
            return
        if trading_day != self.trading_day or self.begins:
            trading_day = self._days.of(self.symbol, trading_day, time_ns)
            if trading_day != self.trading_day or self.begins:
                day = (price, last_quantity, volume, turnover, open_interest, open_price, high, low)
                if self._begin(trading_day, time_ns, *day):
                    return
        traded = volume - self.volume
        if not 0.0 <= traded < NO_VALUE or time_ns < self.time_ns:
            counted = self._count(time_ns, volume)
            if counted < 0.0:
                return
            volume, traded = counted, counted - self.volume
        at_ns = time_ns
        if time_ns >= self.own_time_until_ns:
            at_ns, self.own_time_until_ns = self._clock.bar_time(self.symbol, time_ns)
        new_high, new_low = self.day_high < high < NO_VALUE, 0.0 < low < self.day_low
        bar = self.minute
        if bar is None or at_ns >= self.close_at_ns:
            if traded > 0.0 and time_ns - self.time_ns > MINUTE_NS:
                self._judge_silence(self.time_ns, time_ns, traded, last_quantity)
            if at_ns >= self.close_at_ns:
                if self.missed and traded > 0.0:
                    self.mark_open()
                self.close_until(at_ns)
                bar = self.minute
            if bar is None and (traded > 0.0 or price != self.last_price or new_high or new_low):
                now_ns = max(self.time.watermark_ns, self.applied_ns)
                if now_ns > time_ns:  # late: spans that were over when it came stay so, whatever was open in them
                    at_ns = max(at_ns, self._clock.bar_time(self.symbol, now_ns)[0])
                bar = self.open_minute(at_ns, price)
                bar.open_interest = self.open_interest
        if bar is not None:
            if price > bar.high:
                bar.high = price
            elif price < bar.low:
                bar.low = price
            bar.close = price
            if traded > 0.0:
                bar.volume += traded
                if self.missed:
                    bar.incomplete = True
            if self.turnover < turnover < NO_VALUE:
                bar.turnover += turnover - self.turnover
                self.turnover = turnover
            if 0.0 <= open_interest < NO_VALUE:
                bar.open_interest = self.open_interest = open_interest
            # Trades between two snapshots show only in the day's extremes.
            if new_high and high > bar.high:
                bar.high = high
            if new_low and low < bar.low:
                bar.low = low
        if time_ns > self.time_ns:
            self.time_ns = time_ns
        self.last_price, self.volume, self.missed = price, volume, False
        if new_high:
            self.day_high = high
        if new_low:
            self.day_low = low
        if price > self.day_high:
            self.day_high = price
        if price < self.day_low:
            self.day_low = price
        if not self.day_open and 0.0 < open_price < NO_VALUE:
            self.day_open = open_price

    def lose(self, sequence: int) -> None:
        """Miss the ticks up to this sequence."""
        self.sequence, self.missed = sequence, True
        self.mark_open()

    def end_epoch(self, begins: Begins) -> None:
        """Mark what is open; the next tick says whether it goes on."""
        self.mark_unfinished()
        self.applied_ns = 0
        self.begins = max(begins, self.begins)

    def end(self) -> None:
        """Nothing more comes: close everything, marked where it is not over."""
        self.mark_unfinished()
        self.close_day()
        self.forget_day()
        self.begins = max(Begins.EPOCH, self.begins)

    def day_bar(self) -> Bar | None:
        """The day as the exchange counts it, or as its minutes add up where ticks lack its figures."""
        folded = self.folded
        if folded is None and (self.day_closed or self.volume + self.counted_volume <= 0.0):
            return None
        return Bar(
            self.symbol,
            Interval.DAY,
            self._clock.midnight_ns(self.trading_day),
            open=self.day_open or (folded.open if folded else self.last_price),
            high=self.day_high,
            low=self.day_low,
            close=self.last_price,
            volume=self.counted_volume + self.volume,
            turnover=self.counted_turnover + self.turnover,
            open_interest=self.open_interest,
            trading_day=self.trading_day,
            incomplete=self.day_unfinished or (not self.day_open and folded is not None and folded.incomplete),
        )

    # Where a day, an epoch or a market begins.

    def _begin(self, trading_day: int, time_ns: int, *fields: float) -> bool:
        """Apply a tick that may begin a day, an epoch or another market; False when it is like any other."""
        known, begins = self.trading_day, self.begins
        if known and not begins and trading_day < known:
            if time_ns <= self.time_ns:
                return True  # a snapshot of the day before that comes too late
            if self._clock.trading_day(self.symbol, time_ns) != trading_day:
                return False  # days do not go back, unless the one before was wrong
            self.mark_unfinished()
            begins = Begins.MARKET
        self.begins = Begins.NOTHING
        if begins:
            self.missed = False
        # The first tick of an epoch may be late; of a replay that begins again it shows less volume.
        goes_on = time_ns >= self.time_ns or fields[2] >= self.volume > 0.0
        if trading_day == known and begins is Begins.EPOCH and goes_on:
            self._go_on(time_ns, *fields)
            return True
        before_ns = 0 if begins else self.time_ns
        self.close_day()
        self.forget_day()
        self.trading_day = trading_day
        self._first_tick(before_ns, time_ns, *fields)
        return True

    def _first_tick(
        self,
        before_ns: int,
        time_ns: int,
        price: float,
        last_quantity: float,
        volume: float,
        turnover: float,
        open_interest: float,
        open_price: float,
        high: float,
        low: float,
    ) -> None:
        """The first one of its trading day counts its whole volume. But when ticks before it may have been missed
        (`before_ns`, the time of the last one of the day before, is 0) and it shows a day that is under way, the day's
        bar is whole, by the exchange's figures, and the minute begins here."""
        volume, last_quantity, turnover = _value(volume), _value(last_quantity), _value(turnover)
        self.day_high, self.day_low = max(_value(high), price), min(_value(low) or price, price)
        self.day_open, self.open_interest = _value(open_price), _value(open_interest)
        self.day_end_ns = self._clock.day_end_ns(self.symbol, self.trading_day)
        under_way = not before_ns and self.day_high > self.day_low and last_quantity < volume
        counted = last_quantity if under_way else volume
        at_ns, self.own_time_until_ns = self._clock.bar_time(self.symbol, time_ns)
        if under_way:
            self.known_from_ns = at_ns
        elif before_ns and volume > 0.0 and time_ns - before_ns > MINUTE_NS:
            self._judge_silence(before_ns, time_ns, volume, last_quantity)
        if counted > 0.0:
            bar = self.open_minute(at_ns, price)
            bar.volume, bar.open_interest = counted, self.open_interest
            bar.incomplete |= self.missed
            if under_way:
                bar.turnover = turnover * counted / volume
            else:
                bar.turnover = turnover
                bar.open = self.day_open or price
                bar.high, bar.low = self.day_high, self.day_low
        self.missed = False
        self.time_ns, self.last_price, self.volume, self.turnover = time_ns, price, volume, turnover
        self.set_alarm()

    def _go_on(
        self,
        time_ns: int,
        price: float,
        last_quantity: float,
        volume: float,
        turnover: float,
        open_interest: float,
        open_price: float,
        high: float,
        low: float,
    ) -> None:
        """The first tick of an epoch that goes on where the last one ended: of its volume only the last trade is known
        to be of this moment."""
        volume, last_quantity, turnover = _value(volume), _value(last_quantity), _value(turnover)
        at_ns, self.own_time_until_ns = self._clock.bar_time(self.symbol, time_ns)
        self.close_until(at_ns)
        self.known_from_ns = at_ns
        self.day_unfinished = False
        counted = min(last_quantity, volume) if volume != self.volume else 0.0
        bar = self.minute
        if bar is None and counted > 0.0:
            bar = self.open_minute(at_ns, price)
        self.open_interest = _value(open_interest)
        if bar is not None:
            bar.high, bar.low, bar.close = max(bar.high, price), min(bar.low, price), price
            bar.volume += counted
            bar.turnover += turnover * counted / volume if counted else 0.0
            bar.open_interest = self.open_interest
        if volume < self.volume:
            self._count_anew()
        self.time_ns, self.last_price, self.volume = max(time_ns, self.time_ns), price, volume
        self.turnover = max(turnover, self.turnover)
        self.day_high = max(self.day_high, _value(high), price)
        self.day_low = min(self.day_low, _value(low) or price, price)
        self.day_open = self.day_open or _value(open_price)

    # What is out of the ordinary.

    def _count(self, time_ns: int, volume: float) -> float:
        """The volume that counts of a tick which is older or shows less than the last one; negative for a late one."""
        if not 0.0 < volume < NO_VALUE:
            volume = self.volume
        if (time_ns < self.time_ns and volume <= self.volume) or (time_ns == self.time_ns and volume < self.volume):
            return -1.0
        if volume >= self.volume:
            return volume
        if volume * 2 > self.volume:
            return self.volume
        self._count_anew()
        self.missed = True
        return volume

    def _count_anew(self) -> None:
        self.counted_volume += self.volume
        self.counted_turnover += self.turnover
        self.volume = self.turnover = 0.0

    def _judge_silence(self, since_ns: int, time_ns: int, traded: float, last_quantity: float) -> None:
        """A silence before more than one trade is a gap, if in this symbol's sessions it is usually much shorter."""
        minutes = self._clock.session_time_ns(self.symbol, since_ns, time_ns) // MINUTE_NS
        longest = _UNUSUAL * (self.quiet + _ASSUMED) // (self.opened + _ASSUMED)
        if minutes > longest and not 0.0 < traded <= last_quantity:
            self.missed = True
            minutes = longest  # a quiet symbol becomes known as one, an outage does not make one
        self.quiet += minutes

    def dump(self) -> dict[str, Any]:
        """All of it in plain values."""
        return {**super().dump(), **{name: getattr(self, name) for name in _PLAIN}, "begins": int(self.begins)}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a dump()."""
        for name in _PLAIN:
            setattr(self, name, state[name])
        self.begins = Begins(state["begins"])
        super().load(state)


_PLAIN = tuple(name for name in SymbolBars.__slots__ if name not in ("_days", "begins"))


def _value(number: float) -> float:
    """A number that a feed may have left out: 0 for none."""
    return number if 0.0 < number < NO_VALUE else 0.0
