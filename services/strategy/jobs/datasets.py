"""The data that jobs run on: what market and `redfire data import` keep in the store, by name and never by path."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from services.quant.archive import layout
from services.quant.archive.archive import Archive
from services.quant.backtest.data.dataset import Dataset
from services.quant.backtest.data.times import day_start_ns
from services.quant.backtest.job import INTERVALS_S, TICK, BacktestError
from services.strategy.jobs.job import TIMEZONE, Setup

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


def check(data_dir: Path, setup: Setup) -> None:
    """Raises BacktestError when there are no rows for this setup, without reading them all, or no such target."""
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
    last = _number(job.end + _NIGHT) if job.end else 99_999_999
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


def _number(day: date) -> int:
    return day.year * 10_000 + day.month * 100 + day.day
