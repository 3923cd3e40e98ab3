"""The workers of a Dask cluster: the same points, run by whichever machines the scheduler has.

Dask sends pickles: only connect to a scheduler that you trust, and let it trust you.
"""

import atexit
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from services.kernel.identifiers import new_id
from services.quant.backtest.data.dataset import Dataset
from services.quant.backtest.job import BacktestError, BacktestJob
from services.quant.backtest.optimise.arrow_file import write_arrow
from services.quant.backtest.optimise.evaluator import ClassSource, Evaluator, Setup
from services.quant.backtest.optimise.point import Answer, Task
from services.quant.sdk.strategy_class import ClassDescription

_CONNECT_S = 10
# Workers that a point ended are started anew by their cluster.
_WORKERS_S = 30
_POLL_S = 0.1
# Points on their way to each thread of the cluster: a network's answer takes longer than a pipe's.
_AHEAD = 3
_SAID = 200
# A worker runs one point at a time, whatever the number of its threads: strategies share what vnpy shares.
_one_at_a_time = threading.Lock()
# In a worker: what the searches that use it have sent.
_setups: dict[str, Setup] = {}


class ClusterWorkers:
    """Answers tasks on the cluster at `address` (tcp://host:port). Close it, or use it with `with`.

    Raises BacktestError when no scheduler answers there, or it has no workers.
    """

    def __init__(self, source: ClassSource, job: BacktestJob, data: Dataset, address: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            missing = "the packages of a Dask cluster are not installed: .venv/bin/uv pip install -e '.[cluster]'"
            raise BacktestError(missing, "dask") from None

        try:
            self._client = Client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            what = str(error).splitlines()[0][:_SAID] if str(error) else type(error).__name__
            raise BacktestError(f"no Dask scheduler answers at {address}: {what}", "dask") from None
        try:
            self._client.wait_for_workers(1, timeout=_WORKERS_S)
        except TimeoutError:
            self._client.close()
            raise BacktestError(f"the Dask cluster at {address} has no workers", "dask") from None
        threads = self._client.nthreads()
        self.count = len(threads)
        with tempfile.TemporaryDirectory(prefix="redfire-optimise-") as folder:
            path = Path(folder, "data.arrow")
            write_arrow(data, path)
            setup = Setup(job, source.portable(), path.read_bytes(), Path())
        self._key = new_id()
        # A plugin, not scattered data: the scheduler gives it to workers that come later, or come back, too.
        self._client.register_plugin(_plugin(self._key, setup), name=self._key)

    def describe(self) -> ClassDescription:
        """The class as a worker sees it. Raises BacktestError when it cannot be loaded."""
        result = self._result(self._client.submit(_describe, self._key, pure=False))
        if isinstance(result, tuple):
            raise BacktestError(*result)
        if not isinstance(result, ClassDescription):
            raise BacktestError(f"the Dask cluster cannot run backtests: {result}", "dask")
        return result

    def answers(self, tasks: Iterable[Task], should_stop: Callable[[], bool]) -> Iterator[Answer]:
        """Each task's answer, as they come. Ends early when `should_stop`."""
        from distributed import wait

        coming = iter(tasks)
        running: dict[Any, Task] = {}
        while not should_stop():
            for task in islice(coming, self.count * _AHEAD - len(running)):
                running[self._client.submit(_evaluate, self._key, task, pure=False)] = task
            if not running:
                return
            try:
                with self._client.as_current():
                    done = wait(list(running), timeout=_POLL_S, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                continue
            for future in done:
                task, result = running.pop(future), self._result(future)
                yield result if isinstance(result, Answer) else Answer(task, error=str(result))
        self._client.cancel(list(running))

    def close(self) -> None:
        """Leave the cluster, which stays, and take what was left on its workers."""
        with suppress(Exception):  # a cluster that is gone has nothing left
            self._client.unregister_worker_plugin(self._key)
        self._client.close()

    def __enter__(self) -> "ClusterWorkers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _result(self, future: Any) -> Any:
        """Return its result; one line of text when it has none, for instance because its worker died."""
        try:
            return future.result()
        except Exception as error:
            return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:_SAID] if str(error) else ''}"


def _plugin(key: str, setup: Setup) -> Any:
    from distributed import WorkerPlugin

    class Plugin(WorkerPlugin):
        """Brings the setup to every worker, and takes it away again."""

        def setup(self, worker: Any) -> None:
            _keep(key, setup)

        def teardown(self, worker: Any) -> None:
            _forget(key)

    return Plugin()


def _keep(key: str, setup: Setup) -> None:
    _setups[key] = setup


def _forget(key: str) -> None:
    _setups.pop(key, None)
    _evaluator_of.cache_clear()


@lru_cache(maxsize=1)
def _evaluator_of(key: str) -> Evaluator:
    folder = tempfile.mkdtemp(prefix="redfire-optimise-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Evaluator(replace(_setups[key], scratch=Path(folder)))


def _describe(key: str) -> ClassDescription | tuple[str, str]:
    try:
        with _one_at_a_time:
            evaluator = _evaluator_of(key)
            evaluator.prepare()
            return evaluator.description
    except BacktestError as error:
        return str(error), error.field


def _evaluate(key: str, task: Task) -> Answer:
    with _one_at_a_time:
        return _evaluator_of(key).evaluate(task)
