"""Ticks and bars in InfluxDB's line protocol: measurements `ticks` and `bars`, times in nanoseconds.

InfluxDB has one point of a measurement, tags and time: a later one replaces it. So of ticks of a symbol with the same
time the second and later ones are put 1 ns after each other, and one that comes so soon behind them, too.
"""

import math
from collections.abc import Iterable
from typing import Any

from redfire.market.v1 import market_pb2 as pb

from services.quant.archive.layout import INTERVALS
from services.quant.bars import Bar
from services.quant.bars.local_clock import LocalClock

_NUMBERS = (
    "last_price", "last_quantity", "volume", "turnover", "open_interest", "open_price", "high_price", "low_price",
    "pre_close_price", "limit_up", "limit_down",
)  # fmt: skip
_LEVELS = (
    ("bid_prices", "bid_price"), ("bid_quantities", "bid_quantity"),
    ("ask_prices", "ask_price"), ("ask_quantities", "ask_quantity"),
)  # fmt: skip
_BAR_NUMBERS = ("open", "high", "low", "close", "volume", "turnover", "open_interest")
_INTERVALS = {number: name for name, number in INTERVALS.items()}
# A backslash cannot be written before what it would escape; a line break ends the point.
_TAG = str.maketrans({"\\": "/", ",": "\\,", "=": "\\=", " ": "\\ ", "\n": "\\ ", "\r": "\\ ", "\t": "\\ "})
_HEADS = 16_384


def tag(value: str) -> str:
    """A tag's value, escaped."""
    return value.translate(_TAG)


class Lines:
    """Makes lines, one tick of a symbol after the other."""

    def __init__(self, clock: LocalClock) -> None:
        """`clock` is the exchanges'."""
        self._clock = clock
        self._heads: dict[tuple[str, str], str] = {}
        self._times: dict[str, tuple[int, int]] = {}
        """By symbol, the time of its last tick, and the one that it was put at."""

    def of_tick(self, tick: pb.Tick) -> bytes:
        """A tick's line. Numbers that InfluxDB does not know (NaN, infinity) are left out."""
        fields = [f"sequence={tick.sequence}i", f"trading_day={tick.trading_day}i"]
        fields += _floats((name, getattr(tick, name)) for name in _NUMBERS)
        for name, field in _LEVELS:
            fields += _floats((f"{field}_{level}", value) for level, value in enumerate(getattr(tick, name), 1))
        return f"{self._head(tick.symbol, tick.gateway)} {','.join(fields)} {self._time(tick)}".encode()

    def of_bar(self, bar: Bar) -> bytes:
        """A bar's line, at its start. Two trading days may have one of the same start: the later has it at night."""
        interval = _INTERVALS[int(bar.interval)]
        fields = _floats((name, getattr(bar, name)) for name in _BAR_NUMBERS)
        fields += [f"trading_day={bar.trading_day}i", f"incomplete={'t' if bar.incomplete else 'f'}"]
        session = "night" if bar.trading_day > self._clock.date_number(bar.start_ns) else "day"
        tags = f"interval={interval},session={session},symbol={tag(bar.symbol)}"
        return f"bars,{tags} {','.join(fields)} {bar.start_ns}".encode()

    def _head(self, symbol: str, gateway: str) -> str:
        head = self._heads.get((symbol, gateway))
        if head is None:
            if len(self._heads) >= _HEADS:
                self._heads.clear()
            # A tag without a value is left out: it would be refused.
            tags = [f"{name}={tag(value)}" for name, value in (("gateway", gateway), ("symbol", symbol)) if value]
            head = self._heads[symbol, gateway] = ",".join(["ticks", *tags])
        return head

    def _time(self, tick: pb.Tick) -> int:
        last_ns, put_ns = self._times.get(tick.symbol, (0, -1))
        put_ns = put_ns + 1 if last_ns <= tick.time_ns <= put_ns else tick.time_ns
        if len(self._times) >= _HEADS:
            self._times.clear()
        self._times[tick.symbol] = tick.time_ns, put_ns
        return put_ns


def _floats(values: Iterable[tuple[str, Any]]) -> list[str]:
    return [f"{name}={value!r}" for name, value in values if math.isfinite(value)]
