"""Look-ahead check: a strategy's signals must not change when the rows that come after them are missing.

The run is made again on data that end earlier, at some rows on which it sent orders and at some others, and all
signals up to that end are compared, those on the last row too. What a strategy reads by itself, from a file, cannot be
taken away from it and is not detected.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from io import TextIOBase
from typing import Any

import numpy as np

from services.quant.backtest.analysis.signals import Recorder, Signal, Signals
from services.quant.backtest.data.dataset import Dataset, first_rows
from services.quant.backtest.engine.native import creator
from services.quant.backtest.engine.replay import Replay
from services.quant.backtest.engine.run import OnRows, Run, check_parameters, replay_of
from services.quant.backtest.engine.substitution import substituted
from services.quant.backtest.execution.models import models_for
from services.quant.backtest.job import BacktestJob
from services.quant.backtest.result import last_line
from services.quant.backtest.run import finish
from services.quant.sdk.strategy_class import Family, family_of

AT_SIGNALS = 16
ELSEWHERE = 4
"""Numbers of rows at which the data are cut: with signals, and spread over all."""
MORE_ROWS = 4_000_000
MORE = 200
"""Rows played again after look-ahead was detected, and times at most, to detect more signals that change."""
SHOWN = 50
"""Changed signals that are listed one by one."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE, _FIRST = 0.2, 0.7
"""The progress after the runs on the whole data, and after the first shortened ones."""


def check_lookahead(
    strategy_class: type, job: BacktestJob, data: Dataset | Replay, *, progress: OnRows | None = None
) -> list[str]:
    """Sentences on what changes, the first with the counts; empty: nothing does. Raises BacktestError as run_backtest.

    Takes as long as a dozen runs, longer when something changes. At most SHOWN + 3 sentences; one when the
    strategy's signals are different in each run, or when it raises, for then nothing can be concluded.
    """
    with redirect_stdout(_Nowhere()):
        return _Check(strategy_class, job, data, progress or (lambda done, total: None)).sentences()


@dataclass(frozen=True, slots=True)
class _Made:
    signals: Signals
    error: str


