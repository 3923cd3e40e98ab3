"""A search for good parameters: which points are run, on which workers, and the table of what they brought."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from services.quant.backtest.data.dataset import Dataset
from services.quant.backtest.job import BacktestError, BacktestJob
from services.quant.backtest.optimise.evaluator import ClassSource
from services.quant.backtest.optimise.genetic import Genetic, GeneticSearch, Place
from services.quant.backtest.optimise.point import Answer, Failure, Point, Progress, Task, best_first
from services.quant.backtest.optimise.space import Space
from services.quant.backtest.optimise.target import check_target
from services.quant.sdk.strategy_class import ClassDescription

METHODS = ("grid", "genetic")
MOST_POINTS = 1_000_000
"""Points of a grid at most: more would fill the memory before they are done."""

OnProgress: TypeAlias = Callable[[Progress], None]
ShouldStop: TypeAlias = Callable[[], bool]


class Workers(Protocol):
    """Runs points: LocalWorkers or ClusterWorkers."""

    count: int

    def describe(self) -> ClassDescription:
        """The class, as a worker sees it. Raises BacktestError when it cannot be loaded."""

    def answers(self, tasks: Iterable[Task], should_stop: ShouldStop) -> Iterator[Answer]:
        """Each task's answer, in any order; fewer when `should_stop` says so."""

    def close(self) -> None:
        """End, at once."""


@dataclass(frozen=True, slots=True)
class OptimisationResult:
    """The result of a search. `points` ran to their end, best first; `failures` did not, in the grid's order.

    `total` is how many points there were to run, `size` how many the space has; `stopped`: it ended early, by request.
    """

    job: BacktestJob
    space: Space
    target: str
    method: str
    points: tuple[Point, ...]
    failures: tuple[Failure, ...] = ()
    total: int = 0
    workers: int = 0
    elapsed_s: float = 0.0
    stopped: bool = False

    @property
    def best(self) -> Point | None:
        """The point with the highest value of the target."""
        return self.points[0] if self.points else None

    @property
    def size(self) -> int:
        """The number of points in the space."""
        return self.space.size


def run_optimisation(
    class_source: ClassSource | Path | type | None,
    job: BacktestJob,
    data: Dataset,
    space: Space,
    target: str,
    method: str = "grid",
    *,
    workers: int | None = None,
    dask: str | None = None,
    genetic: Genetic | None = None,
    progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
    point_timeout_s: float | None = None,
) -> OptimisationResult:
    """Run the points of `space` (all of them, or those that a genetic search chooses) and rank them by `target`.

    The class is `job.class_name` of `class_source`: a user's folder, None for what ships, or a class itself. Only
    workers run its code: `workers` processes (by default one a core), or a Dask cluster's. A point whose strategy
    raises, or ends its process, or takes longer than `point_timeout_s` (local workers only) is counted and listed.
    `should_stop` is asked about ten times a second.
    Raises: BacktestError for what cannot be run at all.
    """
    began = time.perf_counter()
    check_search(job, data, target, method)
    with_workers = open_workers(class_source, job, data, workers, dask, space.size, point_timeout_s)
    try:
        search = Search(with_workers, job, space, target, method, genetic, progress, should_stop)
        return replace(search.run(), elapsed_s=time.perf_counter() - began)
    finally:
        with_workers.close()


def check_search(job: BacktestJob, data: Dataset, target: str, method: str) -> None:
    """Check a search before any process starts. Raises BacktestError."""
    if method not in METHODS:
        raise BacktestError(f"method {method!r} is none of {', '.join(METHODS)}", "method")
    check_target(job, target)
    first, last = data_days(job, data)
    if (job.start or first) > last or (job.end or last) < first:
        asked = f"from {job.start or first} to {job.end or last}"
        raise BacktestError(f"there are no rows {asked}: the data are from {first} to {last}", "start_time")


