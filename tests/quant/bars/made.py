"""A builder whose closed bars are kept, and ticks for it."""

from datetime import datetime

from redfire.market.v1 import market_pb2 as pb

from services.quant.bars import Bar, BarBuilder, Interval, LocalClock
from tests.market.ticks import SHANGHAI, at, tick

CLOCK = LocalClock("Asia/Shanghai")
DAY = "2026-11-20"


class Made:
    """A builder, and the bars that it closed."""

    def __init__(self) -> None:
        self.closed: list[Bar] = []
        self.bars = BarBuilder(CLOCK)
        self.bars.on_closed(self.closed.append)

    def take(self, *ticks: pb.Tick) -> None:
        self.bars.on_ticks(ticks)

    def watermark(self, time: str, gateway: str = "") -> None:
        self.bars.on_watermark(gateway, at(time if " " in time else f"{DAY} {time}"))

    def of(self, interval: Interval) -> list[Bar]:
        return [bar for bar in self.closed if bar.interval == interval]

    @property
    def minutes(self) -> list[Bar]:
        return self.of(Interval.MINUTE)


def quote(time: str, price: float, volume: float, sequence: int, **fields: object) -> pb.Tick:
    """A tick of 20 November 2026, or of the day that is named before the time."""
    moment = at(time if " " in time else f"{DAY} {time}")
    return tick(sequence, time_ns=moment, last_price=price, volume=volume, **fields)


def clock_times(bars: list[Bar]) -> list[str]:
    return [datetime.fromtimestamp(bar.start_ns / 1e9, SHANGHAI).strftime("%H:%M") for bar in bars]
