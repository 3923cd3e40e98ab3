"""Ticks and bars of the contract as rows of recording files."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

from redfire.market.v1 import market_pb2 as pb

from services.commands.recording_file import LEVELS

_NONE = [0.0] * LEVELS


def tick_row(tick: pb.Tick) -> tuple[Any, ...]:
    """A row of TICK_COLUMNS; levels that are not there are 0, as in vnpy's TickData."""
    code, _, exchange = tick.symbol.rpartition(".")
    return (
        tick.time_ns, code, exchange, tick.last_price, tick.last_quantity, tick.volume, tick.turnover,
        tick.open_interest, tick.open_price, tick.high_price, tick.low_price, tick.pre_close_price, tick.limit_up,
        tick.limit_down, tick.trading_day, *_levels(tick),
    )  # fmt: skip


def bar_row(bar: pb.Bar) -> tuple[Any, ...]:
    """A row of MARKED_BAR_COLUMNS."""
    return (
        bar.start_time.ToNanoseconds(), bar.open, bar.high, bar.low, bar.close, bar.volume, bar.turnover,
        bar.open_interest, int(bar.incomplete),
    )  # fmt: skip


def _levels(tick: pb.Tick) -> Iterable[float]:
    """Price and quantity of each level's bid, then of its ask."""
    sides = (tick.bid_prices, tick.bid_quantities, tick.ask_prices, tick.ask_quantities)
    return chain.from_iterable(zip(*(_padded(values[:LEVELS]) for values in sides), strict=True))


def _padded(values: list[float]) -> list[float]:
    return values if len(values) == LEVELS else values + _NONE[len(values) :]
