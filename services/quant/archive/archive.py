"""The archive: Parquet files of ticks and bars, partitioned by symbol and trading day, that a kill cannot corrupt.

Files are there whole or not at all, on disk or in a bucket: see `storage`. A file's name is the range of checkpoints
that it covers (`00000007-00000007.parquet`); a compacted file covers the range of those it replaces, and until these
are gone a reader leaves out what another file's range contains. What is imported from elsewhere is in one more file of
the partition (`imported.parquet`), which no checkpoint touches: a process that imports and one that records do not
meet. Recorded rows have an epoch, and of two epochs the later one counts: see `epochs`; imported rows count as they
are. All of it is blocking. pyarrow is imported with the first use.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from services.quant.archive.epochs import Spans, shown
from services.quant.archive.parquet_files import EPOCH, ParquetFiles, RowGroup
from services.quant.archive.partition_files import IMPORTED, File, file_name, kept, listed, small
from services.quant.archive.storage import Entry, Storage

_TRIES = 8
_PARTITIONS = 4096
Columns = Mapping[str, Sequence[Any]]


class MovedError(Exception):
    """Files were compacted while they were read: read again."""


class Groups(NamedTuple):
    """Row groups of a partition: the same object for as long as nothing changed."""

    recorded: tuple[RowGroup, ...] = ()
    imported: tuple[RowGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class _Partition:
    """The row groups of a partition, file by file, as they were when its folder was listed."""

    entries: tuple[Entry, ...]
    files: tuple[tuple[File, tuple[RowGroup, ...]], ...]
    last: int
    groups: Groups


class Archive:
    """One kind of rows (`ticks`, `bars`); `order` names the columns that rows are sorted by, time first."""

    def __init__(
        self,
        storage: Storage,
        kind: str,
        order: tuple[str, ...],
        integers: tuple[str, ...],
        lists: tuple[str, ...] = (),
    ) -> None:
        self._storage = storage
        self._kind = kind
        self._order = order
        self._integers = integers
        self._lists = lists
        self._files = ParquetFiles(storage, order[0])
        self._lock = threading.Lock()
        self._partitions: dict[str, _Partition] = {}
        self._days: dict[str, tuple[tuple[str, ...], list[int]]] = {}

    def symbols(self) -> list[str]:
        """Symbols that there are rows of."""
        return [name.removeprefix("symbol=") for name in self._storage.folders(self._kind)]

    def days(self, symbol: str) -> Sequence[int]:
        """Trading days (YYYYMMDD) that there are rows of, oldest first."""
        names = self._storage.folders(f"{self._kind}/symbol={symbol}")
        known = self._days.get(symbol)
        if known is not None and known[0] is names:
            return known[1]
        days = [int(name.removeprefix("day=")) for name in names]
        with self._lock:
            _keep(self._days, symbol, (names, days))
        return days

    def write(self, symbol: str, day: int, checkpoint: int, columns: Columns) -> None:
        """Write a partition's rows of one checkpoint; done again, it replaces the first time's."""
        path = f"{self._partition(symbol, day)}/{file_name(checkpoint, checkpoint)}"
        self._files.write(path, self._by_epoch(self._table(columns)))

    def changed(self, symbol: str, day: int) -> None:
        """Another process wrote or compacted this partition just now."""
        self._storage.changed(self._partition(symbol, day))

    def has_small_files(self, symbol: str, day: int, most_files: int) -> bool:
        """Return true when `compact` would make one of the partition's files."""
        return len(small(self._recorded(symbol, day))) > most_files

    def compact(self, symbol: str, day: int, most_files: int) -> bool:
        """Make one file of the small ones when there are more than `most_files`; whether it did.

        Rows that a later epoch replaces are left out, but for an epoch's first and last, which show what it covers.
        """
        import pyarrow as pa

        files = self._recorded(symbol, day)
        few = small(files)
        if len(few) <= most_files:
            return False
        groups = [group for file in files for group in self._files.row_groups(file.path, file.entry.version)]
        spans = _spans(groups)
        paths = {file.path for file in few}
        tables = []
        for group in groups:
            if group.path in paths:
                table, (first, last) = self._files.read(group), spans.edges(group.epoch)
                times = table.column(self._order[0]).to_numpy()
                mask = shown(times, spans.later(group.epoch))
                kept = None if mask is None else pa.array(mask | (times == first) | (times == last))
                tables.append(table if kept is None else table.filter(kept))
        merged, folder = file_name(few[0].first, few[-1].last), self._partition(symbol, day)
        rows = self._by_epoch(pa.concat_tables(tables, promote_options="default"))
        self._files.write(f"{folder}/{merged}", rows)
        self._storage.replaced(
            file.path
            for file in listed(folder, self._storage.files(folder))
            if file.entry.name != merged and few[0].first <= file.first and file.last <= few[-1].last
        )
        return True

    def row_groups(self, symbol: str, day: int, until: int) -> Groups:
        """A partition's row groups: those recorded, and those imported.

        Files of checkpoints after `until` are left out: their rows are still in memory as well.
        Raises: MovedError.
        """
        partition = self._known(self._partition(symbol, day))
        if partition.last <= until:
            return partition.groups
        recorded: list[RowGroup] = []
        for file, groups in partition.files:
            if file.first > until:
                continue
            if file.last > until:
                raise MovedError
            recorded += groups
        return Groups(tuple(recorded), partition.groups.imported)

    def _known(self, folder: str) -> _Partition:
        """The row groups of a partition's files; read anew when its folder has changed. Raises: MovedError."""
        entries = self._storage.files(folder)
        known = self._partitions.get(folder)
        if known is not None and known.entries is entries:
            return known
        try:
            files = tuple(
                (file, self._files.row_groups(file.path, file.entry.version)) for file in kept(listed(folder, entries))
            )
            imported = [entry for entry in entries if entry.name == IMPORTED]
            added = self._files.row_groups(f"{folder}/{IMPORTED}", imported[0].version) if imported else ()
        except FileNotFoundError as error:
            self._storage.changed(folder)
            raise MovedError from error
        last = max((file.last for file, _ in files), default=0)
        groups = Groups(tuple(group for _, of_file in files for group in of_file), added)
        partition = _Partition(entries, files, last, groups)
        with self._lock:
            _keep(self._partitions, folder, partition)
        return partition

    def read(self, group: RowGroup) -> Any:
        """A row group's rows as an Arrow table, in order. Raises: MovedError."""
        try:
            return self._files.read(group)
        except FileNotFoundError as error:
            self._storage.changed(group.path.rpartition("/")[0])
            raise MovedError from error

    def table(self, symbol: str, day: int, columns: Sequence[str] | None = None) -> Any:
        """All rows of a partition that count, as an Arrow table in no particular order; None when there are none.

        Raises: MovedError.
        """
        import pyarrow as pa

        for _ in range(_TRIES):
            try:
                tables = self._tables(symbol, day, columns)
            except FileNotFoundError:
                self.changed(symbol, day)
                continue
            return pa.concat_tables(tables) if tables else None
        raise MovedError

    def _tables(self, symbol: str, day: int, columns: Sequence[str] | None) -> list[Any]:
        """The tables of a partition's files, without what is hidden in them. Raises: FileNotFoundError."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        recorded_from, time_column = self.recorded_from(symbol), self._order[0]
        names = list(columns) if columns is not None else None
        folder = self._partition(symbol, day)
        entries = self._storage.files(folder)
        files = [(f"{folder}/{entry.name}", entry) for entry in entries if entry.name == IMPORTED]
        files += [(file.path, file.entry) for file in kept(listed(folder, entries))]
        groups = {path: self._files.row_groups(path, entry.version) for path, entry in files if entry.name != IMPORTED}
        spans = _spans([group for of_file in groups.values() for group in of_file], recorded_from)
        tables = []
        for path, entry in files:
            of_file = groups.get(path, ())
            with self._storage.open(path, entry.version) as opened:
                reader = pq.ParquetFile(opened)
                # Imported rows, of which no groups were asked for, count as they are.
                if not of_file or not (recorded_from or any(spans.later(group.epoch) for group in of_file)):
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

    def size(self, symbol: str, day: int) -> int:
        """The bytes that a partition's files take."""
        return sum(entry.size for entry in self._storage.files(self._partition(symbol, day)))

    def add(self, symbol: str, day: int, columns: Columns) -> None:
        """Add imported rows to a partition. One process at a time may; who records meanwhile is not disturbed."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = f"{self._partition(symbol, day)}/{IMPORTED}"
        table = self._table(columns)
        with suppress(FileNotFoundError), self._storage.open(path) as file:
            table = pa.concat_tables([pq.ParquetFile(file).read(), table])
        self._files.write(path, self._by_epoch(table))

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
                files = listed(folder, self._storage.files(folder))
                old = [file.path for file in files if file.entry.written_ns < before_ns]
                for path in old:
                    self._storage.remove(path)
                removed += len(old)
        return removed

    def supersede(self, symbol: str, before_ns: int) -> None:
        """Hide rows of a symbol that were recorded before a moment; imported ones are still read.

        The rows stay on disk: another market published them under the same symbol.
        """
        self._storage.write(self._superseded(symbol), lambda file: file.write(str(before_ns).encode()))

    def recorded_from(self, symbol: str) -> int:
        """The first moment of what was recorded that is read, in nanoseconds; 0 for all."""
        try:
            with self._storage.open(self._superseded(symbol)) as file:
                return int(file.read())
        except FileNotFoundError:
            return 0

    def superseded(self) -> dict[str, int]:
        """The symbols that `supersede` was called for, with their moments."""
        names = [entry.name for entry in self._storage.files(f"{self._kind}-superseded")]
        symbols = [name.removesuffix(".ns") for name in names if name.endswith(".ns")]
        return {symbol: self.recorded_from(symbol) for symbol in symbols}

    def _superseded(self, symbol: str) -> str:
        return f"{self._kind}-superseded/{symbol}.ns"

    def _partition(self, symbol: str, day: int) -> str:
        return f"{self._kind}/symbol={symbol}/day={day}"

    def _recorded(self, symbol: str, day: int) -> list[File]:
        folder = self._partition(symbol, day)
        return kept(listed(folder, self._storage.files(folder)))

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


def _keep(kept: dict[str, Any], key: str, value: Any) -> None:
    """Keep a value; the oldest one leaves when there are too many."""
    kept.pop(key, None)
    while len(kept) >= _PARTITIONS:
        kept.pop(next(iter(kept)))
    kept[key] = value
