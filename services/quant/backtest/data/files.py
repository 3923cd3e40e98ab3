"""Files of recorded data: CSV (plain or gzipped) and Parquet, read in pieces into a data set's columns."""

import csv
import ctypes
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from services.quant.backtest.data.columns import BAR_EXTRAS, Layout, find_layout
from services.quant.backtest.data.dataset import Bars, Dataset, Finding, Ticks
from services.quant.backtest.data.interval_detection import detect_interval, length_ns, require_interval
from services.quant.backtest.data.rows import REPORTED, Block, Rows, bad_rows, no_rows, other_symbols
from services.quant.backtest.data.times import DAY_NS, zone_of
from services.quant.backtest.data.zone_offsets import to_local
from services.quant.backtest.job import TICK, BacktestError, check_interval

OnPart = Callable[[float], None]
"""Told how much is done, from 0 to 1."""
_BLOCK_BYTES = 1 << 20
"""Read at a time: larger ones are not quicker, and cost ten times their size in memory."""
_BATCH_ROWS = 1 << 16
_BUFFER_BYTES = 1 << 18
_SNIFFED_BYTES = 1 << 16
LABELS = ("start", "end")


def read_dataset(
    path: Path | str,
    *,
    symbol: str,
    interval: str | None = None,
    kind: str | None = None,
    label: str = "start",
    timezone: str = "Asia/Shanghai",
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    progress: OnPart | None = None,
) -> Dataset:
    """The bars or ticks of a file, sorted, without bad rows and duplicates; what was wrong is in the findings.

    `interval` is a bar's, `tick` for ticks, None: detected from its times; `kind` (bars or ticks) says which of the two
    it is where the interval does not. `label` says which end of a bar its time is; times without an offset are of
    `timezone`. `columns` names the file's columns that are not recognised (our name → the file's). `strict` refuses a
    file with bad rows.
    Raises: BacktestError with one line that names the file.
    """
    path, zone = Path(path), zone_of(timezone)
    if label not in LABELS:
        raise BacktestError(f"label {label!r} is none of {', '.join(LABELS)}", "label")
    if interval is not None:
        check_interval(interval)
    reader = _open(path)
    ticks = interval == TICK if interval is not None else None if kind is None else kind == "ticks"
    layout = find_layout(reader.header, columns or {}, ticks, path.name)
    rows = Rows(layout, zone, symbol)
    _read(reader, rows, progress)
    _release()
    if several := other_symbols(rows.symbols, symbol, path.name):
        raise several
    findings = _skipped(reader, rows)
    if strict and findings:
        raise BacktestError(f"{path.name}: {findings[0].sentence}", "data")
    time_ns, values, disorder = rows.sorted(reader.line)
    findings += disorder
    if not len(time_ns):
        raise no_rows(path.name, findings[0] if findings else None)
    if layout.ticks:
        return Ticks(symbol, time_ns, values, tuple(findings))
    if interval is None:
        interval = detect_interval(time_ns, zone, path.name)
    require_interval(time_ns, interval, zone, path.name)
    _release()
    if label == "end":
        time_ns = _starts(time_ns, interval, zone)
    for name in BAR_EXTRAS:
        if name not in values:
            values[name] = np.zeros(len(time_ns))
            if name == "volume":
                findings.append(Finding("no_volume", len(time_ns), "There is no column of volume: it is 0 throughout."))
    return Bars(symbol, interval, time_ns, **values, findings=tuple(findings))


def _read(reader: "_Csv | _Parquet", rows: Rows, progress: OnPart | None) -> None:
    for block, length, done in reader.blocks(rows.layout):
        rows.add(block, length)
        if progress is not None:
            progress(done)


