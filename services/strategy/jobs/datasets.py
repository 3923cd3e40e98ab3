"""The data that jobs run on: what market and `redfire data import` keep in the store, by name and never by path."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from services.kernel.errors import Unavailable
from services.quant.archive import layout
from services.quant.archive.archive import Archive, MovedError
from services.quant.archive.copying import copy_symbol
from services.quant.archive.storage import LocalStorage
from services.quant.backtest.data.dataset import Dataset
from services.quant.backtest.data.times import day_start_ns
from services.quant.backtest.job import INTERVALS_S, TICK, BacktestError
from services.strategy.jobs.job import TIMEZONE, Setup

log = logging.getLogger(__name__)

_PATIENCE_S = 3.0
"""Seconds for which a check reads trading days in which nothing fits, before it leaves that to the run."""
# A night belongs to the trading day after it, which holidays put off.
_NIGHT = timedelta(16)


def load(data_dir: Path, setup: Setup) -> Dataset:
    """All rows up to the last day: those before the first warm the strategy up. Raises BacktestError."""
    from services.quant.backtest.data.quality import inspect
    from services.quant.backtest.data.store import DataStore

    job = setup.backtest_job()
    # A night's trading day is not the day that the clock shows: what is left over is after the job's end.
    end = job.end and job.end + timedelta(1)
    data = DataStore(data_dir, job.timezone).load(setup.dataset, job.interval, None, end)
    return replace(data, symbol=setup.symbol, findings=(*data.findings, *inspect(data, job.zone)))


def bring(data_dir: Path, setup: Setup, folder: Path) -> Path:
    """The data folder that a job reads: this one, or, where a part of it is in a bucket, a copy below `folder`.

    A process that runs users' code is not given what opens the bucket. Raises: OSError.
    """
    market = data_dir / layout.FOLDER
    if not layout.remote_url(market):
        return data_dir
    job = setup.backtest_job()
    kind = "ticks" if job.interval == TICK else "bars"
    target = LocalStorage(folder / layout.FOLDER)
    try:
        copy_symbol(layout.storage(market), target, kind, setup.dataset, _last_day(job.end))
    except MovedError as error:
        raise OSError("files of the archive were moved again and again") from error
    return folder


def check(data_dir: Path, setup: Setup) -> None:
    """Check that there are rows for this setup, without reading them all, and its target.

    Raises: BacktestError when there are none; Unavailable when the archive cannot be read.
    """
    try:
        _check(data_dir, setup)
    except OSError as error:
        log.warning("the archive cannot be read: %s", error)
        raise Unavailable("the archive of ticks and bars cannot be read at present") from error


def _check(data_dir: Path, setup: Setup) -> None:
    job = setup.backtest_job()
    if setup.search is not None:
        from services.quant.backtest.optimise.target import check_target

        check_target(job, setup.search.target)
    folder = data_dir / layout.FOLDER
    ticks = job.interval == TICK
    archive = layout.ticks(folder) if ticks else layout.bars(folder)
    days = archive.days(setup.dataset)
    what = "ticks" if ticks else "bars"
    if not days:
        raise BacktestError(f"the store has no {what} of {setup.dataset}", "dataset")
    first = _number(job.start) if job.start else 0
    last = _last_day(job.end)
    chosen = [day for day in days if first <= day <= last]
    until = time.monotonic() + _PATIENCE_S
    start_ns = day_start_ns(job.start, TIMEZONE) if job.start else 0
    end_ns = day_start_ns(job.end + timedelta(1), TIMEZONE) if job.end else 1 << 62
    seen: set[int] = set()
    empty = True
    for times, intervals in _columns(archive, setup.dataset, chosen, ticks):
        if time.monotonic() > until:
            return
        inside = (times >= start_ns) & (times < end_ns)
        if not inside.any():
            continue
        empty = False
        if ticks:
            return
        seen.update(int(number) for number in set(intervals[inside].tolist()))
        if any(_makes(number, job.interval) for number in seen):
            return
    if empty:
        raise BacktestError(f"the store has {what} of {setup.dataset} only for other dates", "start_time")
    has = ", ".join(sorted(name for name, number in layout.INTERVALS.items() if number in seen))
    raise BacktestError(f"the store has {has} bars of {setup.dataset}, which do not make {job.interval}", "interval")


def _columns(archive: Archive, symbol: str, days: Sequence[int], ticks: bool) -> Iterator[tuple[Any, Any]]:
    """Times and, of bars, intervals: trading day by trading day."""
    name = "time_ns" if ticks else "start_ns"
    for day in days:
        table = archive.table(symbol, day, (name,) if ticks else (name, "interval"))
        if table is not None:
            yield table.column(name).to_numpy(), None if ticks else table.column("interval").to_numpy()


def _makes(number: int, interval: str) -> bool:
    """Return whether bars of a stored interval can be resampled to this one."""
    length_s = next((INTERVALS_S[name] for name, stored in layout.INTERVALS.items() if stored == number), 0)
    return length_s > 0 and INTERVALS_S[interval] % length_s == 0


def _last_day(end: date | None) -> int:
    """The last trading day that may have rows of a job with this end."""
    return _number(end + _NIGHT) if end else 99_999_999


def _number(day: date) -> int:
    return day.year * 10_000 + day.month * 100 + day.day
