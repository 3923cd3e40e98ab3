"""Parquet files of one kind, read by row groups, the last ones of which are kept.

A row group has rows of one epoch, in order, so that its statistics say what it covers.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.quant.archive.storage import Storage, Version

ROW_GROUP_ROWS = 8192
DICTIONARY_ROWS = 1024
CACHED_BYTES = 16 << 20
CACHED_FILES = 2048
EPOCH = "epoch"
"""The column of the rows' epoch. Files without one are of epoch 0: older than all others."""


def load_library() -> None:
    """Import pyarrow, which takes some 0.1 s of CPU and 70 MB: beforehand, so that the first query need not."""
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401


@dataclass(frozen=True, slots=True)
class RowGroup:
    """One row group of a file: the epoch of its rows, and their first and last time (ns)."""

    path: str
    version: Version
    index: int
    epoch: int
    first_ns: int
    last_ns: int


class ParquetFiles:
    """Reads and writes files whose rows are ordered by a column of times. Threads share it."""

    def __init__(self, storage: Storage, time_column: str) -> None:
        self._storage = storage
        self._time_column = time_column
        self._lock = threading.Lock()
        self._groups: OrderedDict[str, tuple[Version, tuple[RowGroup, ...], Any]] = OrderedDict()
        self._tables: OrderedDict[tuple[str, Version, int], Any] = OrderedDict()
        self._bytes = 0

    def row_groups(self, path: str, version: Version) -> tuple[RowGroup, ...]:
        """The file's row groups. Raises: FileNotFoundError."""
        import pyarrow.parquet as pq

        with self._lock:
            known = self._groups.get(path)
            if known is not None and known[0] == version:
                self._groups.move_to_end(path)
                return known[1]
        with self._storage.open(path, version) as file:
            metadata = pq.ParquetFile(file).metadata
        groups = self._groups_of(path, version, metadata)
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
        # It may have been replaced since its groups were listed, by one of the same name.
        with self._storage.open(group.path, group.version) as file:
            # With few requests, where each is one to a bucket.
            reader = pq.ParquetFile(file, metadata=metadata, pre_buffer=True)
            table = reader.read_row_group(group.index, use_threads=False).combine_chunks()
        with self._lock:
            if key not in self._tables:
                self._tables[key] = table
                self._bytes += table.nbytes
            while self._bytes > CACHED_BYTES and len(self._tables) > 1:
                self._bytes -= self._tables.popitem(last=False)[1].nbytes
        return table

    def write(self, path: str, tables: Sequence[Any]) -> None:
        """Write a file of one table after the other, all of the same columns; a row group has rows of one table."""
        import pyarrow.parquet as pq

        def write(file: Any) -> None:
            # A dictionary for each column of few rows takes more space and time than it saves.
            dictionary = max(map(len, tables)) > DICTIONARY_ROWS
            with pq.ParquetWriter(file, tables[0].schema, compression="zstd", use_dictionary=dictionary) as writer:
                for table in tables:
                    writer.write_table(table, row_group_size=ROW_GROUP_ROWS)

        self._storage.write(path, write)

    def _groups_of(self, path: str, version: Version, metadata: Any) -> tuple[RowGroup, ...]:
        schema = metadata.schema
        places = {schema.column(at).path: at for at in range(len(schema))}
        time_at, epoch_at = places[self._time_column], places.get(EPOCH)
        groups = []
        for index in range(metadata.num_row_groups):
            group = metadata.row_group(index)
            if group.num_rows:
                times = group.column(time_at).statistics
                epoch = 0 if epoch_at is None else group.column(epoch_at).statistics.max
                groups.append(RowGroup(path, version, index, epoch, times.min, times.max))
        return tuple(groups)