def _release() -> None:
    """Give back what Arrow and the C library keep for later: what follows needs the memory more."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):  # glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _starts(ends_ns: Any, interval: str, zone: Any) -> Any:
    """Start times of bars that end there. A day's bar carries its day's date: it begins with that day."""
    if length_ns(interval) < DAY_NS:
        return ends_ns - length_ns(interval)
    return ends_ns - to_local(ends_ns, zone) % DAY_NS


def _skipped(reader: "_Csv | _Parquet", rows: Rows) -> list[Finding]:
    """The finding on bad rows, those that are no rows at all included."""
    rows.forget_trailing_blanks()
    reasons = [(reader.line(at), why) for at, why in rows.reasons]
    reasons = sorted(reasons + reader.misshapen[:REPORTED])[:REPORTED]
    bad = rows.bad + len(reader.misshapen)
    return [bad_rows(reasons, bad, rows.count + len(reader.misshapen))] if bad else []


def _open(path: Path) -> "_Csv | _Parquet":
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic == b"PAR1":
            return _Parquet(path)
        if path.suffix.lower() in (".parquet", ".pq"):
            raise BacktestError(f"{path.name}: this is no Parquet file", "data")
        return _Csv(path, packed=magic[:2] == b"\x1f\x8b")
    except OSError as error:
        raise BacktestError(f"{path}: {error.strerror or error}", "data") from None


class _Csv:
    """A CSV file in pieces of text columns; lines that have too many or too few fields are put aside."""

    def __init__(self, path: Path, packed: bool) -> None:
        self._path, self._packed = path, packed
        self.misshapen: list[tuple[int, str]] = []
        """Line numbers and what is wrong with them."""
        first = self._first_bytes()
        self._encoding = "utf8"
        try:
            # The last character may be cut in two.
            text = first.decode("utf-8-sig") if len(first) < _SNIFFED_BYTES else first.decode("utf-8-sig", "ignore")
            if len(first) >= _SNIFFED_BYTES:
                first[: first.rfind(b"\n") + 1].decode("utf-8-sig")
        except UnicodeDecodeError:
            text, self._encoding = first.decode("gb18030", "replace"), "gb18030"
        line = text.split("\n", 1)[0].rstrip("\r")
        if "\0" in text:
            raise BacktestError(f"{path.name}: this is neither CSV nor Parquet", "data")
        self._delimiter = max(",\t;|", key=line.count)
        self.header = [name.strip() for name in next(csv.reader(io.StringIO(line), delimiter=self._delimiter), [])]
        if not any(self.header):
            raise BacktestError(f"{path.name}: it begins with no line of column names", "data")

    def _first_bytes(self) -> bytes:
        try:
            with gzip.open(self._path) if self._packed else self._path.open("rb") as file:
                return file.read(_SNIFFED_BYTES)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BacktestError(f"{self._path.name}: damaged: {error}", "data") from None

    def blocks(self, layout: Layout) -> Iterator[tuple[Block, int, float]]:
        """Columns by position, how many rows, and which part of the file is read."""
        import pyarrow as pa
        import pyarrow.csv as arrow_csv

        names = [f"{at}" for at in range(len(self.header))]
        selected = {at: f"{at}" for at in layout.positions}

        def put_aside(row: Any) -> str:
            self.misshapen.append((row.number, f"{row.actual_columns} fields instead of {row.expected_columns}"))
            return "skip"

        try:
            with pa.OSFile(str(self._path)) as file:
                size = max(1, file.size())
                reader = arrow_csv.open_csv(
                    pa.CompressedInputStream(file, "gzip") if self._packed else file,
                    # With one thread each row's line is known.
                    read_options=arrow_csv.ReadOptions(
                        use_threads=False, column_names=names, skip_rows=1, encoding=self._encoding,
                        block_size=_BLOCK_BYTES,
                    ),
                    parse_options=arrow_csv.ParseOptions(
                        delimiter=self._delimiter, ignore_empty_lines=False, invalid_row_handler=put_aside
                    ),
                    convert_options=arrow_csv.ConvertOptions(
                        column_types=dict.fromkeys(names, pa.string()), include_columns=list(selected.values()),
                        check_utf8=False, strings_can_be_null=True, null_values=[""],
                    ),
                )  # fmt: skip
                for batch in reader:
                    yield {at: batch.column(name) for at, name in selected.items()}, len(batch), file.tell() / size
        except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
            if "Empty CSV file" in str(error):
                return
            first = str(error).splitlines()[0]
            raise BacktestError(f"{self._path.name}: damaged or not CSV: {first}", "data") from None

    def line(self, row: int) -> int:
        """The number of the line that a row (from 0) is on."""
        line = row + 2  # after the header, counted from 1
        for misshapen, _ in self.misshapen:
            if misshapen > line:
                break
            line += 1
        return line


class _Parquet:
    """A Parquet file in pieces of columns as they are typed; rows are counted from 1, as if they were lines."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        self.misshapen: list[tuple[int, str]] = []
        try:
            self._file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES)  # else it holds whole row groups
        except (pa.ArrowInvalid, OSError) as error:
            raise BacktestError(f"{path.name}: damaged: {str(error).splitlines()[0]}", "data") from None
        self.header: list[str] = list(self._file.schema_arrow.names)

    def blocks(self, layout: Layout) -> Iterator[tuple[Block, int, float]]:
        """Columns by position, how many rows, and which part of the file is read."""
        import pyarrow as pa

        selected = {at: self.header[at] for at in layout.positions}
        done, total = 0, max(1, self._file.metadata.num_rows)
        try:
            for batch in self._file.iter_batches(_BATCH_ROWS, columns=list(selected.values())):
                done += len(batch)
                yield {at: batch.column(name) for at, name in selected.items()}, len(batch), done / total
        except (pa.ArrowInvalid, OSError) as error:
            raise BacktestError(f"{self._path.name}: damaged: {str(error).splitlines()[0]}", "data") from None

    def line(self, row: int) -> int:
        """The row's number."""
        return row + 1
