"""Bars of the archive, by trading day. Those of days that were read lately are kept: their files rarely change."""

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from services.quant.archive.archive import Archive, Groups
from services.quant.archive.layout import BAR_COLUMNS, INCOMPLETE
from services.quant.bars import Bar, Interval

_VALUES = tuple(name for name in BAR_COLUMNS if name != "interval")
CACHED_BARS = 50_000
_DAY_BARS = 8
"""Bars that a day without bars counts as."""
_Key = tuple[str, int, Interval]


class _Day(NamedTuple):
    """A trading day's bars, and what they were read of."""

    groups: Groups
    recorded_from: int
    starts: list[int]
    bars: list[Bar]


class ArchivedBars:
    """Reads bars of one symbol, interval and trading day. Threads share it."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._days: OrderedDict[_Key, _Day] = OrderedDict()
        self._bars = 0

    def days(self, symbol: str) -> Sequence[int]:
        """Trading days that there are bars of."""
        return self._archive.days(symbol)

    def read(
        self, symbol: str, interval: Interval, day: int, low_ns: int, high_ns: int, until: int, recorded_from: int
    ) -> list[Bar]:
        """Bars that start from `low_ns` on and before `high_ns`, in order; of a duplicate the one that counts.

        What was recorded before `recorded_from` is left out. Files of checkpoints after `until` are not read. The bars
        are not to be changed: others read them too.

        Raises: MovedError.
        """
        groups = self._archive.row_groups(symbol, day, until)
        key = symbol, day, interval
        with self._lock:
            known = self._days.get(key)
            if known is not None:
                self._days.move_to_end(key)
        if known is None or known.groups != groups or known.recorded_from != recorded_from:
            bars = self._load(key, groups, recorded_from)
            known = _Day(groups, recorded_from, [bar.start_ns for bar in bars], bars)
            self._keep(key, known)
        return known.bars[bisect_left(known.starts, low_ns) : bisect_left(known.starts, high_ns)]

    def _keep(self, key: _Key, day: _Day) -> None:
        with self._lock:
            self._forget(key)
            self._days[key] = day
            self._bars += len(day.bars) + _DAY_BARS
            while self._bars > CACHED_BARS and len(self._days) > 1:
                self._forget(next(iter(self._days)))

    def _forget(self, key: _Key) -> None:
        known = self._days.pop(key, None)
        if known is not None:
            self._bars -= len(known.bars) + _DAY_BARS

    def _load(self, key: _Key, groups: Groups, recorded_from: int) -> list[Bar]:
        """The bars that count: of those with the same start the last checkpoint's, recorded or imported."""
        symbol, day, interval = key
        names = (*_VALUES, "checkpoint")
        parts: list[list[Any]] = []
        for index, group in enumerate((*groups.imported, *groups.recorded)):
            table = self._archive.read(group)
            mine = table.column("interval").to_numpy() == interval
            if recorded_from and index >= len(groups.imported):
                mine &= table.column("start_ns").to_numpy() >= recorded_from
            rows = np.flatnonzero(mine)
            if len(rows):
                columns = [table.column(name).to_numpy()[rows] for name in names]
                parts.append([*columns, _flags(table, INCOMPLETE)[rows]])
        if not parts:
            return []
        *values, checkpoints, incomplete = map(np.concatenate, zip(*parts, strict=True))
        order = np.lexsort((checkpoints, values[0]))
        starts = values[0][order]
        order = order[np.append(starts[1:] != starts[:-1], True)]
        # In the order of Bar's fields: start, prices, volumes, open interest; then the day and whether it is whole.
        columns = [column[order].tolist() for column in (*values, incomplete)]
        return [Bar(*(symbol, interval, *row[:-1], day, row[-1])) for row in zip(*columns, strict=True)]


def _flags(table: Any, name: str) -> Any:
    """A column of booleans; false where files or rows lack it."""
    if name not in table.column_names:
        return np.zeros(len(table), bool)
    return table.column(name).fill_null(0).to_numpy() != 0
