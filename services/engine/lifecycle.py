"""The engine's life: restored and connected at start, looked after while it runs, drained and stopped."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from services.engine.repository import EngineRepository
from services.engine.settings import EngineSettings
from services.engine.shard_epochs import ShardEpochs
from services.engine.sim.simulation import SIM, Simulation
from services.engine.streams.event_stream import EventStream
from services.engine.streams.heartbeats import Heartbeats
from services.engine.streams.tick_stream import TickStream
from services.engine.symbol_owners import SymbolOwners
from services.engine.vnpy.engine import VnpyEngine
from services.engine.vnpy.gateway_events import GatewayEvents
from services.engine.vnpy.gateways import Gateways
from services.engine.vnpy.venues import VnpyVenues
from services.kernel.data.repositories import Repositories
from services.kernel.tasks import Tasks

_CHECK_S = 0.25
_CHECKS_BETWEEN_SAVES = 120
_CONNECT_S = 5


class EngineLifecycle:
    """Hooks of the engine service."""

    def __init__(
        self,
        settings: EngineSettings,
        repositories: Repositories[EngineRepository],
        engine: VnpyEngine,
        gateways: Gateways,
        simulation: Simulation,
        venues: VnpyVenues,
        owners: SymbolOwners,
        epochs: ShardEpochs,
        incoming: GatewayEvents,
        ticks: TickStream,
        heartbeats: Heartbeats,
        events: EventStream,
        tasks: Tasks,
        run_blocking: Callable[..., Awaitable[Any]],
    ) -> None:
        self._settings = settings
        self._repositories = repositories
        self._engine = engine
        self._gateways = gateways
        self._simulation = simulation
        self._venues = venues
        self._owners = owners
        self._epochs = epochs
        self._incoming = incoming
        self._ticks = ticks
        self._heartbeats = heartbeats
        self._events = events
        self._tasks = tasks
        self._run_blocking = run_blocking

    async def start(self) -> None:
        """Restore the orders of SIM and of the other gateways, begin SIM's market, and connect the gateways."""
        async with self._repositories.read() as repository:
            state = await repository.sim_state()
            seen_ns = self._owners.restore(state)
            await self._simulation.restore(repository, state)
            await self._venues.restore(repository, seen_ns)
            self._epochs.restore(await repository.list_shard_epochs())
        await self._gateways.connect(SIM, wait_s=_CONNECT_S)
        for name, settings in self._settings.gateways.items():
            if settings.auto_connect:
                self._tasks.spawn(f"engine.connect.{name}", self._gateways.connect(name))

    async def run(self) -> None:
        """Do the periodic work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._heartbeats.run())
            tasks.create_task(self._simulation.run())
            tasks.create_task(self._venues.run())
            tasks.create_task(self._watch_trading_day())
            tasks.create_task(self._watch_connections())

    async def drain(self) -> None:
        """Let no new ticks in; the readers get those that there are, and their streams end."""
        await self._simulation.drain()
        await self._venues.drain()
        self._ticks.close()
        self._events.close()

    async def stop(self) -> None:
        """Save what is left, then end vnpy's threads."""
        self._owners.save_primaries()
        self._owners.save_seen()
        await self._venues.stop()
        await self._simulation.stop()
        await self._run_blocking(self._engine.close)

    async def _watch_trading_day(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._incoming.roll()

    async def _watch_connections(self) -> None:
        checks = 0
        while True:
            await asyncio.sleep(_CHECK_S)
            self._gateways.check_connections()
            self._owners.save_primaries()
            checks += 1
            if checks % _CHECKS_BETWEEN_SAVES == 0:
                self._owners.save_seen()
