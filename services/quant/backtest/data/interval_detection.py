"""Detection of the interval of bars, and a check of a stated one."""

from collections.abc import Mapping
from zoneinfo import ZoneInfo

import numpy as np

from services.quant.backtest.data.dataset import Times
from services.quant.backtest.data.times import DAY_NS, SECOND_NS
from services.quant.backtest.data.zone_offsets import to_local
from services.quant.backtest.job import INTERVALS_S, BacktestError, check_interval

_INTRADAY_REGULAR_S = 900
"""Bars up to here divide every session; longer ones are cut by breaks, as vendors like."""


def length_ns(interval: str) -> int:
    """A bar's length. Raises: BacktestError for a name that is none."""
    check_interval(interval)
    return INTERVALS_S[interval] * SECOND_NS


def detect_interval(time_ns: Times, zone: ZoneInfo, source: str) -> str:
    """The interval that most neighbours are apart. `time_ns` is sorted. Raises: BacktestError when there is none."""
    names: Mapping[int, str] = {seconds * SECOND_NS: name for name, seconds in INTERVALS_S.items()}
    steps = _steps(time_ns, zone)
    if len(steps):
        apart, counts = np.unique(steps, return_counts=True)
        name = names.get(int(apart[counts.argmax()]))
        if name is not None and not _misfit(steps, name):
            return name
    raise BacktestError(
        f"{source}: the interval cannot be detected from its times: state it with --interval", "interval"
    )


def require_interval(time_ns: Times, interval: str, zone: ZoneInfo, source: str) -> None:
    """Check that bars of this interval may be so far apart. `time_ns` is sorted. Raises: BacktestError."""
    steps = _steps(time_ns, zone)
    if len(steps) and _misfit(steps, interval):
        apart, counts = np.unique(steps, return_counts=True)
        usual = int(apart[counts.argmax()])
        raise BacktestError(
            f"{source}: interval {interval} does not fit the data: most rows are {_words(usual)} apart", "interval"
        )


def _steps(time_ns: Times, zone: ZoneInfo) -> Times:
    """Distances of neighbours on the local clock, where a day is a day also when the clocks change."""
    steps = np.diff(to_local(time_ns, zone))
    return steps[steps > 0]


def _misfit(steps: Times, interval: str) -> bool:
    length = length_ns(interval)
    if len(steps) < 3:
        return bool((steps < length).any())
    if _INTRADAY_REGULAR_S < INTERVALS_S[interval] < INTERVALS_S["1d"] or interval == "1w":
        return bool(np.mean(steps < 0.7 * length) > 0.05 or np.median(steps) > 4 * length)
    return bool(np.mean(steps < length) > 0.01 or np.mean(steps == length) < 0.05)


def _words(span_ns: int) -> str:
    for unit_ns, unit in ((DAY_NS, "day"), (60 * SECOND_NS, "minute"), (SECOND_NS, "second")):
        if span_ns >= unit_ns:
            count = span_ns / unit_ns
            return f"{count:g} {unit}{'' if count == 1 else 's'}"
    return f"{span_ns / 1e6:g} ms"
