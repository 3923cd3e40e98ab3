"""`redfire …` that says where its CPU goes: `python -m tests.bench.profiled FILE up …`.

From SIGUSR1 to SIGUSR2 it takes the stack of the event loop's thread after each millisecond of CPU of the process. Then
it writes to FILE, as JSON, the CPU of each thread by its name, and how many stacks there were in each package of ours:
the innermost of it, so that time in a library counts for who called it.
"""

import json
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from services.cli import main

EVERY_S = 0.001
ELSEWHERE = "event loop and gRPC core"
DEPTH = 3


class Profile:
    """Samples since SIGUSR1."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stacks: Counter[str] = Counter()
        self._before: dict[str, float] = {}
        signal.signal(signal.SIGUSR1, self._begin)
        signal.signal(signal.SIGUSR2, self._end)
        signal.signal(signal.SIGPROF, self._take)

    def _begin(self, *_: Any) -> None:
        self._stacks.clear()
        self._before = _threads_s()
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)

    def _take(self, _: int, frame: Any) -> None:
        while frame is not None:
            module = frame.f_globals.get("__name__", "")
            if module.startswith("services.") and not module.startswith(("services.commands", "services.cli")):
                self._stacks[".".join(module.split(".")[1:DEPTH])] += 1
                return
            frame = frame.f_back
        self._stacks[ELSEWHERE] += 1

    def _end(self, *_: Any) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        threads: Counter[str] = Counter()
        for name, seconds in _threads_s().items():
            threads[name.split(":")[1]] += seconds - self._before.get(name, 0.0)  # type: ignore[assignment]
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps({"threads_s": threads, "stacks": self._stacks}))
        part.rename(self._file)


def _threads_s() -> dict[str, float]:
    """CPU of each thread, by its id and name; those that Python did not begin are gRPC's."""
    names = {str(thread.native_id): thread.name for thread in threading.enumerate()}
    result = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            nanoseconds = int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue  # it has just ended
        result[f"{task.name}:{names.get(task.name, 'gRPC core')}"] = nanoseconds / 1e9
    return result


if __name__ == "__main__":
    Profile(Path(sys.argv[1]))
    sys.argv = ["redfire", *sys.argv[2:]]
    main()
