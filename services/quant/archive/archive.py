"""The archive: Parquet files of ticks and bars, partitioned by symbol and trading day, that a kill cannot corrupt.

A file is written under another name, flushed to disk and renamed, so there are whole files or none. Its name is the
range of checkpoints that it covers (`00000007-00000007.parquet`); a compacted file covers the range of those it
replaces, and until these are gone a reader leaves out what another file's range contains. What is imported from
elsewhere is in one more file of the partition (`imported.parquet`), which no checkpoint touches: a process that imports
and one that records do not meet. All of it is blocking. pyarrow is imported with the first use.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.kernel.data.atomic_file import write_atomically

ROW_GROUP_ROWS = 16_384
COMPACT_BYTES = 16 * 1024 * 1024
"""Files above this size are not compacted again."""
IMPORTED = "imported.parquet"
_TRIES = 8
Columns = Mapping[str, Sequence[Any]]


class MovedError(Exception):
    """Files were compacted while they were read: read again."""


@dataclass(frozen=True, slots=True)
class File:
    """A file and the checkpoints it covers."""

    path: Path
    first: int
    last: int


class Archive:
    """One kind of rows (`ticks`, `bars`); `order` names the columns that rows are sorted by, time first."""

    def __init__(self, folder: Path, order: tuple[str, ...], integers: tuple[str, ...], lists: tuple[str, ...] = ()):
        self._folder = folder
        self._order = order
        self._integers = integers
        self._lists = lists

    def symbols(self) -> list[str]:
        """Symbols that there are rows of."""
        if not self._folder.is_dir():
            return []
        return sorted(entry.name.removeprefix("symbol=") for entry in self._folder.iterdir())

    def days(self, symbol: str) -> list[int]:
        """Trading days (YYYYMMDD) that there are rows of, oldest first."""
        folder = self._folder / f"symbol={symbol}"
        if not folder.is_dir():
            return []
        return sorted(int(entry.name.removeprefix("day=")) for entry in folder.iterdir())

    def write(self, symbol: str, day: int, checkpoint: int, columns: Columns) -> None:
        """Write a partition's rows of one checkpoint; done again, it replaces the first time's."""
        folder = self._partition(symbol, day)
        folder.mkdir(parents=True, exist_ok=True)
        self._write(folder / _name(checkpoint, checkpoint), self._table(columns))

    def compact(self, symbol: str, day: int, most_files: int) -> bool:
        """Make one file of the small ones when there are more than `most_files`; whether it did."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = self._partition(symbol, day)
        files = _files(folder)
        small: list[File] = []
        for file in reversed(files):  # only neighbours: ranges must not overlap
            if file.path.stat().st_size > COMPACT_BYTES:
                break
            small.insert(0, file)
        if len(small) <= most_files:
            return False
        tables = [pq.ParquetFile(file.path).read() for file in small]
        table = pa.concat_tables(tables)
        merged = _name(small[0].first, small[-1].last)
        self._write(folder / merged, table.sort_by([(name, "ascending") for name in self._order]))
        for path in _recorded(folder):
            first, last = _range(path)
            if path.name != merged and small[0].first <= first and last <= small[-1].last:
                path.unlink()
        return True

    def rows(
        self, symbol: str, day: int, until: int, start_ns: int, end_ns: int, recorded_from: int
    ) -> Iterator[dict[str, Any]]:
        """A partition's rows from `start_ns` on and before `end_ns`, in order, read piece by piece.

        What was recorded before `recorded_from` is left out, what was imported is not: see `supersede`. Files of
        checkpoints after `until` are left out: their rows are still in memory as well.
        Raises: MovedError.
        """
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        time_column = self._order[0]
        pieces: list[tuple[int, int, Callable[[], Any]]] = []
        folder = self._partition(symbol, day)
        paths = [folder / IMPORTED] if (folder / IMPORTED).exists() else []
        for file in _files(folder):
            if file.first > until:
                continue
            if file.last > until:
                raise MovedError
            paths.append(file.path)
        for path in paths:
            try:
                reader = pq.ParquetFile(path)
            except FileNotFoundError as error:
                raise MovedError from error
            column = reader.schema_arrow.get_field_index(time_column)
            low = 0 if path.name == IMPORTED else recorded_from
            for index in range(reader.num_row_groups):
                statistics = reader.metadata.row_group(index).column(column).statistics
                if statistics.max >= max(start_ns, low) and statistics.min < end_ns:
                    read = _reader(reader, index, time_column, low if statistics.min < low else 0)
                    pieces.append((statistics.min, statistics.max, read))
        pieces.sort(key=lambda piece: piece[:2])
        while pieces:
            # Pieces that overlap in time are sorted together.
            _, high, read = pieces.pop(0)
            tables = [read()]
            while pieces and pieces[0][0] <= high:
                high = max(high, pieces[0][1])
                tables.append(pieces.pop(0)[2]())
            table = pa.concat_tables(tables)
            times = table.column(time_column)
            table = table.filter(pc.and_(pc.greater_equal(times, start_ns), pc.less(times, end_ns)))
            if len(tables) > 1:
                table = table.sort_by([(name, "ascending") for name in self._order])
            for batch in table.to_batches(max_chunksize=512):
                yield from batch.to_pylist()

    def table(self, symbol: str, day: int, columns: Sequence[str] | None = None) -> Any:
        """All rows of a partition that are on disk, as an Arrow table in no particular order; None when there are none.

        Raises: MovedError.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = list(columns) if columns is not None else None
        recorded_from, time_column = self.recorded_from(symbol), self._order[0]
        for attempt in range(_TRIES):
            try:
                tables = []
                for path in self.files(symbol, day):
                    reader = pq.ParquetFile(path)
                    if recorded_from and path.name != IMPORTED:
                        table = _from(reader.read(), time_column, recorded_from)
                        tables.append(table if names is None else table.select(names))
                    else:
                        tables.append(reader.read(columns=names))
            except FileNotFoundError as error:
                if attempt == _TRIES - 1:
                    raise MovedError from error
                continue
            return pa.concat_tables(tables) if tables else None
        raise MovedError

    def files(self, symbol: str, day: int) -> list[Path]:
        """The files that have a partition's rows at this moment."""
        folder = self._partition(symbol, day)
        imported = [folder / IMPORTED] if (folder / IMPORTED).exists() else []
        return imported + [file.path for file in _files(folder)]

    def add(self, symbol: str, day: int, columns: Columns) -> None:
        """Add imported rows to a partition. One process at a time may; who records meanwhile is not disturbed."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = self._partition(symbol, day)
        folder.mkdir(parents=True, exist_ok=True)
        table = self._table(columns)
        if (folder / IMPORTED).exists():
            table = pa.concat_tables([pq.ParquetFile(folder / IMPORTED).read(), table])
            table = table.sort_by([(name, "ascending") for name in self._order])
        self._write(folder / IMPORTED, table)

    def supersede(self, symbol: str, before_ns: int) -> None:
        """Hide rows of a symbol that were recorded before a moment; imported ones are still read.

        The rows stay on disk: another market published them under the same symbol.
        """
        path = self._superseded(symbol)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, str(before_ns).encode())

    def recorded_from(self, symbol: str) -> int:
        """The first moment of what was recorded that is read, in nanoseconds; 0 for all."""
        try:
            return int(self._superseded(symbol).read_text())
        except FileNotFoundError:
            return 0

    def superseded(self) -> dict[str, int]:
        """The symbols that `supersede` was called for, with their moments."""
        marks = self._superseded("*")
        return {path.stem: self.recorded_from(path.stem) for path in marks.parent.glob(marks.name)}

    def _superseded(self, symbol: str) -> Path:
        return self._folder.with_name(f"{self._folder.name}-superseded") / f"{symbol}.ns"

    def _partition(self, symbol: str, day: int) -> Path:
        return self._folder / f"symbol={symbol}" / f"day={day}"

    def _table(self, columns: Columns) -> Any:
        import pyarrow as pa

        fields = []
        for name in columns:
            kind = pa.int64() if name in self._integers else pa.float64()
            fields.append(pa.field(name, pa.list_(pa.float64()) if name in self._lists else kind))
        table = pa.table(dict(columns), schema=pa.schema(fields))
        return table.sort_by([(name, "ascending") for name in self._order])

    def _write(self, path: Path, table: Any) -> None:
        import pyarrow.parquet as pq

        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            pq.write_table(table, file, compression="zstd", row_group_size=ROW_GROUP_ROWS)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)


def _reader(file: Any, row_group: int, time_column: str, low_ns: int) -> Callable[[], Any]:
    if not low_ns:
        return lambda: file.read_row_group(row_group)
    return lambda: _from(file.read_row_group(row_group), time_column, low_ns)


def _from(table: Any, time_column: str, low_ns: int) -> Any:
    import pyarrow.compute as pc

    return table.filter(pc.greater_equal(table.column(time_column), low_ns))


def _name(first: int, last: int) -> str:
    return f"{first:08d}-{last:08d}.parquet"


def _recorded(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.parquet") if path.name != IMPORTED]


def _range(path: Path) -> tuple[int, int]:
    first, _, last = path.stem.partition("-")
    return int(first), int(last)


def _files(folder: Path) -> list[File]:
    """The partition's files by range, without those that a compacted one replaces."""
    if not folder.is_dir():
        return []
    files = sorted((File(path, *_range(path)) for path in _recorded(folder)), key=lambda f: (f.first, -f.last))
    kept: list[File] = []
    for file in files:
        if not kept or file.last > kept[-1].last:
            kept.append(file)
    return kept
