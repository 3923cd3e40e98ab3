"""One run of trading after the other on the same data, each of which may be killed between any two callbacks."""

import asyncio
import contextvars
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from redfire.trading.v1.account_service_pb2_grpc import AccountServiceStub
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub
from redfire.trading.v1.reconciliation_service_pb2_grpc import ReconciliationServiceStub

from services import registry
from services.kernel.rpc.channels import LocalChannel
from services.kernel.runtime import settings as kernel_settings
from services.kernel.runtime.host import Host
from services.kernel.runtime.service_context import ServiceContext
from services.kernel.tasks import Tasks
from tests.harness import SECRET, FakeService, TokenMint, service_keys_dir
from tests.simulated_time import SimulatedClock, SimulatedLoop
from tests.trading.model.market import MarketApi
from tests.trading.model.risk import RiskApi
from tests.trading.model.venue import EngineApi, Venue

MEMORY = Path("/dev/shm")
SETTINGS = {
    "paper_cash": 1_000_000_000, "unknown_grace_s": 6.0, "reconcile_interval_s": 5.0, "resume_window": 1000,
    "senders": 8,
}  # fmt: skip
LIFE_S = 86400 * 365 * 20.0


class _Tasks(Tasks):
    """Tasks of a dead process do not begin."""

    dead = False

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, Any], *, awaited: bool = False) -> asyncio.Task[Any]:
        task = super().spawn(name, coroutine, awaited=awaited)
        if self.dead:
            task.cancel()
        return task


class _Host(Host):
    """A host without a network: services of one process call each other past the socket, through the same gate."""

    async def start(self) -> None:
        for name in self.names:
            self._registry[name].bind(name, ServiceContext(self.resources, name))
        for database in self.resources.databases:
            await database.start()
        await self.lifecycle.start()
        await self.resources.take_shards()
        self.resources.start_background()

    def kill(self) -> None:
        """Stop all at once: nothing is written, sent or answered any more."""
        self.tasks.dead = True
        for database in self.resources.databases:
            if database._writer is not None:
                database._writer.dead = True

    async def close(self) -> None:
        for database in self.resources.databases:
            await database.close()
        self.resources.tracing.close()


class Run:
    """One life of trading."""

    def __init__(
        self, number: int, folder: Path, venue: Venue, clock: SimulatedClock, mint: TokenMint, keeps_hours: bool
    ) -> None:
        self.number, self.folder, self.mint = number, folder, mint
        fakes = {
            "engine": FakeService(lambda process: [EngineApi(venue)]),
            "market": FakeService(lambda process: [MarketApi(venue.market)]),
            "risk": FakeService(lambda process: [RiskApi(venue.line)], calls=["trading"]),
        }
        flags: dict[str, dict[str, Any]] = {
            "platform": {"data_dir": folder}, "identity": {"edge_secret": SECRET, "keys_dir": service_keys_dir()},
            "trading": {**SETTINGS, "enforce_sessions": keeps_hours},
        }  # fmt: skip
        loaded = kernel_settings.load(registry.sections(), flags=flags, environ={})
        self.host = _Host({**registry.SERVICES, **fakes}, ["trading", *fakes], loaded, clock, mint.keys, _Tasks())
        self.dead = False

    def stub(self, stub: Any, user_id: str, role: str = "trader") -> Any:
        token = self.mint.token(user_id, role, life_s=LIFE_S)
        return stub(_Authorized(LocalChannel(self.host.handlers, "edge"), token))

    def orders(self, user_id: str) -> Any:
        return self.stub(OrderServiceStub, user_id)

    def reconciliation(self) -> Any:
        return self.stub(ReconciliationServiceStub, "admin", "admin")

    def of_risk(self) -> Any:
        return OrderServiceStub(LocalChannel(self.host.handlers, "risk"))

    def accounts(self, user_id: str) -> Any:
        return self.stub(AccountServiceStub, user_id)

    @property
    def ready(self) -> bool:
        return not self.host.lifecycle.waiting_for("trading")


class _Authorized:
    def __init__(self, channel: LocalChannel, token: str) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {token}"),)

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        rpc = self._channel.unary_unary(*args, **kwargs)
        return lambda request, timeout=None: rpc(request, timeout=timeout, metadata=self._metadata)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        rpc = self._channel.unary_stream(*args, **kwargs)
        return lambda request, timeout=None: rpc(request, timeout=timeout, metadata=self._metadata)


class Platform:
    """Trading across its lives. What it did not make durable is gone with each."""

    def __init__(self, loop: SimulatedLoop, venue: Venue, clock: SimulatedClock, keeps_hours: bool = False) -> None:
        self._keeps_hours = keeps_hours
        self.loop, self.venue, self.clock = loop, venue, clock
        self.root = Path(tempfile.mkdtemp(prefix="redfire-model-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
        self.mint = TokenMint()
        self.mint.clock = clock
        self.run: Run | None = None
        self._numbers = itertools.count()
        self._next_folder = self.root / "0"
        self._own: set[asyncio.Task[Any]] = set()
        self._remains: list[Run] = []
        self.on_killed: Callable[[], None] = lambda: None

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that outlives trading."""
        # Of its own: it may be begun by a callback of the life that it outlives.
        task = self.loop.create_task(coroutine, context=contextvars.Context())
        self._own.add(task)
        task.add_done_callback(self._own.discard)
        return task

    @property
    def folder(self) -> Path:
        """The folder of the data of this life, or of the next one."""
        return self.run.folder if self.run is not None else self._next_folder

    async def start(self) -> Run | None:
        """Begin another life; None when it was killed at once."""
        assert self.run is None
        for _ in range(20):
            await asyncio.sleep(0)  # what was cancelled ends
        for old in self._remains:
            await old.host.close()
            shutil.rmtree(old.folder, ignore_errors=True)
        self._remains.clear()
        number = next(self._numbers)
        run = Run(number, self._next_folder, self.venue, self.clock, self.mint, self._keeps_hours)
        self.run = run
        starting = self.loop.create_task(run.host.start())
        try:
            await starting
        except asyncio.CancelledError:
            if not run.dead:
                raise
        return None if run.dead else run

    def kill(self) -> None:
        """Kill as kill -9 does: what is on disk now is all that is left. Safe between any two callbacks."""
        run = self.run
        if run is None:
            return
        self.run, run.dead = None, True
        run.host.kill()
        self._next_folder = self.root / str(run.number + 1)
        self._next_folder.mkdir()
        for pattern in ("*.sqlite", "*.sqlite-wal"):
            for path in run.folder.glob(pattern):
                shutil.copyfile(path, self._next_folder / path.name)
        running = asyncio.current_task(self.loop)
        for task in asyncio.all_tasks(self.loop):
            if task not in self._own and task is not running:
                task.cancel()
        self._remains.append(run)
        self.on_killed()

    async def close(self) -> None:
        """Stop for good."""
        self.on_killed = lambda: None
        self.kill()
        for _ in range(50):
            await asyncio.sleep(0)
        for task in self._own - {asyncio.current_task()}:
            task.cancel()
        for old in self._remains:
            await old.host.close()
        shutil.rmtree(self.root, ignore_errors=True)
