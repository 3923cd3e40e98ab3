"""The trading day that a moment belongs to, as far as clocks and data tell it."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Times: TypeAlias = npt.NDArray[np.int64]
_HOUR_NS = 3600 * 1_000_000_000
_DAY_NS = 24 * _HOUR_NS
_ROLL_HOUR = 17
"""Night sessions begin after it."""
_MORNING_HOUR = 3
"""And end before it."""
LONGEST_HOLIDAY_DAYS = 15
_PIECE = 1 << 16
"""Moments that are looked at together: a million at once would take 70 MB on the way."""


def trading_days(local_ns: Times) -> Times:
    """Trading days (YYYYMMDD) of sorted moments on the exchange's clock."""
    return numbers(session_days(local_ns))


def session_days(local_ns: Times) -> Times:
    """Trading days, as days since 1970, of sorted moments on the exchange's clock.

    An evening, and the hours after midnight, belong to the next day that the data have trading by day of; where they
    end before one, to the next working day.
    """
    pieces = [slice(first, first + _PIECE) for first in range(0, len(local_ns), _PIECE)]
    open_days = np.unique(np.concatenate([_open_days(local_ns[piece]) for piece in pieces] or [local_ns]))
    found = np.empty(len(local_ns), np.int64)
    for piece in pieces:
        found[piece] = _session_days(local_ns[piece], open_days)
    return found


def _open_days(local_ns: Times) -> Times:
    own, hours = local_ns // _DAY_NS, local_ns % _DAY_NS // _HOUR_NS
    return np.unique(own[(hours >= _MORNING_HOUR) & (hours < _ROLL_HOUR)])


def _session_days(local_ns: Times, open_days: Times) -> Times:
    own, hours = local_ns // _DAY_NS, local_ns % _DAY_NS // _HOUR_NS
    days = np.where(hours >= _ROLL_HOUR, own + 1, own)
    by_day = (hours >= _MORNING_HOUR) & (hours < _ROLL_HOUR)
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday
    found = np.where(weekday == 5, days + 2, np.where(weekday == 6, days + 1, days))
    if len(open_days):
        following = open_days[np.minimum(np.searchsorted(open_days, days), len(open_days) - 1)]
        known = (following >= days) & (following - days <= LONGEST_HOLIDAY_DAYS)
        found = np.where(known, following, found)
    return np.where(by_day, own, found)


def numbers(days: Times) -> Times:
    """Days since 1970 as YYYYMMDD."""
    unique, inverse = np.unique(days, return_inverse=True)
    dates = unique.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    year = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    month = months.astype(np.int64) % 12 + 1
    day = (dates - months).astype(np.int64) + 1
    found: Times = (year * 10_000 + month * 100 + day)[inverse]
    return found
