"""A job's process as the service sees it: how it is started, watched, limited and killed."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from services.strategy.jobs.execution.job_spec import JobSpec
from services.strategy.jobs.execution.progress_file import ProgressReader
from services.strategy.jobs.job import Failure
from services.strategy.sandbox.control_group import ControlGroup, make_group
from services.strategy.sandbox.disk import is_full
from services.strategy.sandbox.session import kill_session
from services.strategy.workers.worker_process import environment, signal_name

_POLL_S = 0.1
_LOG_BYTES = 10_000_000
# More than these beside what the job needs are a fork bomb.
_SPARE_PROCESSES = 16
_DISK_S = 1.0
_ROUNDS = 10
_MARK = "REDFIRE_JOB"
"""Environment variable of a job's process and of all that it starts: the job's folder."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a process and its children together."""

    timeout_s: float
    memory_bytes: int
    processes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class ProcessExit:
    """The exit of a process; no failure: by itself, with its result in its folder."""

    failure: Failure = Failure.NONE
    error: str = ""


class JobProcess:
    """Starts one process and waits for its end."""

    def __init__(
        self, spec: JobSpec, limits: Limits, log_file: Path, give: Callable[[Path], None] = lambda path: None
    ) -> None:
        """`give` makes a file the process's, where that has a user id of its own."""
        self._spec = spec
        self._limits = limits
        self._log_file = log_file
        self._folder = Path(spec.folder)
        self._give = give
        self._next_look = 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._seen: dict[int, psutil.Process] = {}
        self._killed = False
        self._group: ControlGroup | None = None

    async def run(self, on_progress: Callable[[int, int], None]) -> ProcessExit:
        """Its whole life; cancelled, it kills it. `on_progress(done, total)` is called when it has come further.

        Raises OSError where it cannot be started.
        """
        self._group = make_group(self._spec.sandbox, self._limits.memory_bytes)
        try:
            return await self._run(on_progress)
        finally:
            if self._group is not None:
                await self._group.remove()

    async def _run(self, on_progress: Callable[[int, int], None]) -> ProcessExit:
        progress = ProgressReader(self._folder / "progress")
        self._give(self._folder / "progress")
        log = self._log_file.open("ab")
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "services.strategy.jobs.execution.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
                env=environment(Path(self._spec.home), Path(self._spec.root).parent) | {_MARK: self._spec.folder},
                cwd=self._spec.home,
                start_new_session=True,
            )
            if self._killed:
                self.kill()
            try:
                assert process.stdin is not None
                process.stdin.write(json.dumps(asdict(self._spec)).encode() + b"\n")
                await process.stdin.drain()
            except (BrokenPipeError, ConnectionResetError):
                pass  # it ended: its code says how
            return await self._follow(process, progress, log.fileno(), on_progress)
        finally:
            self.kill()
            if self._process is not None:
                await self._process.wait()
            progress.close()
            log.close()

    def ask_to_end(self) -> None:
        """Have it write down its results so far, and end; the caller kills it when that takes too long."""
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(b"\n")

    def kill(self) -> None:
        """End it at once, with all that it started."""
        self._killed = True
        if self._process is None:
            return
        if self._group is not None:
            self._group.kill()
        pid = self._process.pid
        if self._process.returncode is None:
            self._look()
        kill_session(pid)
        # Those that left its session, where it could. psutil makes sure that no number was given anew.
        for child in self._seen.values():
            with suppress(psutil.Error):
                child.kill()
        kill_left(self._folder)

    async def _follow(
        self,
        process: asyncio.subprocess.Process,
        progress: ProgressReader,
        log: int,
        on_progress: Callable[[int, int], None],
    ) -> ProcessExit:
        deadline = time.monotonic() + self._limits.timeout_s
        waiting = asyncio.ensure_future(process.wait())
        last = (0, 0)
        try:
            while True:
                done, _ = await asyncio.wait([waiting], timeout=_POLL_S)
                if (now := progress.read()) != last:
                    last = now
                    on_progress(*now)
                if done:
                    return self._ended(process.returncode or 0)
                if process_exit := self._check(deadline):
                    return process_exit
                if os.fstat(log).st_size > _LOG_BYTES:
                    os.ftruncate(log, 0)
        finally:
            waiting.cancel()

    def _check(self, deadline: float) -> ProcessExit | None:
        limits = self._limits
        if time.monotonic() > deadline:
            return ProcessExit(Failure.TIMED_OUT, f"it took longer than {limits.timeout_s:g} s")
        memory = self._look()
        if memory > limits.memory_bytes:
            return self._out_of_memory()
        if len(self._seen) > limits.processes + _SPARE_PROCESSES:
            return ProcessExit(Failure.EXITED, "it started too many processes")
        if time.monotonic() > self._next_look:
            self._next_look = time.monotonic() + _DISK_S
            if is_full(self._folder, limits.disk_bytes):
                return ProcessExit(Failure.BAD_RESULT, f"it put more than {limits.disk_bytes >> 20} MiB on the disk")
        return None

    def _look(self) -> int:
        """Write down what processes there are; the resident memory of all of them, what they share counted once."""
        assert self._process is not None
        private = shared = 0
        try:
            first = psutil.Process(self._process.pid)
            children = first.children(recursive=True)
        except psutil.Error:
            return 0
        self._seen = {pid: child for pid, child in self._seen.items() if child.is_running()}
        self._seen |= {child.pid: child for child in children}
        for one in (first, *self._seen.values()):
            try:
                memory = one.memory_info()
            except psutil.Error:
                continue
            private += memory.rss - memory.shared
            shared = max(shared, memory.shared)
        return private + shared

    def _ended(self, code: int) -> ProcessExit:
        if code == 0:
            return ProcessExit()
        if self._group is not None and self._group.is_out_of_memory():
            return self._out_of_memory()
        how = f"exit code {code}" if code > 0 else f"signal {signal_name(-code)}"
        return ProcessExit(Failure.EXITED, f"the strategy ended its process ({how})")

    def _out_of_memory(self) -> ProcessExit:
        return ProcessExit(Failure.OUT_OF_MEMORY, f"it used more than {self._limits.memory_bytes >> 20} MiB of memory")


def kill_left(folder: Path) -> None:
    """Kill what a job left running, or all jobs whose folders are in this one: their environment says whose they are.

    Several times, since they may start others meanwhile.
    """
    for _ in range(_ROUNDS):
        left = [process for process in psutil.process_iter() if _is_of(process, folder)]
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        if not left:
            return


def _is_of(process: psutil.Process, folder: Path) -> bool:
    try:
        mark = process.environ().get(_MARK)
    except (psutil.Error, OSError):
        return False
    return mark is not None and Path(mark).is_relative_to(folder) and process.pid != os.getpid()
