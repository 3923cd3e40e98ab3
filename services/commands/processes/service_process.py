"""One process of services: `redfire serve`, started, watched, started again when it ends, and never left behind."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.commands.processes.layout import ProcessSpec
from services.kernel.rpc.client import CHANNEL_OPTIONS
from services.kernel.runtime import parent_death
from services.kernel.tasks import wait_for_event

log = logging.getLogger(__name__)
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.1, 3.0
SETTLED_S = 10.0
"""A process that answered for so long does not crash in a loop."""
LOOP_EXITS = 3
CANNOT_START = 2
"""`redfire serve` says why in one line and exits with this code."""
WATCH_PAUSE_S = 0.1
LAST_LINES = 20


class ServiceProcess:
    """A process that is there until `stop`: when it ends another takes its place, on the same ports."""

    def __init__(
        self,
        spec: ProcessSpec,
        logs: Path,
        on_replaced: Callable[[], None],
        on_crash_loop: Callable[[str], None],
    ) -> None:
        """`on_replaced` is called when it answers, each time; `on_crash_loop` with one line, once for each loop."""
        self.spec = spec
        self.log_file = logs / f"{spec.name}.log"
        self.pid: int | None = None
        self.refusal = ""
        """The reason for which it cannot start at all, in its own words, when it never answered."""
        self._on_replaced = on_replaced
        self._on_crash_loop = on_crash_loop
        self._states = dict.fromkeys(spec.services, "NOT_SERVING")
        self._has_answered = False
        self._answered_pid: int | None = None
        self._answered_at = float("inf")
        self._stopping = asyncio.Event()
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._channel = grpc.aio.insecure_channel(spec.address, options=CHANNEL_OPTIONS)
        self._life = asyncio.create_task(self._keep_running(), name=f"process {spec.name}")
        self._watches = [
            asyncio.create_task(self._watch(service), name=f"health of {service}") for service in spec.services
        ]

    def is_serving(self, service: str) -> bool:
        """Test whether one of its services serves."""
        return self._states[service] == "SERVING"

    def terminate(self) -> None:
        """Have it stop in order, and start no other."""
        self._stopping.set()
        # It would wait for these streams to end.
        for task in self._watches:
            task.cancel()
        self._signal(signal.SIGTERM)

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the end that `terminate` began; False when it takes longer."""
        done, _ = await asyncio.wait([self._life], timeout=timeout_s)
        return bool(done)

    async def close(self) -> None:
        """End it at once if it still runs."""
        self._stopping.set()
        self._signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()
        tasks = [self._life, *self._watches]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._channel.close()

    # Its lives ---------------------------------------------------------------------------------------------------

    async def _keep_running(self) -> None:
        backoff_s, quick_exits = FIRST_BACKOFF_S, 0
        while not self._stopping.is_set():
            self._answered_at = float("inf")
            status = await self._run()
            if self._stopping.is_set():
                return
            words = self._last_lines[-1] if self._last_lines else "it said nothing"
            if status == CANNOT_START and not self._has_answered:
                self.refusal = words
                return
            log.error("process %s ended with %d, starting it again: %s", self.spec.name, status, words)
            if time.monotonic() - self._answered_at > SETTLED_S:
                backoff_s, quick_exits = FIRST_BACKOFF_S, 0
            quick_exits += 1
            if quick_exits == LOOP_EXITS:
                self._on_crash_loop(
                    f"{self.spec.name} ended {quick_exits} times, the last time with {status} ({words}); it is tried "
                    f"again every few seconds, see {self.log_file}"
                )
            await wait_for_event(self._stopping, backoff_s)
            backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)

    async def _run(self) -> int:
        """One life, from start to end; its exit code."""
        command = [
            # Nothing runs between fork and exec in our own process: the program binds itself, then becomes another.
            *(sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid())),
            *(sys.executable, "-P", "-m", "services.cli", "serve", *self.spec.services),
            *("--log-file", str(self.log_file), *self.spec.arguments),
        ]
        self._last_lines.clear()
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **self.spec.variables},
            start_new_session=True,  # Ctrl-C in the terminal is ours to pass on, in order
        )
        self.pid = self._process.pid
        if self._stopping.is_set():
            self._signal(signal.SIGTERM)
        assert self._process.stderr is not None
        # A child of its own may hold the pipe for longer than it lives.
        reader = asyncio.create_task(self._read(self._process.stderr), name=f"errors of {self.spec.name}")
        try:
            status = await self._process.wait()
            await asyncio.wait([reader], timeout=0.5)
        finally:
            reader.cancel()
            self.pid = None
        return status

    async def _read(self, errors: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await errors.readline()
            except ValueError:  # longer than the reader's limit
                continue
            if not line:
                return
            if text := line.decode(errors="replace").strip():
                self._last_lines.append(text.removeprefix("redfire: ")[:500])

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    # Its health --------------------------------------------------------------------------------------------------

    async def _watch(self, service: str) -> None:
        """Follow what it says of one of its services."""
        stub = health_pb2_grpc.HealthStub(self._channel)
        while True:
            try:
                request = health_pb2.HealthCheckRequest(service=service)
                async for message in stub.Watch(request, wait_for_ready=True):
                    self._states[service] = health_pb2.HealthCheckResponse.ServingStatus.Name(message.status)
                    self._note_answer()
            except grpc.aio.AioRpcError as failure:
                log.debug("health of %s cannot be followed: %s", self.spec.name, failure.code())
            self._states[service] = "NOT_SERVING"
            await asyncio.sleep(WATCH_PAUSE_S)

    def _note_answer(self) -> None:
        if self.pid is not None and self.pid != self._answered_pid:
            self._has_answered, self._answered_pid, self._answered_at = True, self.pid, time.monotonic()
            self._on_replaced()
