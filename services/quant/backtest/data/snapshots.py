"""Ticks between vnpy's columns, which backtests read, and the archive's, which are market's."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.quant.archive.layout import TICK_COLUMNS, TICK_LISTS
from services.quant.backtest.data.dataset import Floats, Ticks, Times

_LEVELS = 5
_OURS = {"last_quantity": "last_volume", "pre_close_price": "pre_close"}
"""The archive's name → vnpy's, where they differ."""
_LISTS = dict(zip(TICK_LISTS, ("bid_price", "bid_volume", "ask_price", "ask_volume"), strict=True))
_PLAIN = tuple(name for name in TICK_COLUMNS if name not in (*TICK_LISTS, "time_ns", "sequence", "trading_day"))


def to_archive(ticks: Ticks, chosen: Times, trading_day: int) -> Mapping[str, Any]:
    """The archive's columns of some rows, all of one trading day."""
    import pyarrow as pa

    time_ns = ticks.time_ns[chosen]
    first = np.flatnonzero(np.diff(time_ns, prepend=time_ns[0] - 1))
    lengths = np.diff(first, append=len(time_ns))
    columns: dict[str, Any] = {
        "time_ns": time_ns,
        # What orders ticks of the same time.
        "sequence": np.arange(1, len(time_ns) + 1) - np.repeat(first, lengths),
    }
    for name in _PLAIN:
        values = ticks.columns.get(_OURS.get(name, name))
        columns[name] = np.zeros(len(chosen)) if values is None else values[chosen]
    for side in ("bid", "ask"):
        prices, quantities = (_levels(ticks, f"{side}_{what}", chosen) for what in ("price", "volume"))
        there = np.logical_and.accumulate(prices > 0, axis=1)
        offsets = pa.array(np.append(0, there.sum(axis=1).cumsum()), pa.int32())
        columns[f"{side}_prices"] = pa.ListArray.from_arrays(offsets, pa.array(prices[there]))
        columns[f"{side}_quantities"] = pa.ListArray.from_arrays(offsets, pa.array(quantities[there]))
    columns["trading_day"] = np.full(len(chosen), trading_day, dtype=np.int64)
    return {name: columns[name] for name in TICK_COLUMNS}


def from_archive(symbol: str, table: Any) -> Ticks:
    """A table of the archive's columns, in order, as ticks. Levels that no row has are left out."""
    import pyarrow.compute as pc

    columns: dict[str, Floats] = {_OURS.get(name, name): table.column(name).to_numpy() for name in _PLAIN}
    for archive_name, ours in _LISTS.items():
        lists = table.column(archive_name).combine_chunks()
        lengths = pc.list_value_length(lists).to_numpy()
        flat, starts = lists.flatten().to_numpy(), np.append(0, lengths.cumsum())[:-1]
        for level in range(min(_LEVELS, int(lengths.max(initial=0)))):
            values, there = np.zeros(len(table)), lengths > level
            values[there] = flat[starts[there] + level]
            columns[f"{ours}_{level + 1}"] = values
    return Ticks(symbol, table.column("time_ns").to_numpy(), columns)


def _levels(ticks: Ticks, name: str, chosen: Times) -> Any:
    nothing = np.zeros(len(ticks))
    return np.column_stack([ticks.columns.get(f"{name}_{level}", nothing)[chosen] for level in range(1, _LEVELS + 1)])
