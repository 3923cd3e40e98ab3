"""Brings the bars and ticks of vnpy's SQLite database into the data folder's store, and compares the two."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import numpy as np

from services.commands.click_command import BadInput
from services.quant.backtest.data.dataset import BAR_VALUES, Dataset, Ticks
from services.quant.backtest.data.files import read_dataset
from services.quant.backtest.data.store import DataStore
from services.quant.backtest.data.times import zone_of
from services.quant.backtest.data.zone_offsets import to_local
from services.quant.backtest.job import TICK, BacktestError

_BARS, _TICKS = "dbbardata", "dbtickdata"
_INTERVALS = {"1m": "1m", "1h": "1h", "d": "1d"}
"""vnpy's intervals of bars by ours."""
_BAR_COLUMNS = {
    "open": "open_price", "high": "high_price", "low": "low_price", "close": "close_price",
    "volume": "volume", "turnover": "turnover", "open_interest": "open_interest",
}  # fmt: skip
_BAR_ROWS, _TICK_ROWS = 500_000, 100_000
"""Rows that are held in memory at a time."""
_SECOND_NS = 1_000_000_000


@dataclass(slots=True)
class Series:
    """A symbol's bars of one interval, or its ticks: what vnpy has, and what became of it in the store."""

    symbol: str
    interval: str
    rows: int
    added: int = 0
    known: int = 0
    skipped: int = 0
    """Rows that cannot be prices or times; `why` says what is wrong with the first."""
    same: int = 0
    different: int = 0
    """Rows whose time the store had before, with other values: the store's stay."""
    why: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """True when the store has every row as vnpy has it."""
        return self.same == self.rows


class VnpyDatabase:
    """One database file, opened for reading only. Raises BadInput where it is none of vnpy's."""

    def __init__(self, file: Path, timezone: str) -> None:
        self._file = file
        self.timezone = timezone
        try:
            self._connection = sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro", uri=True)
            self._tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        except sqlite3.Error as error:
            raise BadInput(f"{file}: this is no SQLite database: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def series(self) -> tuple[list[Series], list[str]]:
        """Everything it has, by symbol, and what cannot be stored. Raises BadInput."""
        series, unread = [], []
        for symbol, exchange, interval, rows in self._count(_BARS, "symbol, exchange, interval"):
            ours = _INTERVALS.get(interval)
            if ours is None:
                unread.append(f"{rows:,} bars of {symbol}.{exchange}: the interval {interval!r} is not stored here")
            else:
                series.append(Series(f"{symbol}.{exchange}", ours, rows))
        for symbol, exchange, rows in self._count(_TICKS, "symbol, exchange"):
            series.append(Series(f"{symbol}.{exchange}", TICK, rows))
        return sorted(series, key=lambda one: (one.symbol, one.interval)), unread

    def bring(self, series: Series, store: DataStore) -> Iterator[int]:
        """Add a series to the store part by part, and compare; rows of each part. Raises BadInput, OSError."""
        with TemporaryDirectory(prefix="redfire-import-") as folder:
            for rows in self._chunks(series):
                dataset = self._dataset(series, rows, Path(folder))
                if dataset is not None:
                    imported = store.import_dataset(dataset)
                    series.added += imported.added
                    series.known += imported.known
                    self._compare(series, dataset, store)
                series.skipped += len(rows) - (0 if dataset is None else len(dataset))
                yield len(rows)

    def _count(self, table: str, keys: str) -> Sequence[Any]:
        if table not in self._tables:
            return []
        try:
            query = f"SELECT {keys}, count(*) FROM {table} GROUP BY {keys}"  # noqa: S608  constants # nosec B608
            return self._connection.execute(query).fetchall()
        except sqlite3.Error as error:
            raise BadInput(f"{self._file}: {table}: {error}") from None

    def _chunks(self, series: Series) -> Iterator[list[Any]]:
        symbol, _, exchange = series.symbol.rpartition(".")
        table, size, names = _TICKS, _TICK_ROWS, list(self._tick_columns())
        where, values = "symbol = ? AND exchange = ?", [symbol, exchange]
        if series.interval != TICK:
            table, size, names = _BARS, _BAR_ROWS, list(_BAR_COLUMNS.values())
            where += " AND interval = ?"
            values.append(next(vnpys for vnpys, ours in _INTERVALS.items() if ours == series.interval))
        query = f"SELECT datetime, {', '.join(names)} FROM {table} WHERE {where} ORDER BY datetime"  # noqa: S608 # nosec B608
        try:
            with closing(self._connection.execute(query, values)) as cursor:
                while rows := cursor.fetchmany(size):
                    yield rows
        except sqlite3.Error as error:
            raise BadInput(f"{self._file}: {table}: {error}") from None

    def _tick_columns(self) -> Sequence[str]:
        there = [row[1] for row in self._connection.execute(f"PRAGMA table_info({_TICKS})")]
        return [name for name in there if name not in ("id", "symbol", "exchange", "datetime", "name", "localtime")]

    def _dataset(self, series: Series, rows: list[Any], folder: Path) -> Dataset | None:
        """The rows as any file of them is read: with its checks of prices and times. None when none is good."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        is_ticks = series.interval == TICK
        names = self._tick_columns() if is_ticks else list(_BAR_COLUMNS)
        columns = [pa.array(values, from_pandas=True) for values in zip(*rows, strict=True)]
        file = folder / "rows.parquet"
        pq.write_table(pa.table(dict(zip(("datetime", *names), columns, strict=True))), file)
        try:
            dataset = read_dataset(
                file, symbol=series.symbol, interval=series.interval, kind="ticks" if is_ticks else "bars",
                timezone=self.timezone,
            )  # fmt: skip
        except BacktestError as error:
            if len(series.why) < 3:
                series.why.append(str(error))
            return None
        series.why += [finding.sentence for finding in dataset.findings][: 3 - len(series.why)]
        return dataset

    def _compare(self, series: Series, dataset: Dataset, store: DataStore) -> None:
        """Count the rows that the store has with the same values."""
        zone = zone_of(self.timezone)
        days = to_local(dataset.time_ns[[0, -1]], zone) // (86_400 * _SECOND_NS)
        first, last = (date(1970, 1, 1) + timedelta(int(day)) for day in days)
        stored = store.load(series.symbol, series.interval, first, last)
        at = np.searchsorted(stored.time_ns, dataset.time_ns)
        at = np.minimum(at, len(stored) - 1)
        same = stored.time_ns[at] == dataset.time_ns
        for name, values in _values(dataset).items():
            there = _values(stored).get(name)
            kept = np.zeros(len(dataset)) if there is None else there[at]
            same &= (kept == values) | (np.isnan(kept) & np.isnan(values))
        count = int(np.count_nonzero(same))
        series.same += count
        series.different += len(dataset) - count


def _values(dataset: Dataset) -> dict[str, Any]:
    if isinstance(dataset, Ticks):
        return dataset.columns
    return {name: getattr(dataset, name) for name in BAR_VALUES}
