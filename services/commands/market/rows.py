"""Ticks and bars of the contract as rows of recording files."""

from collections.abc import Iterator
from typing import Any

from redfire.market.v1 import market_pb2 as pb

from services.commands.recording_file import LEVELS


def tick_row(tick: pb.Tick) -> tuple[Any, ...]:
    """A row of TICK_COLUMNS; levels that are not there are 0, as in vnpy's TickData."""
    code, _, exchange = tick.symbol.rpartition(".")
    return (
        tick.time_ns, code, exchange, tick.last_price, tick.last_quantity, tick.volume, tick.turnover,
        tick.open_interest, tick.open_price, tick.high_price, tick.low_price, tick.pre_close_price, tick.limit_up,
        tick.limit_down, tick.trading_day, *_levels(tick),
    )  # fmt: skip


def bar_row(bar: pb.Bar) -> tuple[Any, ...]:
    """A row of BAR_COLUMNS."""
    return (
        bar.start_time.ToNanoseconds(), bar.open, bar.high, bar.low, bar.close, bar.volume, bar.turnover,
        bar.open_interest,
    )  # fmt: skip


def _levels(tick: pb.Tick) -> Iterator[float]:
    for level in range(LEVELS):
        for values in (tick.bid_prices, tick.bid_quantities, tick.ask_prices, tick.ask_quantities):
            yield values[level] if level < len(values) else 0.0
