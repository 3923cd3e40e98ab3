"""Trading days of whole columns of moments."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from services.quant.calendar.calendar import Calendar
from services.quant.calendar.days import DAY_NS, next_open

Times: TypeAlias = npt.NDArray[np.int64]
_PIECE = 1 << 16
"""Moments that are looked at together, which bounds the memory on the way."""


def trading_day_column(calendar: Calendar, symbol: str, time_ns: Times) -> Times:
    """Trading days, as days since 1970, of a symbol's moments in nanoseconds since the epoch."""
    days = calendar.days_of(symbol)
    after_roll = days.offset_ns + DAY_NS - days.roll_ns
    column = np.empty(len(time_ns), np.int64)
    for first in range(0, len(time_ns), _PIECE):
        piece = (time_ns[first : first + _PIECE] + after_roll) // DAY_NS
        unique, inverse = np.unique(piece, return_inverse=True)
        column[first : first + _PIECE] = np.array([next_open(days, int(day)) for day in unique], np.int64)[inverse]
    return column


def day_numbers(days: Times) -> Times:
    """Days since 1970 as YYYYMMDD."""
    unique, inverse = np.unique(days, return_inverse=True)
    dates = unique.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    year = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    month = months.astype(np.int64) % 12 + 1
    day = (dates - months).astype(np.int64) + 1
    column: Times = (year * 10_000 + month * 100 + day)[inverse]
    return column
