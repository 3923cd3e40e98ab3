"""Columns of UTC times as the clock of a zone shows them, with its changes of daylight saving time."""

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from services.strategy.backtest.dataset import Times

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# No zone changes its clock there and back within this.
_STRIDE_S = 10 * 86_400


def local_us(time_ns: Times, zone: ZoneInfo) -> tuple[Times, npt.NDArray[np.bool_] | None]:
    """Microseconds of the zone's clock since its 1970-01-01 00:00; and which rows are the second pass through an hour
    that comes twice (None: none)."""
    utc_us = np.asarray(time_ns) // 1000
    if not len(utc_us):
        return utc_us, None
    first, last = int(utc_us.min() // 1_000_000), int(utc_us.max() // 1_000_000) + 1
    changes, offsets = _changes(first, last, zone)
    if not changes:
        return utc_us + offsets[0] * 1_000_000, None
    at_us = np.array(changes, dtype=np.int64) * 1_000_000
    which = np.searchsorted(at_us, utc_us, side="right")
    offset_us = np.array(offsets, dtype=np.int64) * 1_000_000
    folds = np.zeros(len(utc_us), dtype=bool)
    for index, (before, after) in enumerate(pairwise(offset_us.tolist())):
        if after < before:
            folds |= (utc_us >= at_us[index]) & (utc_us < at_us[index] + (before - after))
    return utc_us + offset_us[which], folds if folds.any() else None


def clock_times(local: Times, folds: npt.NDArray[np.bool_] | None, zone: ZoneInfo) -> list[datetime]:
    """What `local_us` found as aware datetimes."""
    # Aware times are added to by their clock, not by elapsed time: many times quicker than to make each anew.
    epoch = datetime(1970, 1, 1, tzinfo=zone)
    times = [epoch + since for since in local.astype("timedelta64[us]").tolist()]
    if folds is not None:
        for index in np.flatnonzero(folds).tolist():
            times[index] = times[index].replace(fold=1)
    return times


def _changes(first_s: int, last_s: int, zone: ZoneInfo) -> tuple[list[int], list[int]]:
    """The seconds at which the offset changes, and the offsets before, between and after."""
    changes: list[int] = []
    offsets = [_offset(first_s, zone)]
    here = first_s
    while here < last_s:
        there = min(here + _STRIDE_S, last_s)
        after = _offset(there, zone)
        if after != offsets[-1]:
            known = offsets[-1]
            span = range(here, there + 1)
            changes.append(span[bisect_left(span, True, key=lambda second: _offset(second, zone) != known)])
            offsets.append(after)
        here = there
    return changes, offsets


def _offset(second: int, zone: ZoneInfo) -> int:
    offset = (_EPOCH + timedelta(seconds=second)).astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())
