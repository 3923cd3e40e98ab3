"""The archive: Parquet files of ticks and bars, partitioned by symbol and trading day, that a kill cannot corrupt.

A file is written under another name, flushed to disk and renamed, so there are whole files or none. Its name is the
range of checkpoints that it covers (`00000007-00000007.parquet`); a compacted file covers the range of those it
replaces, and until these are gone a reader leaves out what another file's range contains. What is imported from
elsewhere is in one more file of the partition (`imported.parquet`), which no checkpoint touches: a process that imports
and one that records do not meet. Recorded rows have an epoch, and of two epochs the later one counts: see `epochs`;
imported rows count as they are. All of it is blocking. pyarrow is imported with the first use.
"""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.kernel.data.atomic_file import write_atomically
from services.quant.archive.epochs import Spans, shown
from services.quant.archive.parquet_files import EPOCH, ParquetFiles, RowGroup

COMPACT_BYTES = 16 * 1024 * 1024
"""Files above this size are not compacted again."""
IMPORTED = "imported.parquet"
_TRIES = 8
Columns = Mapping[str, Sequence[Any]]


_SETTLED_NS = 2_000_000_000
"""Time after a folder's change in which it is listed anew each time."""
_LISTINGS = 4096


class MovedError(Exception):
    """Files were compacted while they were read: read again."""


@dataclass(frozen=True, slots=True)
class File:
    """A file and the checkpoints it covers."""

    path: Path
    first: int
    last: int


_Listing = tuple[list[tuple[File, tuple[RowGroup, ...]]], tuple[RowGroup, ...]]