class _Check:
    def __init__(self, strategy_class: type, job: BacktestJob, data: Dataset | Replay, progress: OnRows) -> None:
        self._class = strategy_class
        self._data = data.data if isinstance(data, Replay) else data
        self._progress = progress
        self._names: dict[str, int] = {}
        replay = replay_of(job, self._data)
        # The same end for all: strategies may know it, as they know vnpy's.
        self._job = replace(job, end=job.end or max(replay.last_day(), job.start or replay.first_day()))
        self._replay = replay
        self._fresh = True
        self._rows = (0, 0)
        self._span = (0.0, 1.0)
        self._changes: dict[int, str] = {}
        self._errors: list[str] = []

    def sentences(self) -> list[str]:
        # A class that keeps what it saw would give it to the shortened runs: each has a class of its own, if it can.
        whole, again = self._twice(0.0, _WHOLE)
        if self._fresh and (whole.error or whole.signals.first_difference(again.signals) is not None):
            self._fresh = False  # it may live on what its module was given from outside
            whole, again = self._twice(_WHOLE, 0.0)
        if whole.error:
            return [f"Look-ahead was not looked for: the strategy raised {last_line(whole.error)}."]
        if (first := whole.signals.first_difference(again.signals)) is not None:
            return [self._by_chance(whole.signals, again.signals, first)]
        del again  # millions of signals, perhaps
        cuts = self._cuts(whole.signals)
        self._cut(whole.signals, cuts, _WHOLE, _FIRST)
        if self._changes:
            size = self._rows[1] - self._rows[0]
            more = set(self._at_signals(whole.signals, min(MORE_ROWS * 2 // size, MORE)))
            more = {cut for cut in more if self._may_end(cut)} - set(cuts)
            self._cut(whole.signals, sorted(more), _FIRST, 1.0)
            cuts += more
        self._report(1.0)
        return self._sentences(len(cuts), len(np.unique(whole.signals.time_us)))

    def _cut(self, whole: Signals, cuts: list[int], begin: float, end: float) -> None:
        """Run on data that end with each of these rows."""
        done, total = 0, sum(cuts) + len(cuts) or 1
        for cut in cuts:
            self._span = (begin + (end - begin) * done / total, (end - begin) * (cut + 1) / total)
            self._compare(whole, self._run(first_rows(self._data, cut + 1)), cut)
            done += cut + 1

    def _twice(self, begin: float, share: float) -> tuple[_Made, _Made]:
        self._span = (begin, share / 2)
        one = self._run(self._data)
        self._span = (begin + share / 2, share / 2)
        return one, self._run(self._data)

    def _run(self, data: Dataset) -> _Made:
        with substituted() as build, _one_of_its_own(self._class, self._fresh) as strategy_class:
            check_parameters(strategy_class, self._job)
            replay = replay_of(self._job, data)
            run = Run(self._job, replay, models_for(self._job), build)
            self._rows = self._rows if self._rows[1] else (run.low, run.high)
            is_native = family_of(strategy_class) is Family.NATIVE
            strategy = run.created(creator(strategy_class, self._job, replay) if is_native else strategy_class)
            recorder = None if strategy is None else Recorder(run.core, strategy, self._names)
            begin, share = self._span
            result = finish(run, strategy, lambda done, rows: self._report(begin + share * done / max(rows, 1)))
        if recorder is None:
            return _Made(Signals(self._names, *[np.empty(0)] * 4), result.error)  # type: ignore[arg-type]
        return _Made(recorder.signals(result), result.error)

    def _cuts(self, signals: Signals) -> list[int]:
        """The rows with which the data end, one run each."""
        low, high = self._rows
        spread = np.linspace(low, high - 1, ELSEWHERE + 1).astype(int)[1:]
        rows = {*self._at_signals(signals, AT_SIGNALS), *self._rows_of(self._data.time_ns[spread] // 1000).tolist()}
        return sorted(row for row in rows if self._may_end(row))

    def _at_signals(self, signals: Signals, most: int) -> list[int]:
        """Rows with signals, spread over all."""
        times = np.unique(signals.time_us)
        chosen = np.unique(np.linspace(0, len(times) - 1, min(most, len(times))).astype(int))
        rows: list[int] = self._rows_of(times[chosen]).tolist()
        return rows

    def _may_end(self, row: int) -> bool:
        """Return whether it is one of the run's, and there are rows after it."""
        return self._rows[0] <= row < len(self._replay) - 1

    def _rows_of(self, time_us: Any) -> Any:
        """The last rows of these times."""
        return np.searchsorted(self._data.time_ns // 1000, time_us, side="right") - 1

    def _compare(self, whole: Signals, made: _Made, cut: int) -> None:
        end_us = int(self._data.time_ns[cut]) // 1000
        expected, actual = whole.until(end_us), made.signals.until(end_us)
        end = self._time(end_us)
        if made.error:
            self._errors.append(
                f"On data that end at {end} it raises {last_line(made.error)}; on the whole data it does not."
            )
        first = expected.first_difference(actual)
        if first is None:
            return
        limit = SHOWN * 4
        ours, theirs = expected.by_time(first, limit), actual.by_time(first, limit)
        for time_us in sorted(ours.keys() | theirs.keys())[:limit]:
            before, after = ours.get(time_us, []), theirs.get(time_us, [])
            if before != after and time_us not in self._changes:
                self._changes[time_us] = (
                    f"{self._time(time_us)}: {_shown(before)} on the whole data, {_shown(after)} on data that end at "
                    f"{end}."
                )

    def _sentences(self, cuts: int, times_of_signals: int) -> list[str]:
        changes, errors = self._changes, self._errors
        if not changes and not errors:
            return []
        sentences = []
        if changes:
            times = "the signals of 1 time" if len(changes) == 1 else f"the signals of {len(changes):,} times"
            change = "changes" if len(changes) == 1 else "change"
            sentences.append(
                f"Look-ahead: {times} {change} when later rows are not there (tried with {cuts} earlier ends of the "
                f"data; there are signals at {times_of_signals:,} times). A signal that needs rows after it is "
                "unavailable in trading."
            )
        else:
            sentences.append("Look-ahead: the strategy needs rows that come later.")
        sentences += errors[:1]
        sentences += [changes[time_us] for time_us in sorted(changes)[:SHOWN]]
        if len(changes) > SHOWN:
            sentences.append(f"And {len(changes) - SHOWN:,} more.")
        return sentences

    def _by_chance(self, one: Signals, other: Signals, first: int) -> str:
        ones, others = one.by_time(first, 1), other.by_time(first, 1)
        time_us = min([*ones, *others])
        return (
            "Look-ahead was not looked for: two runs on the same data gave different signals, so the strategy depends "
            f"on chance, on the clock, or on an earlier run. The first is {self._time(time_us)}: "
            f"{_shown(ones.get(time_us, []))}, then {_shown(others.get(time_us, []))}."
        )

    def _report(self, part: float) -> None:
        self._progress(int(part * 1000), 1000)

    def _time(self, time_us: int) -> str:
        time = (_EPOCH + timedelta(microseconds=time_us)).astimezone(self._job.zone).replace(tzinfo=None)
        return time.isoformat(sep=" ", timespec="milliseconds" if time.microsecond else "seconds")


@contextmanager
def _one_of_its_own(strategy_class: type, fresh: bool) -> Iterator[type]:
    """The class out of its module's file, executed anew for this run; the class itself where that cannot be."""
    name = strategy_class.__module__
    known = sys.modules.get(name)
    file = getattr(known, "__file__", None)
    if not fresh or known is None or not file or not file.endswith(".py") or "." in strategy_class.__qualname__:
        yield strategy_class
        return
    spec = spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        try:
            spec.loader.exec_module(module)
            made = getattr(module, strategy_class.__name__)
            ours = made if family_of(made) else strategy_class
        except Exception:
            ours = strategy_class
        yield ours
    finally:
        sys.modules[name] = known


def _shown(signals: list[Signal]) -> str:
    if not signals:
        return "nothing"
    shown = [
        f"{name} {volume:g} at " + ("the market" if price != price else f"{price:.10g}")
        for name, price, volume in signals[:5]
    ]
    return ", ".join(shown) + (f" and {len(signals) - 5} more" if len(signals) > 5 else "")


class _Nowhere(TextIOBase):
    """Swallows a strategy's output, which its first run has shown."""

    def write(self, text: str) -> int:
        return len(text)
