"""Columns of UTC times as the clock of a zone shows them, with its changes of daylight saving time."""

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np

from services.quant.backtest.data.dataset import Mask, Times

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND_NS = 1_000_000_000
# No zone changes its clock there and back within this.
_STRIDE_S = 10 * 86_400


def utc_us(time: datetime) -> int:
    """Microseconds since 1970 UTC of an aware time, exact."""
    return (time - _EPOCH) // _MICROSECOND


def to_local(time_ns: Times, zone: ZoneInfo) -> Times:
    """Return the clock time in this zone as if it were UTC: days begin at multiples of a day's nanoseconds."""
    if not len(time_ns):
        return time_ns
    changes, offsets = _changes(*_span_s(time_ns), zone)
    if not changes:
        return time_ns + offsets[0] * _SECOND_NS
    which = np.searchsorted(np.array(changes, dtype=np.int64) * _SECOND_NS, time_ns, side="right")
    return time_ns + np.array(offsets, dtype=np.int64)[which] * _SECOND_NS


def local_us(time_ns: Times, zone: ZoneInfo) -> tuple[Times, Mask | None]:
    """Microseconds of the zone's clock since its 1970-01-01 00:00; and which rows are the second pass through an hour
    that comes twice (None: none)."""
    time_us = np.asarray(time_ns) // 1000
    if not len(time_us):
        return time_us, None
    changes, offsets = _changes(*_span_s(time_ns), zone)
    if not changes:
        return time_us + offsets[0] * 1_000_000, None
    at_us = np.array(changes, dtype=np.int64) * 1_000_000
    which = np.searchsorted(at_us, time_us, side="right")
    offset_us = np.array(offsets, dtype=np.int64) * 1_000_000
    folds = np.zeros(len(time_us), dtype=bool)
    for index, (before, after) in enumerate(pairwise(offset_us.tolist())):
        if after < before:
            folds |= (time_us >= at_us[index]) & (time_us < at_us[index] + (before - after))
    return time_us + offset_us[which], folds if folds.any() else None


def clock_times(local: Times, folds: Mask | None, zone: ZoneInfo) -> list[datetime]:
    """Return the results of `local_us` as aware datetimes."""
    # Aware times are added to by their clock, not by elapsed time: many times quicker than to make each anew.
    epoch = datetime(1970, 1, 1, tzinfo=zone)
    times = [epoch + since for since in local.astype("timedelta64[us]").tolist()]
    if folds is not None:
        for index in np.flatnonzero(folds).tolist():
            times[index] = times[index].replace(fold=1)
    return times


def _span_s(time_ns: Times) -> tuple[int, int]:
    return int(time_ns.min()) // _SECOND_NS, int(time_ns.max()) // _SECOND_NS + 1


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
