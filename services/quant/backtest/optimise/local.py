"""The workers of this machine: processes that share the data by mapping one file, replaced when one dies."""

import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from signal import Signals
from typing import Any

from services.quant.backtest.data.dataset import Dataset
from services.quant.backtest.job import BacktestError, BacktestJob
from services.quant.backtest.optimise.arrow_file import write_arrow
from services.quant.backtest.optimise.evaluator import ClassSource, Setup
from services.quant.backtest.optimise.point import READY, Answer, Task
from services.quant.sdk.strategy_class import ClassDescription

_POLL_S = 0.1
# A worker has its next task at hand while points are quicker than this: it never waits for us. Slow points are given
# out one by one, so that none waits behind another at the end.
_AHEAD_BELOW_S = 0.5
_TRIES = 2
_STARTS = 3
# One thread each: the processes are the parallelism.
_ENVIRONMENT: Mapping[str, str] = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "PYTHONFAULTHANDLER": "1",
}


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: "Connection[Any, Any]"
    log: Path
    ready: bool = False
    tasks: deque[Task] = field(default_factory=deque)
    since: float = 0.0
    """Start of the first of its tasks, by time.monotonic."""


class LocalWorkers:
    """Processes that answer tasks; they start when this is made. Close it, or use it with `with`.

    `point_timeout_s` ends a point, and its worker, that takes longer.
    """

    def __init__(
        self, source: ClassSource, job: BacktestJob, data: Dataset, count: int, point_timeout_s: float | None = None
    ) -> None:
        self.count = count
        self._timeout_s = point_timeout_s
        self._folder = tempfile.TemporaryDirectory(prefix="redfire-optimise-", ignore_cleanup_errors=True)
        self._path = Path(self._folder.name)
        self._setup = Setup(job, source, self._path / "data.arrow", self._path)
        self._logs = 0
        self._failed_starts = 0
        self._seconds_a_point = 0.0
        self._description: ClassDescription | None = None
        self._workers: list[_Worker] = []
        try:
            self._workers += [self._start() for _ in range(count)]
            # Meanwhile they import.
            write_arrow(data, self._path / "data.arrow")
            for worker in self._workers:
                worker.connection.send(self._setup)
        except BaseException:
            self.close()
            raise

    def describe(self) -> ClassDescription:
        """The class as the first worker that has it sees it. Raises BacktestError when it cannot be loaded."""
        while self._description is None:
            self._step(deque(), {}, None)
        return self._description

    def answers(self, tasks: Iterable[Task], should_stop: Callable[[], bool]) -> Iterator[Answer]:
        """Each task's answer, as they come; tasks are taken when a worker has room. Ends early when `should_stop`."""
        coming = iter(tasks)
        again: deque[Task] = deque()
        tries: dict[int, int] = {}
        while not should_stop():
            self._give_out(coming, again)
            if not any(worker.tasks for worker in self._workers):
                return
            yield from self._step(again, tries, _POLL_S)

    def close(self) -> None:
        """End the processes at once, whatever they do."""
        for worker in self._workers:
            worker.process.kill()
            worker.connection.close()
        for worker in self._workers:
            worker.process.wait()
        self._workers.clear()
        self._folder.cleanup()

    def __enter__(self) -> "LocalWorkers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> _Worker:
        self._logs += 1
        log = self._path / f"worker-{self._logs}.log"
        ours, theirs = Pipe()
        with theirs, log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  our own program # nosec B603
                [sys.executable, "-P", "-m", f"{__package__}.worker", str(theirs.fileno()), str(os.getpid())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # what strategies print would come between the results
                stderr=output,
                env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
            )
        return _Worker(process, ours, log)

    def _give_out(self, coming: Iterator[Task], again: deque[Task]) -> None:
        """A task for every worker without one, then, of quick ones, a second."""
        for depth in range(2 if self._seconds_a_point < _AHEAD_BELOW_S else 1):
            for worker in self._workers:
                if len(worker.tasks) > depth:
                    continue
                task = again.popleft() if again else next(coming, None)
                if task is None:
                    return
                if not worker.tasks:
                    worker.since = time.monotonic()
                worker.tasks.append(task)
                with suppress(OSError):  # it died: reading from it says so
                    worker.connection.send(task)

    def _step(self, again: deque[Task], tries: dict[int, int], timeout_s: float | None) -> list[Answer]:
        """Wait for something to happen, and see to it."""
        answers = []
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), timeout_s):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                answers += self._replace(worker, again, tries, self._how_it_ended(worker))
            else:
                answers += self._received(worker, message)
        if self._timeout_s is not None:
            for worker in list(self._workers):
                if worker.ready and worker.tasks and time.monotonic() - worker.since > self._timeout_s:
                    reason = f"took longer than {self._timeout_s:g} s"
                    tries[worker.tasks[0].number] = _TRIES
                    answers += self._replace(worker, again, tries, reason)
        return answers

    def _received(self, worker: _Worker, message: object) -> list[Answer]:
        now = time.monotonic()
        match message:
            case Answer() as answer:
                worker.tasks.popleft()
                self._seconds_a_point = now - worker.since
                worker.since = now
                return [answer]
            case ClassDescription() as description:
                self._description = description
                return []
            case str() if message == READY:
                worker.ready = True
                worker.since = now
                self._failed_starts = 0
                return []
            case (str() as text, str() as name):
                raise BacktestError(text, name)
        raise TypeError(f"a worker answered {message!r}")

    def _replace(self, worker: _Worker, again: deque[Task], tries: dict[int, int], reason: str) -> list[Answer]:
        """A new worker for one that ended. Its first task is tried once more: it may have died of something else."""
        worker.process.kill()
        worker.process.wait()
        worker.connection.close()
        place = self._workers.index(worker)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts > _STARTS:
                raise BacktestError(f"the workers of the optimisation do not start: {reason}")
        self._workers[place] = fresh = self._start()
        with suppress(OSError):
            fresh.connection.send(self._setup)
        answers = []
        if worker.ready and worker.tasks:
            first = worker.tasks.popleft()
            tries[first.number] = tries.get(first.number, 0) + 1
            if tries[first.number] < _TRIES:
                again.append(first)
            else:
                answers.append(Answer(first, error=reason))
        again.extend(worker.tasks)
        return answers

    def _how_it_ended(self, worker: _Worker) -> str:
        code = worker.process.wait()
        names = {one.value: one.name for one in Signals}  # real-time signals have none
        how = f"exit code {code}" if code >= 0 else f"signal {names.get(-code, -code)}"
        lines = [line for line in worker.log.read_text(errors="replace").splitlines() if line.strip()]
        return f"the worker process ended with {how}" + (f": {lines[-1].strip()}" if lines and code > 0 else "")
