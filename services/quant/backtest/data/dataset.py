"""Recorded data in columns: what a backtest runs on, whichever file or store it came from."""

from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Times: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
BAR_VALUES = ("open", "high", "low", "close", "volume", "turnover", "open_interest")
"""The columns of Bars beside the time, in its order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An anomaly in the data: `kind` is gap, duplicate, disorder, malformed, jump, zero_price or the like."""

    kind: str
    count: int
    sentence: str
    lines: tuple[int, ...] = ()
    """Line numbers in the file of the first few, where there are any."""


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of one symbol, oldest first, no time twice. `time_ns` is each bar's START, ns since 1970 UTC.

    All columns have the same length and may be read-only memory maps; prices in currency, volume in contracts.
    """

    symbol: str
    interval: str
    time_ns: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    turnover: Floats
    open_interest: Floats
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.time_ns)


@dataclass(frozen=True, slots=True)
class Ticks:
    """Ticks of one symbol, oldest first. Every column of vnpy's TickData that the data has, by vnpy's name
    (`last_price`, `volume` cumulative within the day, `bid_price_1` …); a column that is missing is all zeros.
    """

    symbol: str
    time_ns: Times
    columns: dict[str, Floats] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.time_ns)


Dataset: TypeAlias = Bars | Ticks


def first_rows(data: Dataset, count: int) -> Dataset:
    """The first rows, not copied: there may be very many."""
    if isinstance(data, Ticks):
        columns = {name: column[:count] for name, column in data.columns.items()}
        return replace(data, time_ns=data.time_ns[:count], columns=columns)
    return replace(data, **{name: getattr(data, name)[:count] for name in ("time_ns", *BAR_VALUES)})
