"""Walk-forward: optimise on a window, test the best parameters on the days after it, roll on; then join the tests."""

import calendar
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from services.quant.backtest.analysis.daily import with_balance
from services.quant.backtest.analysis.performance import extra_statistics
from services.quant.backtest.analysis.statistics import vnpy_statistics
from services.quant.backtest.data.dataset import Dataset
from services.quant.backtest.job import BacktestError, BacktestJob
from services.quant.backtest.optimise.evaluator import ClassSource
from services.quant.backtest.optimise.genetic import Genetic
from services.quant.backtest.optimise.optimisation import (
    OnProgress,
    OptimisationResult,
    Search,
    ShouldStop,
    check_search,
    data_days,
    open_workers,
)
from services.quant.backtest.optimise.point import Point, Statistics
from services.quant.backtest.optimise.space import Space
from services.quant.backtest.result import BacktestResult, Day, Fill

_SPAN = re.compile(r"(\d+)([dwmy])")
_MOST_WINDOWS = 10_000


@dataclass(frozen=True, slots=True)
class Span:
    """A length of calendar time: `120d`, `8w`, `6m`, `1y`."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> "Span":
        """Raises BacktestError for anything else."""
        match = _SPAN.fullmatch(text.strip())
        if match is None or not 1 <= int(match[1]) <= 100_000:
            raise BacktestError(f"{text!r} is no length like 120d, 8w, 6m or 1y", "walk_forward")
        return cls(int(match[1]), match[2])

    def after(self, day: date) -> date:
        """The day this much later; the last of its month where a month is shorter. The end of time stays it."""
        try:
            if self.unit in "dw":
                return day + timedelta(days=self.count * (7 if self.unit == "w" else 1))
            months = day.year * 12 + day.month - 1 + self.count * (12 if self.unit == "y" else 1)
            year, month = months // 12, months % 12 + 1
            return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
        except (OverflowError, ValueError):
            return date.max

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"


@dataclass(frozen=True, slots=True)
class Windows:
    """Days to optimise on, and the days after them to test on; the windows roll on by the test's length."""

    train: Span
    test: Span

    @classmethod
    def parse(cls, text: str) -> "Windows":
        """`120d:30d`: optimise on 120 days, test on the next 30."""
        train, colon, test = text.partition(":")
        if not colon:
            raise BacktestError(f"walk-forward {text!r} is not of the form 120d:30d", "walk_forward")
        return cls(Span.parse(train), Span.parse(test))

    def between(self, first: date, last: date) -> Iterator[tuple[date, date, date, date]]:
        """First and last day of each optimisation, first and last day of its test; the last test may be shorter."""
        start = first
        for _ in range(_MOST_WINDOWS):
            test = self.train.after(start)
            if test > last:
                return
            end = min(self.test.after(test) - timedelta(days=1), last)
            yield start, test - timedelta(days=1), test, end
            start = self.test.after(start)


@dataclass(frozen=True, slots=True)
class Window:
    """One optimisation and its test. `test_statistics` is empty, with the reason in `error`, when there was none."""

    train_start: date
    train_end: date
    test_start: date
    test_end: date
    best: Point | None
    test_value: float | None = None
    test_statistics: Statistics | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class WalkForwardResult:
    """All windows; `days` and `statistics` are of the tests joined, each begun without a position.

    `efficiency`: the mean annual return of the tests over that of their optimisations (1: as good as in hindsight;
    None where the optimisations earned nothing).
    """

    job: BacktestJob
    target: str
    windows: tuple[Window, ...]
    days: tuple[Day, ...]
    fills: tuple[Fill, ...]
    statistics: Statistics
    efficiency: float | None
    stopped: bool = False


def run_walk_forward(
    class_source: ClassSource | Path | type | None,
    job: BacktestJob,
    data: Dataset,
    space: Space,
    target: str,
    windows: Windows,
    method: str = "grid",
    *,
    workers: int | None = None,
    dask: str | None = None,
    genetic: Genetic | None = None,
    progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> WalkForwardResult:
    """Walk forward over the job's dates, on the same workers. `load_bar` warms each run up with the rows before it.

    Raises: BacktestError for what cannot be run, also when there is no room for one window.
    """
    check_search(job, data, target, method)
    first, last = data_days(job, data)
    first, last = max(first, job.start or first), min(last, job.end or last)
    spans = list(windows.between(first, last))
    if not spans:
        raise BacktestError(
            f"{windows.train} to optimise on, then {windows.test}, do not fit between {first} and {last}",
            "walk_forward",
        )
    done: list[Window] = []
    tests: list[BacktestResult] = []
    with_workers = open_workers(class_source, job, data, workers, dask, space.size)
    try:
        search = Search(with_workers, job, space, target, method, genetic, progress, should_stop)
        stopped = False
        for number, span in enumerate(spans, 1):
            optimised = search.run(span[0], span[1], stage=f"window {number} of {len(spans)}")
            stopped = optimised.stopped
            if stopped:
                break
            window, test = _tested(search, optimised, span)
            done.append(window)
            if test is not None:
                tests.append(test)
    finally:
        with_workers.close()
    days, fills = _joined(job, tests)
    return WalkForwardResult(
        job=job,
        target=target,
        windows=tuple(done),
        days=tuple(days),
        fills=tuple(fills),
        statistics=vnpy_statistics(job, days) | extra_statistics(job, days, fills),
        efficiency=_efficiency(done),
        stopped=stopped,
    )


def _tested(
    search: Search, optimised: OptimisationResult, span: tuple[date, date, date, date]
) -> tuple[Window, BacktestResult | None]:
    window = Window(*span, best=optimised.best)
    if optimised.best is None:
        why = optimised.failures[0].error if optimised.failures else "there are no points"
        return replace(window, error=f"no point ran to its end: {why}"), None
    answer = search.result_of(optimised.best.parameters, span[2], span[3])
    if answer is None or answer.result is None:
        return replace(window, error=answer.error if answer else "stopped"), None
    value = answer.statistics.get(optimised.target)
    return (
        replace(
            window,
            test_value=float(value) if isinstance(value, int | float) else None,
            test_statistics=answer.statistics,
        ),
        answer.result,
    )


def _joined(job: BacktestJob, tests: Sequence[BacktestResult]) -> tuple[list[Day], list[Fill]]:
    """One account through all tests. A position at the end of a test is closed at its last price, as its last day's
    mark to market has it: otherwise the next test's trades would be taken for its closing."""
    days: list[Day] = []
    fills: list[Fill] = []
    for test in tests:
        days += test.days
        fills += test.trades
        if test.days and test.trades and (held := test.days[-1].end_pos):
            direction = "SHORT" if held > 0 else "LONG"
            price = test.days[-1].close_price
            fills.append(replace(test.trades[-1], direction=direction, offset="CLOSE", price=price, volume=abs(held)))
    return with_balance(days, job.capital), fills


def _efficiency(windows: Sequence[Window]) -> float | None:
    pairs = [
        (float(w.best.statistics["annual_return"]), float(w.test_statistics["annual_return"]))  # type: ignore[arg-type]
        for w in windows
        if w.best is not None and w.test_statistics
    ]
    if not pairs:
        return None
    inside, outside = (statistics.fmean(values) for values in zip(*pairs, strict=True))
    return outside / inside if inside > 0 else None
