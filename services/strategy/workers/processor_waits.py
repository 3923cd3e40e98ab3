"""The time for which a process was ready to run and no processor was free: on a busy machine that is not its fault."""

import time
from bisect import bisect_right
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_KEPT = 4096


@dataclass(frozen=True, slots=True)
class _Look:
    """The main thread at a moment; times in nanoseconds, `waited_ns` as reckoned here."""

    moment_ns: int
    ran_ns: int
    queued_ns: int
    waited_ns: int


class ProcessorWaits:
    """Waits of a process's main thread for a processor, by the moments at which it was looked at.

    Where there is no /proc (another system than Linux) there are none.
    """

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque([_Look(time.monotonic_ns(), 0, 0, 0)], maxlen=_KEPT)

    def look(self, pid: int) -> None:
        """Note how long the process has waited since the last look."""
        last, now_ns = self._looks[-1], time.monotonic_ns()
        ran_ns, queued_ns, waited_ns = last.ran_ns, last.queued_ns, 0
        with suppress(OSError, ValueError, IndexError):
            # Its time on a processor and in the queue for one; the latter is counted once it gets one.
            ran_ns, queued_ns = (int(word) for word in Path(f"/proc/{pid}/schedstat").read_text().split()[:2])
            is_ready = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "R"
            passed_ns = now_ns - last.moment_ns
            waited_ns = passed_ns - (ran_ns - last.ran_ns) if is_ready else queued_ns - last.queued_ns
            waited_ns = min(max(waited_ns, 0), passed_ns)
        self._looks.append(_Look(now_ns, ran_ns, queued_ns, last.waited_ns + waited_ns))

    def seconds_since(self, since_ns: int) -> float:
        """Seconds from a moment of the monotonic clock to the last look, without the waits between."""
        index = max(0, bisect_right(self._looks, since_ns, key=lambda look: look.moment_ns) - 1)
        before, last = self._looks[index], self._looks[-1]
        return max(0, last.moment_ns - since_ns - (last.waited_ns - before.waited_ns)) / 1e9
