"""The section of a report that compares in-sample with out-of-sample, ready to be shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.quant.backtest.report.catalogue import Statistic


@dataclass(frozen=True, slots=True)
class WindowRow:
    """A window as text: (in sample, out of sample) of each statistic; `error` where there was no test."""

    train: str
    test: str
    parameters: str
    pairs: Sequence[tuple[str, str]]
    error: str


@dataclass(frozen=True, slots=True)
class WalkForwardSection:
    """Additions of a walk-forward to a backtest's report: both samples' statistics, and the efficiency."""

    statistics: Sequence[Statistic]
    rows: Sequence[WindowRow]
    efficiency: str
