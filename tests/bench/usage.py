"""CPU, memory and latencies of a process that measures itself."""

import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WARM_UP = 200
"""Ticks whose latencies do not count."""


class Usage:
    """CPU between the first and the last tick, so that no start of an interpreter counts."""

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None
        self._ended = (0.0, 0.0)
        self.now_ns = time.perf_counter_ns

    def begin(self) -> None:
        """A tick came."""
        if self._began is None:
            self._began = time.perf_counter(), time.process_time()

    def end(self) -> None:
        """It is done with."""
        self._ended = time.perf_counter(), time.process_time()

    def result(self, count: int) -> dict[str, Any]:
        """Ticks a second, seconds of CPU, megabytes."""
        began = self._began or self._ended
        wall_s, cpu_s = self._ended[0] - began[0], self._ended[1] - began[1]
        return {
            "ticks_s": round(count / wall_s) if wall_s > 0 else 0,
            "cpu_s": cpu_s,
            "rss_mb": peak_mb(),
        }


def peak_mb() -> int:
    """The most memory that this program took: getrusage has that of the one which started it, if that was more."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def percentiles(latencies_ns: Sequence[float], warm_up: int = WARM_UP) -> dict[str, float]:
    """p50, p99 and the highest, in µs."""
    ranked = sorted(latencies_ns[warm_up:]) or [0.0]
    place = len(ranked) - 1
    return {
        "p50_us": round(ranked[int(place * 0.5)] / 1e3, 1),
        "p99_us": round(ranked[int(place * 0.99)] / 1e3, 1),
        "max_us": round(ranked[place] / 1e3, 1),
    }


class Meter:
    """CPU of this process from `begin` on, all threads, and its memory."""

    def __init__(self) -> None:
        self._began_s = time.process_time()

    def begin(self) -> None:
        """Count from here on."""
        self._began_s = time.process_time()

    def figures(self, count: int) -> dict[str, float]:
        """CPU in µs for each tick published, and the memory at present in MB."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return {
            "server_us": (time.process_time() - self._began_s) / count * 1e6,
            "server_mb": pages * resource.getpagesize() >> 20,
        }
