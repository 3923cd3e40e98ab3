"""One point of a search: what a worker is asked, what it answers, and what the result keeps of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeAlias

from services.quant.backtest.result import BacktestResult

Statistics: TypeAlias = Mapping[str, float | int | date | str]

READY = "ready"
"""The worker's message that the data are ready: whatever ends it from now on is a task's doing."""


@dataclass(frozen=True, slots=True)
class Task:
    """A point to run, by its number in the search. The dates replace the job's; `whole` asks for all of the result."""

    number: int
    parameters: Mapping[str, Any]
    start: date | None = None
    end: date | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a task: statistics, or the last line of its error and the traceback."""

    task: Task
    statistics: Statistics = field(default_factory=dict)
    error: str = ""
    traceback: str = ""
    result: BacktestResult | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A point that ran: its parameters (fixed ones, too), the target's value, all statistics."""

    parameters: Mapping[str, Any]
    value: float
    statistics: Statistics
    number: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """A point that did not run to its end, with one line that says why."""

    parameters: Mapping[str, Any]
    error: str
    number: int = 0
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a search. `left_s` is None before the first point; `total` may shrink in a genetic search."""

    done: int
    total: int
    failed: int
    best: Point | None
    elapsed_s: float
    left_s: float | None
    stage: str = ""


def best_first(points: Sequence[Point]) -> list[Point]:
    """Highest value first; equal ones in the order of the grid, as vnpy's sort leaves them; NaN last."""
    return sorted(points, key=lambda point: (math.isnan(point.value), -point.value, point.number))
