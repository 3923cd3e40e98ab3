"""Files of ticks and bars that commands write, CSV or Parquet, with the columns that imports and replays read."""

import contextlib
import csv
import errno
import gzip
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, cast
from zoneinfo import ZoneInfo

from services.commands.click_command import BadInput

FORMATS = ("csv", "parquet")
LEVELS = 5
TEXTS = ("symbol", "exchange")
BAR_COLUMNS = ("datetime", "open", "high", "low", "close", "volume", "turnover", "open_interest")
"""The columns of a bar; its time is its start."""
MARKED_BAR_COLUMNS = (*BAR_COLUMNS, "incomplete")
"""The columns of a bar of market's; 1 where it was built over a gap."""
TICK_COLUMNS = (
    "datetime", "symbol", "exchange", "last_price", "last_volume", "volume", "turnover", "open_interest", "open_price",
    "high_price", "low_price", "pre_close", "limit_up", "limit_down", "trading_day",
    *(f"{side}_{what}_{n}" for n in range(1, LEVELS + 1) for side in ("bid", "ask") for what in ("price", "volume")),
)  # fmt: skip
"""The columns of vnpy's TickData."""
_ROW_GROUP_ROWS = 16_384
_ZONE_NAME = "Asia/Shanghai"
_ZONE = ZoneInfo(_ZONE_NAME)
Row = Sequence[Any]
"""A row in the order of the columns; its time comes first, in nanoseconds since 1970."""


class RowWriter(Protocol):
    """A file that rows are appended to."""

    def write(self, rows: Iterable[Row]) -> int:
        """Append rows; their number. Raises OSError."""

    def close(self) -> None:
        """Write what is left; a second time does nothing. Raises OSError."""


def local_text(time_ns: int) -> str:
    """A moment by the exchanges' clock, `2026-11-20 09:30:00.500000`; with nine digits only where it needs them."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    if not nanos:
        return _second_text(seconds)
    fraction = f"{nanos:09d}" if nanos % 1000 else f"{nanos // 1000:06d}"
    return f"{_second_text(seconds)}.{fraction}"


@lru_cache(64)
def _second_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, _ZONE).replace(tzinfo=None).isoformat(" ")


def format_of(path: Path, asked: str | None) -> str:
    """The format asked for, or the one that the file's name says."""
    return asked or ("parquet" if path.suffix.lower() in (".parquet", ".pq") else "csv")


def check_new(path: Path, force: bool) -> None:
    """Raises BadInput where a file would be replaced that should not."""
    if path.is_dir():
        raise BadInput(f"{path}: is a folder")
    if path.exists() and not force:
        raise BadInput(f"{path}: there is such a file already; --force replaces it")


@contextmanager
def recording_file(
    path: Path, columns: Sequence[str], file_format: str = "csv", *, force: bool = False, keep_part: bool = False
) -> Iterator[RowWriter]:
    """Open a file of these columns, which gets its name when it is whole; after an exception there is none.

    With `keep_part` a CSV file that cannot be written to its end (a full disk) stays under its temporary name.
    Raises: BadInput for what the file system refuses, or for a file that is there already and not to be replaced.
    """
    check_new(path, force)
    part, kept = path.with_name(f".{path.name}.{os.getpid()}.part"), ""
    try:
        with part.open("wb") as raw, _open(raw, path, columns, file_format) as writer:
            try:
                yield writer
                writer.close()
                raw.flush()
                os.fsync(raw.fileno())
            except OSError:
                kept = "the rows before are" if keep_part and file_format == "csv" else ""
                raise
        if not _publish(part, path, force):
            kept = "its rows are"
            raise FileExistsError(errno.EEXIST, "somebody else made such a file meanwhile")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}{f'; {kept} in {part}' if kept else ''}") from None
    finally:
        if not kept:
            part.unlink(missing_ok=True)


@contextmanager
def _open(raw: Any, path: Path, columns: Sequence[str], file_format: str) -> Iterator[RowWriter]:
    writer = _Parquet(raw, columns) if file_format == "parquet" else _Csv(raw, columns, path.suffix == ".gz")
    try:
        yield writer
    finally:
        with contextlib.suppress(OSError):  # the one that counts came before
            writer.close()


def _publish(part: Path, path: Path, force: bool) -> bool:
    """Give the file its name; False when another one has got it meanwhile."""
    if force:
        part.replace(path)
        return True
    try:
        path.hardlink_to(part)  # unlike a rename, it replaces nothing
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        part.replace(path)
    return True


class _Csv:
    def __init__(self, raw: Any, columns: Sequence[str], packed: bool) -> None:
        # No name and no time inside: the same rows make the same file.
        self._packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if packed else None
        self._text = io.TextIOWrapper(cast(Any, self._packed or raw), encoding="utf-8", newline="")
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._writer.writerow(columns)
        self._closed = False

    def write(self, rows: Iterable[Row]) -> int:
        count = 0
        for row in rows:
            self._writer.writerow([local_text(row[0]), *row[1:]])
            count += 1
        return count

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._text.flush()
        self._text.detach()
        if self._packed is not None:
            self._packed.close()


class _Parquet:
    def __init__(self, raw: Any, columns: Sequence[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {"datetime": pa.timestamp("ns", _ZONE_NAME), "trading_day": pa.int32(), "incomplete": pa.int8()}
        kinds |= dict.fromkeys(TEXTS, pa.string())
        self._schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in columns])
        self._writer = pq.ParquetWriter(raw, self._schema, compression="zstd")
        self._rows: list[Row] = []

    def write(self, rows: Iterable[Row]) -> int:
        count = 0
        for row in rows:
            self._rows.append(row)
            count += 1
            if len(self._rows) >= _ROW_GROUP_ROWS:
                self._flush()
        return count

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        rows, self._rows = self._rows, []
        if rows:
            columns = zip(zip(*rows, strict=True), self._schema, strict=True)
            arrays = [pa.array(values, field.type) for values, field in columns]
            self._writer.write_table(pa.table(arrays, schema=self._schema))
