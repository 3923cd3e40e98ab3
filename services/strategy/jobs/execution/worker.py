"""The process of one backtest or optimisation: imports the user's class, runs it, writes the results, ends.

Its specification comes as one line of JSON on standard input (`JobSpec`). It has no token and no connections. When
that input ends its parent is gone, and so it ends too. A second line asks it to end with its results so far.
"""

import json
import logging
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from services.kernel.runtime.parent_death import become_subreaper, end_with_parent
from services.strategy.jobs.execution.job_spec import JobSpec
from services.strategy.sandbox.entry import enter_from

_FILE_BYTES = 1 << 30
# Address space beside the limit of memory: libraries and maps that are never touched.
_SPARE_BYTES = 4 << 30
_PRINTED = 100_000
_NICE = 10
TEMPORARY = "tmp"
"""The folder of temporary files of libraries and user code, below the job's folder."""


class CapturedOutput:
    """Captures the first of user code's output: standard output of the process leads nowhere."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._left = _PRINTED

    def write(self, text: str) -> int:
        """Keep the text while it is below the limit."""
        if self._left > 0:
            self._parts.append(text[: self._left])
            self._left -= len(text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def lines(self) -> list[str]:
        """The captured output, line by line."""
        return [line for line in "".join(self._parts).splitlines() if line.strip()]


def main() -> None:
    """Run one job."""
    line = sys.stdin.readline()
    try:
        spec = JobSpec(**json.loads(line))
    except (ValueError, TypeError) as error:
        print(f"a job's specification is one line of JSON on standard input: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    _limit(spec.memory_bytes)
    enter_from(spec.sandbox)
    # Children that others leave behind become this process's: it is killed with all of them.
    become_subreaper()
    end_with_parent(spec.parent)
    asked_to_end = threading.Event()
    threading.Thread(target=_end_with_input, args=(asked_to_end,), daemon=True).start()
    # Ctrl-C at the terminal is for the service, which says when a job ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.dont_write_bytecode = True
    os.umask(0o077)
    logging.basicConfig(level="WARNING")
    Path(spec.home, ".vntrader").mkdir(parents=True, exist_ok=True)
    os.chdir(spec.home)
    temporary = Path(spec.folder, TEMPORARY)
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    printed = CapturedOutput()
    sys.stdout = printed
    code = _run(spec, printed, asked_to_end.is_set)
    # Threads that user code left behind do not keep it alive.
    os._exit(code)


def _limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    limit = memory_bytes + _SPARE_BYTES
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with suppress(OSError):
        os.nice(_NICE)
    with suppress(OSError):
        # When the machine's memory ends, this goes and not the platform.
        Path("/proc/self/oom_score_adj").write_text("1000")


def _run(spec: JobSpec, printed: CapturedOutput, should_stop: Callable[[], bool]) -> int:
    """The job, whatever user code does to it; the exit code."""
    from services.quant.backtest.job import BacktestError
    from services.strategy.jobs.execution.folder import JobFolder, Outcome
    from services.strategy.jobs.execution.progress_file import ProgressFile
    from services.strategy.jobs.execution.work import run_job
    from services.strategy.jobs.job import Failure

    folder = JobFolder(Path(spec.root), spec.job_id)
    progress = ProgressFile(Path(spec.folder) / "progress")
    try:
        outcome = run_job(spec, folder, progress.write, printed.lines, should_stop)
    except BacktestError as error:
        outcome = Outcome(Failure.INVALID, str(error))
    except MemoryError:
        outcome = Outcome(Failure.OUT_OF_MEMORY, f"it used more than {spec.memory_bytes >> 20} MiB of memory")
    except SystemExit as error:
        outcome = Outcome(Failure.EXITED, f"the strategy ended its process (sys.exit({error.code!r}))")
    except BaseException as error:
        detail = traceback.format_exc()
        outcome = Outcome(Failure.STRATEGY_RAISED, _line(error), detail)
    folder.write_outcome(outcome)
    return 0


def _line(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()


def _end_with_input(asked_to_end: threading.Event) -> None:
    """Another line asks for the end; no more of them: the parent is gone."""
    while os.read(0, 4096):
        asked_to_end.set()
    os._exit(0)


if __name__ == "__main__":
    main()
