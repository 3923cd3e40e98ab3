"""The store of recorded data in the data folder: what market recorded there and what was imported, to read and add to.

Imports are safe beside a running platform: files appear whole, by rename, and market's ListBars and ListTicks read them
at their next query, without a restart. One import runs at a time.
"""

import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from services.quant.archive import layout
from services.quant.archive.archive import Archive
from services.quant.backtest.data.dataset import BAR_VALUES, Bars, Dataset, Ticks, Times
from services.quant.backtest.data.files import OnPart
from services.quant.backtest.data.interval_detection import length_ns
from services.quant.backtest.data.resampling import resample
from services.quant.backtest.data.snapshots import from_archive, to_archive
from services.quant.backtest.data.times import DAY_NS, day_start_ns, zone_of
from services.quant.backtest.data.zone_offsets import to_local
from services.quant.backtest.job import INTERVALS_S, TICK, BacktestError
from services.quant.calendar import Calendar
from services.quant.calendar.columns import day_numbers, trading_day_column

_SYMBOL = re.compile(r"[A-Za-z0-9_-]{1,32}\.[A-Z]{2,8}")
_NEIGHBOUR_DAYS = 16
"""The most that two files may differ in the trading day of the same night, when one of them has no day after it."""
_NAMES = {number: name for name, number in layout.INTERVALS.items()}


@dataclass(frozen=True, slots=True)
class Imported:
    """The counts of an import."""

    added: int
    known: int
    """Rows that were there already; they stay as they are."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A symbol's data in the store: `kind` bars or ticks, times in ns, the size on disk."""

    symbol: str
    kind: str
    interval: str
    rows: int
    first_ns: int
    last_ns: int
    bytes: int