class Archive:
    """One kind of rows (`ticks`, `bars`); `order` names the columns that rows are sorted by, time first."""

    def __init__(self, folder: Path, order: tuple[str, ...], integers: tuple[str, ...], lists: tuple[str, ...] = ()):
        self._folder = folder
        self._order = order
        self._integers = integers
        self._lists = lists
        self._files = ParquetFiles(order[0])
        self._listings: dict[str, tuple[int, _Listing]] = {}
        """By partition: when its folder was changed, and what was in it."""

    def symbols(self) -> list[str]:
        """Symbols that there are rows of."""
        if not self._folder.is_dir():
            return []
        return sorted(entry.name.removeprefix("symbol=") for entry in self._folder.iterdir())

    def days(self, symbol: str) -> list[int]:
        """Trading days (YYYYMMDD) that there are rows of, oldest first."""
        try:
            with os.scandir(self._folder / f"symbol={symbol}") as entries:
                return sorted(int(entry.name.removeprefix("day=")) for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def write(self, symbol: str, day: int, checkpoint: int, columns: Columns) -> None:
        """Write a partition's rows of one checkpoint; done again, it replaces the first time's."""
        folder = self._partition(symbol, day)
        folder.mkdir(parents=True, exist_ok=True)
        self._files.write(folder / _name(checkpoint, checkpoint), self._by_epoch(self._table(columns)))

    def compact(self, symbol: str, day: int, most_files: int) -> bool:
        """Make one file of the small ones when there are more than `most_files`; whether it did.

        Rows that a later epoch replaces are left out, but for an epoch's first and last, which show what it covers.
        """
        import pyarrow as pa

        folder = self._partition(symbol, day)
        files, _ = _files(folder)
        small: list[File] = []
        for file in reversed(files):  # only neighbours: ranges must not overlap
            if file.path.stat().st_size > COMPACT_BYTES:
                break
            small.insert(0, file)
        if len(small) <= most_files:
            return False
        groups = [group for file in files for group in self._files.row_groups(file.path)]
        spans = _spans(groups)
        paths = {file.path for file in small}
        tables = []
        for group in groups:
            if group.path in paths:
                table, (first, last) = self._files.read(group), spans.edges(group.epoch)
                times = table.column(self._order[0]).to_numpy()
                mask = shown(times, spans.later(group.epoch))
                kept = None if mask is None else pa.array(mask | (times == first) | (times == last))
                tables.append(table if kept is None else table.filter(kept))
        merged = _name(small[0].first, small[-1].last)
        self._files.write(folder / merged, self._by_epoch(pa.concat_tables(tables, promote_options="default")))
        for file in _listed(folder)[0]:
            if file.path.name != merged and small[0].first <= file.first and file.last <= small[-1].last:
                file.path.unlink()
        return True

    def row_groups(self, symbol: str, day: int, until: int) -> tuple[list[RowGroup], list[RowGroup]]:
        """A partition's row groups: those recorded, and those imported.

        Files of checkpoints after `until` are left out: their rows are still in memory as well.
        Raises: MovedError.
        """
        recorded: list[RowGroup] = []
        files, imported = self._listing(self._partition(symbol, day))
        for file, groups in files:
            if file.first > until:
                continue
            if file.last > until:
                raise MovedError
            recorded += groups
        return recorded, list(imported)

    def _listing(self, folder: Path) -> _Listing:
        """The row groups of a partition's recorded files, and those imported; read anew when its folder has changed.

        Raises: MovedError.
        """
        name = str(folder)
        try:
            changed_ns = folder.stat().st_mtime_ns
        except FileNotFoundError:
            return [], ()
        known = self._listings.get(name)
        if known is not None and known[0] == changed_ns:
            return known[1]
        # A folder that changed just now may change again without its time showing it.
        settled = time.time_ns() - changed_ns > _SETTLED_NS
        files, imported = _files(folder)
        try:
            groups = [(file, self._files.row_groups(file.path)) for file in files]
            listing = groups, self._files.row_groups(folder / IMPORTED) if imported else ()
        except FileNotFoundError as error:
            raise MovedError from error
        if settled:
            while len(self._listings) >= _LISTINGS:
                self._listings.pop(next(iter(self._listings)), None)
            self._listings[name] = changed_ns, listing
        return listing

    def read(self, group: RowGroup) -> Any:
        """A row group's rows as an Arrow table, in order. Raises: MovedError."""
        try:
            return self._files.read(group)
        except FileNotFoundError as error:
            raise MovedError from error

    def table(self, symbol: str, day: int, columns: Sequence[str] | None = None) -> Any:
        """All rows of a partition that are on disk and count, as an Arrow table in no particular order; None when there
        are none.

        Raises: MovedError.
        """
        import pyarrow as pa

        for _ in range(_TRIES):
            try:
                tables = self._tables(symbol, day, columns)
            except FileNotFoundError:
                continue
            return pa.concat_tables(tables) if tables else None
        raise MovedError

    def _tables(self, symbol: str, day: int, columns: Sequence[str] | None) -> list[Any]:
        """The tables of a partition's files, without what is hidden in them. Raises: FileNotFoundError."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        recorded_from, time_column = self.recorded_from(symbol), self._order[0]
        names = list(columns) if columns is not None else None
        files = self.files(symbol, day)
        groups = {path: self._files.row_groups(path) for path in files if path.name != IMPORTED}
        spans = _spans([group for of_file in groups.values() for group in of_file], recorded_from)
        tables = []
        for path in files:
            reader = pq.ParquetFile(path)
            of_file = groups.get(path, ())
            if not recorded_from and not any(spans.later(group.epoch) for group in of_file):
                table = reader.read(columns=names)
            else:
                parts = []
                for group in of_file:
                    part = reader.read_row_group(group.index)
                    times = part.column(time_column).to_numpy()
                    mask = shown(times, [(0, recorded_from - 1), *spans.later(group.epoch)])
                    parts.append(part if mask is None else part.filter(pa.array(mask)))
                table = _concatenated(parts, names)
            tables.append(table.drop_columns([EPOCH]) if EPOCH in table.column_names else table)
        return tables

    def files(self, symbol: str, day: int) -> list[Path]:
        """The files that have a partition's rows at this moment."""
        folder = self._partition(symbol, day)
        files, imported = _files(folder)
        return [folder / IMPORTED] * imported + [file.path for file in files]

    def add(self, symbol: str, day: int, columns: Columns) -> None:
        """Add imported rows to a partition. One process at a time may; who records meanwhile is not disturbed."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = self._partition(symbol, day)
        folder.mkdir(parents=True, exist_ok=True)
        table = self._table(columns)
        if (folder / IMPORTED).exists():
            table = pa.concat_tables([pq.ParquetFile(folder / IMPORTED).read(), table])
        self._files.write(folder / IMPORTED, self._by_epoch(table))

    def remove_old(self, before_day: int, before_ns: int) -> int:
        """Remove what was recorded of trading days before a day (YYYYMMDD) and written before a moment (ns).

        Imported rows stay, and a recording that was replayed lately. Returns the number of files removed.
        """
        removed = 0
        for symbol in self.symbols():
            for day in self.days(symbol):
                if day >= before_day:
                    break
                folder = self._partition(symbol, day)
                old = [file.path for file in _listed(folder)[0] if file.path.stat().st_mtime_ns < before_ns]
                for path in old:
                    path.unlink()
                removed += len(old)
                if old:
                    with suppress(OSError):  # not empty
                        folder.rmdir()
        return removed

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
        return pa.table(dict(columns), schema=pa.schema(fields))

    def _by_epoch(self, table: Any) -> list[Any]:
        """The rows in order, epoch by epoch: each gets row groups of its own. Rows of before epochs are of epoch 0."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table = table.sort_by([(name, "ascending") for name in self._order])
        if EPOCH not in table.column_names:
            return [table]
        epochs = pc.fill_null(table.column(EPOCH), 0)
        table = table.set_column(table.schema.get_field_index(EPOCH), pa.field(EPOCH, pa.int64()), epochs)
        return [table.filter(pc.equal(epochs, epoch)) for epoch in sorted(pc.unique(epochs).to_pylist())]


def _spans(groups: Sequence[RowGroup], from_ns: int = 0) -> Spans:
    spans = Spans()
    for group in groups:
        if group.last_ns >= from_ns:
            spans.add(group.epoch, max(group.first_ns, from_ns), group.last_ns)
    return spans


def _concatenated(tables: Sequence[Any], names: Sequence[str] | None) -> Any:
    import pyarrow as pa

    table = pa.concat_tables(tables)
    return table if names is None else table.select(names)


def _name(first: int, last: int) -> str:
    return f"{first:08d}-{last:08d}.parquet"


def _listed(folder: Path) -> tuple[list[File], bool]:
    """The recorded files of a partition, by range, and whether there is an imported one."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return [], False
    files = []
    for name in names:
        stem, _, kind = name.partition(".")
        if kind == "parquet" and name != IMPORTED:
            first, _, last = stem.partition("-")
            files.append(File(folder / name, int(first), int(last)))
    files.sort(key=lambda file: (file.first, -file.last))
    return files, IMPORTED in names


def _files(folder: Path) -> tuple[list[File], bool]:
    """The partition's files by range, without those that a compacted one replaces, and whether there is an imported."""
    files, imported = _listed(folder)
    kept: list[File] = []
    for file in files:
        if not kept or file.last > kept[-1].last:
            kept.append(file)
    return kept, imported
