"""One worker process as the supervisor sees it: how it is started, watched, and how it died."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from services.quant.sdk.worker_heartbeat import HeartbeatFile, RunningCallback
from services.strategy.runner.main import NOT_MINE, WorkerConfig
from services.strategy.sandbox.control_group import ControlGroup, make_group
from services.strategy.sandbox.disk import empty, is_full
from services.strategy.sandbox.profile import link_code
from services.strategy.sandbox.session import kill_session
from services.strategy.settings import StrategySettings
from services.strategy.workers.processor_waits import ProcessorWaits

_POLL_S = 0.2
_LOG_BYTES = 10_000_000
# What a worker's environment has from ours; everything else, secrets first, stays here.
_PASSED_ON = ("PATH", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "COVERAGE_PROCESS_START")
_DISK_S = 2.0


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """The exit of a worker. `blamed`: the code that caused it, as far as is known; `clean`: it was meant to end."""

    clean: bool
    reason: str
    blamed: tuple[RunningCallback, ...] = ()


class WorkerProcess:
    """Starts one worker and waits for its end."""

    def __init__(
        self,
        config: WorkerConfig,
        settings: Callable[[], StrategySettings],
        log_file: Path,
        may_run_until: Callable[[], float],
    ) -> None:
        """`may_run_until` answers the moment, by `boot_time`, up to which the strategies are certainly ours."""
        self.config = config
        self._may_run_until = may_run_until
        self._settings = settings
        self._log_file = log_file
        self._process: asyncio.subprocess.Process | None = None
        self._heartbeat = HeartbeatFile.create(Path(config.heartbeat_file))
        self._ending = self._is_ended = False
        self._next_look = 0.0
        self._waits = ProcessorWaits()
        self._group: ControlGroup | None = None

    async def run(self) -> WorkerExit:
        """The worker's whole life. Cancelled, it kills it. Raises OSError where it cannot be started."""
        self._group = make_group(self.config.sandbox, self._settings().worker_memory_bytes)
        try:
            return await self._run()
        finally:
            if self._group is not None:
                await self._group.remove()

    async def _run(self) -> WorkerExit:
        with open(self._log_file, "ab") as log:  # noqa: ASYNC230, PTH123
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "services.strategy.runner.main",
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment(Path(self.config.home), self._log_file.parents[1]),
                cwd=self.config.home,
                start_new_session=True,
            )
        assert process.stdin is not None
        try:
            if self._is_ended:
                self.kill()
            self._heartbeat.allow_until(self._may_run_until())
            process.stdin.write(json.dumps(asdict(self.config)).encode() + b"\n")
            await process.stdin.drain()
            return await self._follow(process)
        except (BrokenPipeError, ConnectionResetError):
            await process.wait()
            return WorkerExit(False, "it did not start")
        finally:
            self.kill()
            await process.wait()
            kill_session(process.pid)
            self._heartbeat.close()
            self._heartbeat.remove()

    def expect_end(self) -> None:
        """Expect its end: it was asked to."""
        self._ending = True

    def end(self) -> None:
        """End it at once: what it runs is another's now."""
        self._is_ended = True
        self.kill()

    def kill(self) -> None:
        """End it at once, with all that it started."""
        if self._group is not None:
            self._group.kill()
        if self._process is not None and self._process.returncode is None:
            kill_session(self._process.pid)
            self._process.kill()

    async def _follow(self, process: asyncio.subprocess.Process) -> WorkerExit:
        waiting = asyncio.ensure_future(process.wait())
        try:
            while True:
                done, _ = await asyncio.wait([waiting], timeout=_POLL_S)
                if done:
                    return self._ended(process.returncode or 0)
                self._heartbeat.allow_until(self._may_run_until())
                if worker_exit := self._check(process.pid):
                    self.kill()
                    await process.wait()
                    return worker_exit
        finally:
            waiting.cancel()

    def _check(self, pid: int) -> WorkerExit | None:
        settings = self._settings()
        if self._group is not None:
            self._group.allow_memory(settings.worker_memory_bytes)
        self._waits.look(pid)
        blocked = tuple(
            running
            for running in self._heartbeat.running()
            if self._waits.seconds_since(running.since_ns)
            > (settings.import_timeout_s if running.callback == "import" else settings.callback_timeout_s)
        )
        if blocked:
            limit_s = settings.import_timeout_s if blocked[0].callback == "import" else settings.callback_timeout_s
            return WorkerExit(False, f"blocked for more than {limit_s:g} s in {blocked[0].callback}", blocked)
        beat_ns = self._heartbeat.last_beat_ns()
        is_silent = beat_ns > 0 and self._waits.seconds_since(beat_ns) > settings.callback_timeout_s * 2
        if is_silent and self.config.mode == "run":
            return WorkerExit(False, "the worker was blocked, outside of all callbacks")
        try:
            resident = psutil.Process(pid).memory_info().rss
        except psutil.Error:
            return None
        if resident > settings.worker_memory_bytes:
            return self._out_of_memory()
        home = Path(self.config.home)
        if time.monotonic() > self._next_look:
            self._next_look = time.monotonic() + _DISK_S
            if is_full(home, settings.worker_disk_bytes):
                self.kill()
                empty(home)
                reason = f"it put more than {settings.worker_disk_bytes >> 20} MiB, or too many files, on the disk"
                return WorkerExit(False, reason, tuple(self._heartbeat.running()))
        # Users' code may have deleted it.
        with suppress(FileNotFoundError):
            if self._log_file.stat().st_size > _LOG_BYTES:
                os.truncate(self._log_file, 0)
        return None

    def _ended(self, code: int) -> WorkerExit:
        if self._is_ended or code == NOT_MINE or (self._ending and code == 0):
            return WorkerExit(True, "")
        if self._group is not None and self._group.is_out_of_memory():
            return self._out_of_memory()
        how = f"exit code {code}" if code >= 0 else f"signal {signal_name(-code)}"
        running = tuple(self._heartbeat.running())
        where = f" in {running[0].callback}" if running else ""
        if code == 0 and self.config.mode == "scan" and not running:
            return WorkerExit(True, "")
        return WorkerExit(False, f"ended its worker{where} ({how})", running)

    def _out_of_memory(self) -> WorkerExit:
        reason = f"the worker used more than {self._settings().worker_memory_bytes} bytes of memory"
        return WorkerExit(False, reason, tuple(self._heartbeat.running()))


def signal_name(number: int) -> str:
    """`SIGKILL`; the number of one that has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def environment(home: Path, folder: Path) -> dict[str, str]:
    """The environment of a process that runs users' code. `folder`: the service's own, where its code is shown."""
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # One language, so that vnpy's enums have one value; one thread and one arena for numpy's sake of memory.
    return passed | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONPATH": link_code(folder),
        "LANG": "C.UTF-8",
        "LANGUAGE": "en",
        "PYTHONUNBUFFERED": "1",
        # The working folder is written by users' code, and shared: nothing is imported from there.
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        "GRPC_VERBOSITY": "ERROR",
    }
