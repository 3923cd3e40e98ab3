"""Ticks of the archive, by row group. What was read lately is kept: the next page of a day is in it as a rule."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np

from services.market.recording.tick_rows import frames_of_rows
from services.quant.archive.archive import Archive, Groups
from services.quant.archive.parquet_files import RowGroup

BLOCK = 512
"""Rows that are encoded at once."""
CACHED_BYTES = 32 << 20


class GroupTicks:
    """The rows of a row group, in order: times (ns) and sequences as arrays, and frames, encoded when asked for."""

    __slots__ = ("_blocks", "_table", "sequences", "size", "symbol", "times")

    def __init__(self, symbol: str, table: Any) -> None:
        self.symbol = symbol
        self.times = table.column("time_ns").to_numpy()
        self.sequences = table.column("sequence").to_numpy()
        self._table = table
        self._blocks: dict[int, list[bytes]] = {}
        self.size = 3 * int(table.nbytes)
        """About the bytes in memory when all is encoded: frames take less than twice what the table does."""

    def frames(self, rows: Any) -> list[bytes]:
        """The frames of these rows (an array, ascending)."""
        frames: list[bytes] = []
        blocks = rows // BLOCK
        for block in np.unique(blocks).tolist():
            of_block = self._block(block)
            frames += [of_block[row] for row in (rows[blocks == block] - block * BLOCK).tolist()]
        return frames

    def _block(self, block: int) -> list[bytes]:
        frames = self._blocks.get(block)
        if frames is None:
            first = block * BLOCK
            frames = frames_of_rows(self.symbol, self._table, first, min(first + BLOCK, len(self.times)))
            self._blocks[block] = frames
        return frames


class ArchivedTicks:
    """Reads row groups of ticks. Threads share it."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._groups: OrderedDict[RowGroup, GroupTicks] = OrderedDict()
        self._bytes = 0

    def days(self, symbol: str) -> Iterable[int]:
        """Trading days that there are ticks of."""
        return self._archive.days(symbol)

    def row_groups(self, symbol: str, day: int, until: int) -> Groups:
        """A trading day's row groups; see Archive.row_groups. Raises: MovedError."""
        return self._archive.row_groups(symbol, day, until)

    def read(self, symbol: str, group: RowGroup) -> GroupTicks:
        """The ticks of a row group. Raises: MovedError."""
        with self._lock:
            ticks = self._groups.get(group)
            if ticks is not None:
                self._groups.move_to_end(group)
                return ticks
        ticks = GroupTicks(symbol, self._archive.read(group))
        with self._lock:
            if group not in self._groups:
                self._groups[group] = ticks
                self._bytes += ticks.size
            while len(self._groups) > 1 and self._bytes > CACHED_BYTES:
                self._bytes -= self._groups.popitem(last=False)[1].size
        return ticks
