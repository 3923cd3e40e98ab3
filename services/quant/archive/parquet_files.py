"""Parquet files of one kind: written whole or not at all, and read by row groups, the last ones of which are kept.

A row group has rows of one epoch, in order, so that its statistics say what it covers.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROW_GROUP_ROWS = 8192
CACHED_BYTES = 24 * 1024 * 1024
CACHED_FILES = 2048
EPOCH = "epoch"
"""The column of the rows' epoch. Files without one are of epoch 0: older than all others."""
_Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class RowGroup:
    """One row group of a file: the epoch of its rows, and their first and last time (ns)."""

    path: Path
    version: _Version
    index: int
    epoch: int
    first_ns: int
    last_ns: int


class ParquetFiles:
    """Reads and writes files whose rows are ordered by a column of times. Threads share it."""

    def __init__(self, time_column: str) -> None:
        self._time_column = time_column
        self._lock = threading.Lock()
        self._groups: OrderedDict[Path, tuple[_Version, tuple[RowGroup, ...], Any]] = OrderedDict()
        self._tables: OrderedDict[tuple[Path, _Version, int], Any] = OrderedDict()
        self._bytes = 0

    def row_groups(self, path: Path) -> tuple[RowGroup, ...]:
        """The file's row groups. Raises: FileNotFoundError."""
        import pyarrow.parquet as pq

        version = _version(path)
        with self._lock:
            known = self._groups.get(path)
            if known is not None and known[0] == version:
                self._groups.move_to_end(path)
                return known[1]
        metadata = pq.read_metadata(path)
        indexes = [index for index in range(metadata.num_row_groups) if metadata.row_group(index).num_rows]
        groups = tuple(self._group(path, version, metadata, index) for index in indexes)
        with self._lock:
            self._groups[path] = version, groups, metadata
            self._groups.move_to_end(path)
            while len(self._groups) > CACHED_FILES:
                self._groups.popitem(last=False)
        return groups

    def read(self, group: RowGroup) -> Any:
        """A row group's rows as an Arrow table. Raises: FileNotFoundError."""
        import pyarrow.parquet as pq

        key = group.path, group.version, group.index
        with self._lock:
            table = self._tables.get(key)
            if table is not None:
                self._tables.move_to_end(key)
                return table
            known = self._groups.get(group.path)
        metadata = known[2] if known is not None and known[0] == group.version else None
        with group.path.open("rb") as file:
            # It may have been replaced since its groups were listed, by one of the same name.
            if _version_of(os.fstat(file.fileno())) != group.version:
                raise FileNotFoundError(group.path)
            reader = pq.ParquetFile(file, metadata=metadata)
            table = reader.read_row_group(group.index, use_threads=False).combine_chunks()
        with self._lock:
            if key not in self._tables:
                self._tables[key] = table
                self._bytes += table.nbytes
            while self._bytes > CACHED_BYTES and len(self._tables) > 1:
                self._bytes -= self._tables.popitem(last=False)[1].nbytes
        return table

    def write(self, path: Path, tables: Sequence[Any]) -> None:
        """Write a file of one table after the other, all of the same columns; a row group has rows of one table."""
        import pyarrow.parquet as pq

        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            with pq.ParquetWriter(file, tables[0].schema, compression="zstd") as writer:
                for table in tables:
                    writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)

    def _group(self, path: Path, version: _Version, metadata: Any, index: int) -> RowGroup:
        row_group = metadata.row_group(index)
        columns = {row_group.column(at).path_in_schema: at for at in range(row_group.num_columns)}
        times = row_group.column(columns[self._time_column]).statistics
        epoch = row_group.column(columns[EPOCH]).statistics.max if EPOCH in columns else 0
        return RowGroup(path, version, index, epoch, times.min, times.max)


def _version(path: Path) -> _Version:
    return _version_of(path.stat())


def _version_of(stat: os.stat_result) -> _Version:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
