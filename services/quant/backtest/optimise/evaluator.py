"""Evaluation of points in one worker process: the strategy class, the data made ready once, a run for each point."""

import contextlib
import gc
import importlib
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from services.quant.backtest.engine.vnpy_import import prepare_vnpy
from services.quant.backtest.job import BacktestError, BacktestJob
from services.quant.backtest.optimise.arrow_file import read_arrow
from services.quant.backtest.optimise.point import Answer, Statistics, Task
from services.quant.backtest.result import BacktestResult, last_line
from services.quant.sdk.loading import USER_MODULE, Loader, UnknownClass, import_error
from services.quant.sdk.strategy_class import ClassDescription, describe


@dataclass(frozen=True, slots=True)
class ClassSource:
    """The source of the strategy class for workers: the user's folder, its files' text for machines without it, or the
    module that it can be imported from.
    """

    folder: Path | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    module: str = ""

    @classmethod
    def of(cls, strategy_class: type) -> "ClassSource":
        """Return the source of a class that is imported already."""
        module = sys.modules[strategy_class.__module__]
        if module.__name__.startswith(USER_MODULE) and module.__file__:
            return cls(Path(module.__file__).parent)
        return cls(module=module.__name__)

    def portable(self) -> "ClassSource":
        """The same with the folder's files inside, to be sent to another machine."""
        if self.folder is None or not self.folder.is_dir():
            return self
        return ClassSource(files={path.name: path.read_bytes() for path in sorted(self.folder.glob("*.py"))})

    def load(self, class_name: str, scratch: Path) -> type:
        """The class of this name. Raises BacktestError with one line when there is none or its file fails."""
        try:
            if self.module:
                loaded: type = getattr(importlib.import_module(self.module), class_name)
                return loaded
            return Loader(self._unpacked(scratch) if self.files else self.folder).load(class_name)
        except UnknownClass as unknown:
            raise BacktestError(str(unknown), "class_name") from None
        except (Exception, SystemExit) as error:
            raise BacktestError(f"{class_name}: {import_error(error, None)}", "class_name") from None

    def _unpacked(self, scratch: Path) -> Path:
        folder = scratch / "strategies"
        folder.mkdir(exist_ok=True)
        for name, text in self.files.items():
            (folder / Path(name).name).write_bytes(text)
        return folder


@dataclass(frozen=True, slots=True)
class Setup:
    """The setup of a worker, sent before its first task. `data` is the Arrow file, or its bytes for another machine;
    `scratch` a folder for vnpy's files (a machine of a cluster makes its own).
    """

    job: BacktestJob
    source: ClassSource
    data: Path | bytes
    scratch: Path


class Evaluator:
    """Runs points of one search; user code runs here and nowhere else. Raises BacktestError from its construction."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        (setup.scratch / ".vntrader").mkdir(parents=True, exist_ok=True)
        with contextlib.chdir(setup.scratch):  # where vnpy leaves its files: a worker that is killed cannot tidy up
            prepare_vnpy()
        self._class = setup.source.load(setup.job.class_name, setup.scratch)
        self.description: ClassDescription = describe(self._class)
        if self.description.error:
            raise BacktestError(self.description.error, "class_name")

    @cached_property
    def _replay(self) -> Any:
        from services.quant.backtest.engine.replay import Replay

        job = self._setup.job
        replay = Replay(read_arrow(self._setup.data), job.zone, keep=True, symbol=job.symbol)
        replay.rows(0, len(replay))
        # Data and modules stay for good: the collector need not walk through them; it is called after every point.
        gc.collect()
        gc.freeze()
        gc.disable()
        return replay

    def prepare(self) -> None:
        """Make the data ready before the first point. Raises BacktestError when they do not fit the job."""
        from services.quant.backtest.engine.run import replay_of

        replay_of(self._setup.job, self._replay)

    def evaluate(self, task: Task) -> Answer:
        """Run one point. Whatever the strategy raises is in the answer; only the end of the process is not."""
        from services.quant.backtest.run import run_backtest

        job = self._setup.job
        job = replace(
            job,
            parameters={**job.parameters, **task.parameters},
            start=task.start or job.start,
            end=task.end or job.end,
        )
        replay = self._replay
        gc.collect()  # what the last point has left
        try:
            result = run_backtest(self._class, job, replay)
        except (Exception, SystemExit) as error:
            return Answer(task, error=_one_line(error), traceback=traceback.format_exc())
        if result.error:
            return Answer(task, error=last_line(result.error), traceback=result.error)
        return Answer(task, _plain(result.statistics), result=_portable(result) if task.whole else None)


def _portable(result: BacktestResult) -> BacktestResult:
    """The result without what was made for this process only, and without its logs."""
    return replace(result, trades=tuple(result.trades), days=tuple(result.days), logs=())


def _plain(statistics: Statistics) -> Statistics:
    """Python's own numbers: they travel in half the bytes."""
    return {name: value.item() if hasattr(value, "item") else value for name, value in statistics.items()}


def _one_line(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()
