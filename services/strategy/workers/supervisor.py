"""Keeps workers alive: one per group of strategies, replaced when it exits; the strategy that caused this fails."""

import asyncio
import logging
import math
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from services.kernel.clock import Clock
from services.kernel.identifiers import new_id
from services.kernel.rpc.tls import PLAIN, PeerTls
from services.strategy.runner.main import WorkerConfig
from services.strategy.sandbox.admission import Admission
from services.strategy.sandbox.profile import CODE, Needs
from services.strategy.settings import StrategySettings
from services.strategy.workers.addresses import ports_of, resolve
from services.strategy.workers.assignments import Assignments
from services.strategy.workers.worker_process import WorkerExit, WorkerProcess

log = logging.getLogger(__name__)
_CHECK_S = 0.5
_IDLE_S = 5.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
# Exits without a known cause count together when they come within this time.
_TOGETHER_S = 60.0
_LEAVE_S = 2.3
_SCAN_TRIES = 20
_CATALOGUE = "catalogue"
"""The owner of the process that lists classes: nobody's strategies run in it."""
_FILE_BYTES = 64 << 20
OnFailed = Callable[[str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class PlatformAccess:
    """The platform as the supervisor needs it: folder, addresses (known once it listens), tokens for workers."""

    folder: Path
    address_of: Callable[[str], str]
    worker_token: Callable[[str], str]
    tls: PeerTls = PLAIN


@dataclass(slots=True)
class _Group:
    task: asyncio.Task[None]
    process: WorkerProcess | None = None
    worker_id: str = ""
    exits: list[float] = field(default_factory=list)
    idle_since: float = 0.0


class Supervisor:
    """All worker processes of this service."""

    def __init__(
        self,
        assignments: Assignments,
        access: PlatformAccess,
        admission: Admission,
        settings: Callable[[], StrategySettings],
        clock: Clock,
        may_run_until: Callable[[], float],
    ) -> None:
        """`may_run_until` answers the moment, by `boot_time`, up to which the strategies are certainly ours."""
        self._may_run_until = may_run_until
        self._assignments = assignments
        self._access = access
        self._admission = admission
        self._settings = settings
        self._clock = clock
        self._groups: dict[str, _Group] = {}
        self._on_failed: OnFailed | None = None
        self._wake = asyncio.Event()
        self._draining = False
        # Sources that killed or blocked a scan, and how: not imported again until their folder changes.
        self._skip: dict[str, str] = {}
        self._scans: dict[str, WorkerProcess] = {}

    def on_failed(self, handler: OnFailed) -> None:
        """Call `handler(strategy_id, error)` when a strategy blocked or ended its worker."""
        self._on_failed = handler

    def wake(self) -> None:
        """Assignments changed: look now."""
        self._wake.set()

    async def run(self) -> None:
        """Keep a worker for every group that has strategies, until cancelled."""
        try:
            while True:
                self._wake.clear()
                self._match()
                try:
                    async with asyncio.timeout(_CHECK_S):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            await self.stop()

    async def scan(self, worker_id: str, fresh: bool) -> bool:
        """Have a worker import everything and report the classes; a source that kills it is left out of the next try.

        `fresh`: files changed, so what was left out is tried again. False when it could not be done.
        """
        if fresh:
            self._skip.clear()
        for _ in range(_SCAN_TRIES):
            process = await self._new_process(worker_id, "scan", _CATALOGUE)
            self._scans[worker_id] = process
            try:
                worker_exit = await process.run()
            finally:
                del self._scans[worker_id]
            if worker_exit.clean:
                return True
            sources = [running.owner.removeprefix("import:") for running in worker_exit.blamed]
            if not sources:
                log.warning("strategy classes could not be listed: %s", worker_exit.reason)
                return False
            for source in sources:
                log.warning("strategy file %s: %s", source, worker_exit.reason)
                self._skip[source] = worker_exit.reason
        return False

    def is_scan(self, worker_id: str) -> bool:
        """Return whether this worker lists classes."""
        return worker_id in self._scans

    async def drain(self) -> None:
        """Let workers leave the market in order, as long as there is time."""
        self._draining = True
        tasks = []
        for group in self._groups.values():
            if group.process is not None:
                group.process.expect_end()
            tasks.append(group.task)
        self._assignments.drain()
        if tasks:
            await asyncio.wait(tasks, timeout=_LEAVE_S)

    def end(self, strategy_id: str) -> None:
        """End the worker that has a strategy, at once; it gets another with what else it had."""
        group = self._groups.get(self._assignments.group_of(strategy_id))
        if group is not None and group.process is not None:
            self._assignments.end_worker(group.worker_id)
            group.process.end()
            self._wake.set()

    async def stop(self) -> None:
        """End what still runs."""
        self._draining = True
        tasks = [group.task for group in self._groups.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _match(self) -> None:
        groups = self._assignments.groups()
        now = self._clock.monotonic()
        for name in [name for name, group in self._groups.items() if group.task.done()]:
            if not self._groups[name].task.cancelled() and (error := self._groups[name].task.exception()):
                log.error("supervision of a strategy worker failed", exc_info=error)
            if name not in groups or self._draining:
                del self._groups[name]
        for name in groups:
            group = self._groups.get(name)
            if group is not None:
                group.idle_since = 0.0
            if not self._draining and (group is None or group.task.done()):
                task = asyncio.get_running_loop().create_task(self._keep(name), name=f"strategy worker {name}")
                self._groups[name] = _Group(task, exits=group.exits if group else [])
        for name, group in self._groups.items():
            if name in groups or group.process is None:
                continue
            group.idle_since = group.idle_since or now
            if now - group.idle_since > _IDLE_S:
                group.process.expect_end()
                self._assignments.release(group.worker_id)

    async def _keep(self, name: str) -> None:
        """One group's workers, one after the other, until it needs none."""
        pause_s = _FIRST_PAUSE_S
        while not self._draining:
            group = self._groups[name]
            owner = self._assignments.owner_of(name)
            if not owner:
                return
            group.worker_id = self._assignments.new_worker(name)
            group.process = await self._new_process(group.worker_id, "run", owner)
            started = self._clock.monotonic()
            try:
                worker_exit = await group.process.run()
            finally:
                group.process = None
                self._assignments.end_worker(group.worker_id)
            if worker_exit.clean or self._draining:
                return
            log.warning("a strategy worker exited: %s", worker_exit.reason)
            await self._blame(name, group, worker_exit)
            if name not in self._assignments.groups():
                return
            if self._clock.monotonic() - started > _TOGETHER_S:
                pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _blame(self, name: str, group: _Group, worker_exit: WorkerExit) -> None:
        """Fail the strategy whose code it was. When that is not known, a second exit within a minute splits the group
        in two; a strategy that is alone at the third is the one."""
        present = self._assignments.groups().get(name, [])
        blamed = [running.owner for running in worker_exit.blamed if running.owner in present]
        now = self._clock.monotonic()
        if not blamed:
            group.exits = [at for at in group.exits if now - at < _TOGETHER_S] + [now]
            if len(group.exits) >= 2 and len(present) > 1:
                self._assignments.split(present)
            elif len(group.exits) >= 3 and len(present) == 1:
                blamed = present
        for strategy_id in blamed:
            assert self._on_failed is not None
            await self._on_failed(strategy_id, worker_exit.reason)
        self._wake.set()

    async def _new_process(self, worker_id: str, mode: str, owner: str) -> WorkerProcess:
        settings = self._settings()
        folder = self._access.folder.absolute()
        home, logs = self._folders_of(folder, owner)
        addresses = [await resolve(self._access.address_of(name)) for name in ("strategy", "market", "trading")]
        strategies_dir = settings.strategies_dir.absolute() if settings.strategies_dir else None
        needs = Needs(
            owner,
            read=[folder / CODE, *([strategies_dir] if strategies_dir else [])],
            write=[home],
            memory_bytes=settings.worker_memory_bytes,
            file_bytes=_FILE_BYTES,
            # A scan reports to the service, and trades nothing.
            ports=ports_of(addresses if mode == "run" else addresses[:1]),
        )
        config = WorkerConfig(
            worker_id=worker_id,
            token=self._access.worker_token(worker_id),
            services_ca=self._access.tls.ca.decode(),
            services_name=self._access.tls.name,
            strategy=addresses[0],
            market=addresses[1],
            trading=addresses[2],
            mode=mode,
            strategies_dir=str(strategies_dir) if strategies_dir else "",
            home=str(home),
            heartbeat_file=str(folder / f"heartbeat-{new_id()}"),
            parent=os.getpid(),
            skip={**self._admission.refused_files(strategies_dir), **self._skip},
            sandbox=self._admission.profile(needs),
        )
        # A scan reads files and runs nothing.
        may_run_until = self._may_run_until if mode == "run" else lambda: math.inf
        return WorkerProcess(config, self._settings, logs / f"{owner}.log", may_run_until)

    def _folders_of(self, folder: Path, owner: str) -> tuple[Path, Path]:
        """The home of an owner's processes, which is theirs alone, and the folder of logs."""
        home, logs = folder / "home" / owner, folder / "logs"
        for path in (folder, home.parent, home, logs):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._admission.give(owner, home)
        return home, logs
