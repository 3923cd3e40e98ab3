"""The trading day that a moment belongs to, as far as clocks and data tell it."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Times: TypeAlias = npt.NDArray[np.int64]
_HOUR_NS = 3600 * 1_000_000_000
_DAY_NS = 24 * _HOUR_NS
_ROLL_HOUR = 17
"""Night sessions begin after it."""
_LONGEST_HOLIDAY_DAYS = 15


def trading_days(local_ns: Times) -> Times:
    """Trading days (YYYYMMDD) of sorted moments on the exchange's clock."""
    return numbers(session_days(local_ns))


def session_days(local_ns: Times) -> Times:
    """Trading days, as days since 1970, of sorted moments on the exchange's clock.

    An evening belongs to the next working day; where that one is a holiday, to the first day that the data have
    trading by day of.
    """
    shifted = local_ns + (24 - _ROLL_HOUR) * _HOUR_NS
    days = shifted // _DAY_NS
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday
    days = np.where(weekday == 5, days + 2, np.where(weekday == 6, days + 1, days))
    hours = local_ns % _DAY_NS // _HOUR_NS
    by_day = (hours >= 3) & (hours < _ROLL_HOUR)
    open_days = np.unique(days[by_day])
    if len(open_days):
        at = np.minimum(np.searchsorted(open_days, days), len(open_days) - 1)
        following = open_days[at]
        known = ~by_day & (following >= days) & (following - days <= _LONGEST_HOLIDAY_DAYS)
        days = np.where(known, following, days)
    return days


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