class DataStore:
    """The archive of one data folder."""

    def __init__(self, data_dir: Path, timezone: str = "Asia/Shanghai") -> None:
        self._folder = data_dir / layout.FOLDER
        self._zone = zone_of(timezone)
        self._calendar = Calendar.load()
        self._ticks = layout.ticks(self._folder)
        self._bars = layout.bars(self._folder)

    def import_dataset(self, data: Dataset, progress: OnPart | None = None) -> Imported:
        """Add the rows whose times are not there yet; what is there is neither replaced nor doubled.

        Raises: BacktestError when the symbol cannot be stored; OSError when the disk cannot take it.
        """
        if not _SYMBOL.fullmatch(data.symbol):
            raise BacktestError(f"symbol {data.symbol!r} is not of the form rb2501.SHFE", "symbol")
        with self._importing():
            if isinstance(data, Ticks):
                return self._import_ticks(data, progress)
            return self._import_bars(data, progress)

    def load(self, symbol: str, interval: str, start: date | None = None, end: date | None = None) -> Dataset:
        """The rows of these days, both included; bars that are not stored are made of stored shorter ones.

        Raises: BacktestError when there are none.
        """
        if interval == TICK:
            return self._load_ticks(symbol, start, end)
        length = length_ns(interval)
        shorter = [name for name, seconds in INTERVALS_S.items() if length % (seconds * 10**9) == 0]
        for name in sorted(shorter, key=lambda name: -INTERVALS_S[name]):
            bars = self._read_bars(symbol, name, start, end)
            if bars is not None:
                return bars if name == interval else resample(bars, interval, self._zone)
        raise self._nothing(symbol, interval, start, end)

    def list(self) -> Sequence[Stored]:
        """List the data sets, by symbol."""
        listed = [stored for symbol in self._bars.symbols() for stored in self._list_bars(symbol)]
        listed += [stored for symbol in self._ticks.symbols() for stored in self._list_ticks(symbol)]
        return sorted(listed, key=lambda stored: (stored.symbol, stored.kind, INTERVALS_S.get(stored.interval, 0)))

    @contextmanager
    def _importing(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / "import.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _import_bars(self, data: Bars, progress: OnPart | None) -> Imported:
        number = layout.INTERVALS[data.interval]
        if length_ns(data.interval) < DAY_NS:
            days = self._trading_days(data)
        else:
            days = day_numbers(to_local(data.time_ns, self._zone) // DAY_NS)
        near = self._near(self._bars, data.symbol, days)
        there = self._columns(self._bars, data.symbol, near, "start_ns", "interval")
        known = [columns["start_ns"][columns["interval"] == number] for columns in there]
        new = _unknown(data.time_ns, known)
        columns: dict[str, Any] = {"interval": np.full(len(data), number), "start_ns": data.time_ns}
        columns |= {name: getattr(data, name) for name in BAR_VALUES}
        columns["checkpoint"] = np.zeros(len(data), dtype=np.int64)

        def rows(part: Times) -> Mapping[str, Any]:
            return {name: values[part] for name, values in columns.items()}

        return self._add(self._bars, data.symbol, days, new, rows, progress)

    def _import_ticks(self, data: Ticks, progress: OnPart | None) -> Imported:
        days = self._trading_days(data)
        near = self._near(self._ticks, data.symbol, days)
        new = _unknown(data.time_ns, [t["time_ns"] for t in self._columns(self._ticks, data.symbol, near, "time_ns")])

        def rows(part: Times) -> Mapping[str, Any]:
            return to_archive(data, part, int(days[part[0]]))

        return self._add(self._ticks, data.symbol, days, new, rows, progress)

    def _add(
        self, archive: Archive, symbol: str, days: Times, new: Any, rows: Callable[[Times], Mapping[str, Any]],
        progress: OnPart | None,
    ) -> Imported:  # fmt: skip
        """Add new rows day by day: `rows` makes columns of a range of rows."""
        chosen = np.flatnonzero(new)
        parts = np.split(chosen, np.flatnonzero(np.diff(days[chosen])) + 1) if len(chosen) else []
        for done, part in enumerate(parts, start=1):
            archive.add(symbol, int(days[part[0]]), rows(part))
            if progress is not None:
                progress(done / len(parts))
        return Imported(len(chosen), len(days) - len(chosen))

    def _trading_days(self, data: Dataset) -> Times:
        return day_numbers(trading_day_column(self._calendar, data.symbol, data.time_ns))

    def _near(self, archive: Archive, symbol: str, days: Times) -> Sequence[int]:
        first = _number(_date(int(days[0])) - timedelta(_NEIGHBOUR_DAYS))
        last = _number(_date(int(days[-1])) + timedelta(_NEIGHBOUR_DAYS))
        return [day for day in archive.days(symbol) if first <= day <= last]

    def _columns(self, archive: Archive, symbol: str, days: Sequence[int], *names: str) -> Iterator[dict[str, Any]]:
        """Columns of partitions as arrays, partition by partition."""
        for day in days:
            table = archive.table(symbol, day, names)
            if table is not None:
                yield {name: table.column(name).to_numpy() for name in names}

    def _days(self, archive: Archive, symbol: str, start: date | None, end: date | None) -> Sequence[int]:
        """Partitions that may have rows of these days, a night's trading day counted in."""
        if not _SYMBOL.fullmatch(symbol):
            return []
        first = _number(start - timedelta(1)) if start else 0  # days of exchanges in UTC may be behind
        last = _number(end + timedelta(_NEIGHBOUR_DAYS)) if end else 99_999_999
        return [day for day in archive.days(symbol) if first <= day <= last]

    def _within(self, time_ns: Times, start: date | None, end: date | None) -> Any:
        inside = np.ones(len(time_ns), dtype=bool)
        if start:
            inside &= time_ns >= day_start_ns(start, self._zone)
        if end:
            inside &= time_ns < day_start_ns(end + timedelta(1), self._zone)
        return inside

    def _read_bars(self, symbol: str, interval: str, start: date | None, end: date | None) -> Bars | None:
        number = layout.INTERVALS[interval]
        names = ("interval", "start_ns", *BAR_VALUES, "checkpoint")
        parts = []
        for columns in self._columns(self._bars, symbol, self._days(self._bars, symbol, start, end), *names):
            mine = (columns["interval"] == number) & self._within(columns["start_ns"], start, end)
            parts.append({name: values[mine] for name, values in columns.items()})
        joined = {name: np.concatenate([part[name] for part in parts]) for name in names} if parts else {}
        if not joined or not len(joined["start_ns"]):
            return None
        order = np.lexsort((joined["checkpoint"], joined["start_ns"]))
        times = joined["start_ns"][order]
        order = order[np.append(times[1:] != times[:-1], True)]  # of the same bar the last checkpoint's
        return Bars(symbol, interval, joined["start_ns"][order], *(joined[name][order] for name in BAR_VALUES))

    def _load_ticks(self, symbol: str, start: date | None, end: date | None) -> Ticks:
        import pyarrow as pa
        import pyarrow.compute as pc

        tables = [self._ticks.table(symbol, day) for day in self._days(self._ticks, symbol, start, end)]
        tables = [table for table in tables if table is not None]
        if tables:
            table = pa.concat_tables(tables)
            table = table.filter(pa.array(self._within(table.column("time_ns").to_numpy(), start, end)))
            if len(table):
                order = pc.sort_indices(table, [("time_ns", "ascending"), ("sequence", "ascending")])
                return from_archive(symbol, table.take(order))
        raise self._nothing(symbol, TICK, start, end)

    def _list_bars(self, symbol: str) -> Iterator[Stored]:
        rows: dict[int, int] = {}
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        size: dict[int, float] = {}
        for day in self._bars.days(symbol):
            for columns in self._columns(self._bars, symbol, [day], "interval", "start_ns"):
                per_row = self._bars.size(symbol, day) / len(columns["interval"])
                for number in map(int, np.unique(columns["interval"])):
                    times = np.unique(columns["start_ns"][columns["interval"] == number])
                    rows[number] = rows.get(number, 0) + len(times)
                    first[number] = min(first.get(number, int(times[0])), int(times[0]))
                    last[number] = max(last.get(number, 0), int(times[-1]))
                    size[number] = size.get(number, 0) + per_row * len(times)
        for number in rows:
            name = _NAMES.get(number, str(number))
            yield Stored(symbol, "bars", name, rows[number], first[number], last[number], round(size[number]))

    def _list_ticks(self, symbol: str) -> Iterator[Stored]:
        rows = size = last = 0
        first = 1 << 62
        for day in self._ticks.days(symbol):
            for columns in self._columns(self._ticks, symbol, [day], "time_ns"):
                times = columns["time_ns"]
                rows += len(times)
                first, last = min(first, int(times.min())), max(last, int(times.max()))
                size += self._ticks.size(symbol, day)
        if rows:
            yield Stored(symbol, "ticks", TICK, rows, first, last, size)

    def _nothing(self, symbol: str, interval: str, start: date | None, end: date | None) -> BacktestError:
        what = "ticks" if interval == TICK else f"{interval} bars"
        within = "".join((f" from {start}" if start else "", f" to {end}" if end else ""))
        stored = [one.interval for one in self.list() if one.symbol == symbol]
        has = f"it has {', '.join(stored)}" if stored else "redfire data import FILE brings them"
        return BacktestError(f"the store has no {what} of {symbol}{within}: {has}", "symbol")


def _unknown(time_ns: Times, known: list[Any]) -> Any:
    """Select those of these moments that are not known."""
    if not known:
        return np.ones(len(time_ns), dtype=bool)
    return ~np.isin(time_ns, np.concatenate(known))


def _date(number: int) -> date:
    return date(number // 10_000, number // 100 % 100, number % 100)


def _number(day: date) -> int:
    return day.year * 10_000 + day.month * 100 + day.day
