"""Bars of the archive, by trading day. Those of days that were read lately are kept: their files rarely change."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from services.quant.archive.archive import Archive
from services.quant.archive.layout import BAR_COLUMNS, INCOMPLETE
from services.quant.archive.parquet_files import RowGroup
from services.quant.bars import Bar, Interval

_VALUES = tuple(name for name in BAR_COLUMNS if name != "interval")
CACHED_BARS = 100_000
_Key = tuple[str, int, Interval]
_Columns = dict[str, Any]


class ArchivedBars:
    """Reads bars of one symbol, interval and trading day. Threads share it."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._days: OrderedDict[_Key, tuple[tuple[RowGroup, ...], _Columns]] = OrderedDict()
        self._bars = 0

    def days(self, symbol: str) -> list[int]:
        """Trading days that there are bars of."""
        return self._archive.days(symbol)

    def read(
        self, symbol: str, interval: Interval, day: int, low_ns: int, high_ns: int, until: int, recorded_from: int
    ) -> list[Bar]:
        """Bars that start from `low_ns` on and before `high_ns`, in order; of a duplicate the one that counts.

        What was recorded before `recorded_from` is left out. Files of checkpoints after `until` are not read.
        Raises: MovedError.
        """
        columns = self._columns((symbol, day, interval), until)
        starts = columns["start_ns"]
        rows = np.flatnonzero((starts >= low_ns) & (starts < high_ns))
        if recorded_from:
            rows = rows[columns["imported"][rows] | (starts[rows] >= recorded_from)]
        values = [columns[name][rows].tolist() for name in (*_VALUES, INCOMPLETE)]
        # In the order of Bar's fields: start, prices, volumes, open interest; then the day and whether it is whole.
        return [Bar(*(symbol, interval, *row[:-1], day, row[-1])) for row in zip(*values, strict=True)]

    def _columns(self, key: _Key, until: int) -> _Columns:
        symbol, day, interval = key
        recorded, imported = self._archive.row_groups(symbol, day, until)
        groups = (*imported, *recorded)
        with self._lock:
            known = self._days.get(key)
            if known is not None and known[0] == groups:
                self._days.move_to_end(key)
                return known[1]
        columns = self._load(groups, len(imported), interval)
        with self._lock:
            self._forget(key)
            self._days[key] = groups, columns
            self._bars += len(columns["start_ns"]) + 8
            while self._bars > CACHED_BARS and len(self._days) > 1:
                self._forget(next(iter(self._days)))
        return columns

    def _forget(self, key: _Key) -> None:
        known = self._days.pop(key, None)
        if known is not None:
            self._bars -= len(known[1]["start_ns"]) + 8

    def _load(self, groups: Sequence[RowGroup], imported: int, interval: Interval) -> _Columns:
        """Columns of the bars that count: of those with the same start the last checkpoint's, recorded or imported."""
        names = (*_VALUES, "checkpoint")
        parts: dict[str, list[Any]] = {name: [] for name in (*names, INCOMPLETE, "imported")}
        for index, group in enumerate(groups):
            table = self._archive.read(group)
            mine = np.flatnonzero(table.column("interval").to_numpy() == interval)
            for name in names:
                parts[name].append(table.column(name).to_numpy()[mine])
            parts[INCOMPLETE].append(_flags(table, INCOMPLETE)[mine])
            parts["imported"].append(np.full(len(mine), index < imported))
        columns = {name: np.concatenate(values) if values else np.empty(0) for name, values in parts.items()}
        order = np.lexsort((columns["checkpoint"], columns["start_ns"]))
        starts = columns["start_ns"][order]
        order = order[np.append(starts[1:] != starts[:-1], True)] if len(order) else order
        return {name: values[order] for name, values in columns.items() if name != "checkpoint"}


def _flags(table: Any, name: str) -> Any:
    """A column of booleans; false where files or rows lack it."""
    if name not in table.column_names:
        return np.zeros(len(table), bool)
    return table.column(name).fill_null(0).to_numpy() != 0