def data_days(job: BacktestJob, data: Dataset) -> tuple[date, date]:
    """The exchange days of the first and the last row. Raises BacktestError when there are none."""
    if not len(data):
        raise BacktestError("the data have no rows", "data")
    first, last = (datetime.fromtimestamp(int(ns) // 10**9, UTC) for ns in (data.time_ns[0], data.time_ns[-1]))
    return first.astimezone(job.zone).date(), last.astimezone(job.zone).date()


def open_workers(
    class_source: ClassSource | Path | type | None,
    job: BacktestJob,
    data: Dataset,
    workers: int | None,
    dask: str | None,
    most: int,
    point_timeout_s: float | None = None,
) -> Workers:
    """The workers of a search over at most `most` points at a time. Close them."""
    source = _source(class_source)
    if dask is not None:
        from services.quant.backtest.optimise.cluster import ClusterWorkers

        return ClusterWorkers(source, job, data, dask)
    from services.quant.backtest.optimise.local import LocalWorkers

    if workers is not None and workers < 1:
        raise BacktestError(f"workers must be 1 or above, not {workers}", "workers")
    count = min(workers or len(os.sched_getaffinity(0)), most)
    return LocalWorkers(source, job, data, count, point_timeout_s)


def _source(given: ClassSource | Path | type | None) -> ClassSource:
    match given:
        case ClassSource():
            return given
        case type():
            return ClassSource.of(given)
        case _:
            return ClassSource(given)


@dataclass(slots=True)
class _Results:
    """The results of a search so far."""

    began: float
    points: list[Point] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    best: Point | None = None
    first_s: float | None = None

    @property
    def done(self) -> int:
        return len(self.points) + len(self.failures)


class Search:
    """Searches of one space on the same workers, over all of the job's dates or a window of them."""

    def __init__(
        self,
        workers: Workers,
        job: BacktestJob,
        space: Space,
        target: str,
        method: str = "grid",
        genetic: Genetic | None = None,
        progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> None:
        self._workers = workers
        self._job = job
        self._space, self._fixed = space.checked(workers.describe(), job.parameters)
        self._target = target
        self._method = method
        self._genetic = genetic or Genetic()
        self._progress = progress or (lambda _: None)
        self._should_stop = should_stop or (lambda: False)
        if method == "grid" and space.size > MOST_POINTS:
            raise BacktestError(
                f"the grid has {space.size:,} points, more than {MOST_POINTS:,}: search it with the genetic method",
                "range",
            )

    def run(self, start: date | None = None, end: date | None = None, stage: str = "") -> OptimisationResult:
        """Search; the dates replace the job's. `stage` goes to the progress."""
        results = _Results(time.perf_counter())
        if self._method == "grid":
            total = self._space.size
            self._run(self._space.places(), total, results, start, end, stage)
        else:
            total = self._run_generations(results, start, end, stage)
        return OptimisationResult(
            job=replace(self._job, start=start or self._job.start, end=end or self._job.end),
            space=self._space,
            target=self._target,
            method=self._method,
            points=tuple(best_first(results.points)),
            failures=tuple(sorted(results.failures, key=lambda failure: failure.number)),
            total=total,
            workers=self._workers.count,
            elapsed_s=time.perf_counter() - results.began,
            stopped=self._should_stop(),
        )

    def result_of(self, parameters: Mapping[str, Any], start: date, end: date) -> Answer | None:
        """One point (all of its parameters) with the whole of its result; None when it was stopped."""
        task = Task(0, parameters, start, end, whole=True)
        return next(iter(self._workers.answers([task], self._should_stop)), None)

    def _run_generations(self, results: _Results, start: date | None, end: date | None, stage: str) -> int:
        total = self._genetic.most(self._space)
        search = GeneticSearch(self._space, self._genetic)
        for places in search.generations():
            known = len(results.points)
            self._run(places, total, results, start, end, stage)
            if self._should_stop():
                break
            search.record(
                {self._space.place(p.number): p.value for p in results.points[known:] if not math.isnan(p.value)}
            )
        return total

    def _run(
        self, places: Iterable[Place], total: int, results: _Results, start: date | None, end: date | None, stage: str
    ) -> None:
        tasks = (
            Task(self._space.number(at), {**self._fixed, **self._space.parameters(at)}, start, end) for at in places
        )
        self._report(results, total, stage)
        for answer in self._workers.answers(tasks, self._should_stop):
            self._take(answer, results)
            self._report(results, total, stage)

    def _take(self, answer: Answer, results: _Results) -> None:
        if results.first_s is None:
            results.first_s = time.perf_counter()
        parameters, number = answer.task.parameters, answer.task.number
        value = answer.statistics.get(self._target)
        if answer.error or not isinstance(value, int | float):
            error = answer.error or "it has no days"
            results.failures.append(Failure(parameters, error, number, answer.traceback))
            return
        point = Point(parameters, float(value), answer.statistics, number)
        results.points.append(point)
        results.best = point if results.best is None else best_first([results.best, point])[0]

    def _report(self, results: _Results, total: int, stage: str) -> None:
        now = time.perf_counter()
        left_s = None
        if results.first_s is not None and results.done > 1:
            left_s = (now - results.first_s) / (results.done - 1) * (total - results.done)
        self._progress(
            Progress(results.done, total, len(results.failures), results.best, now - results.began, left_s, stage)
        )
