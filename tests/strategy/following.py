"""A strategy's feed that follows a real market, whose engine a test plays."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from services.strategy.runner.connections import Connections
from tests.harness import FakeService, Platform, platform
from tests.market.fake_engine import FakeEngine
from tests.waiting import until


class Following(Protocol):
    """A follower of market, by these connections."""

    connections: Connections

    async def follow(self) -> None:
        """Follow until cancelled."""


F = TypeVar("F", bound=Following)


@asynccontextmanager
async def following(engine: FakeEngine, data_dir: Path, make: Callable[[Platform], F]) -> AsyncIterator[F]:
    """Run what `make` returns for a market at this engine: it follows the market meanwhile."""
    fakes = {"engine": FakeService(lambda context: [engine])}
    async with platform("market", fakes=fakes, data_dir=data_dir) as running:
        await until(lambda: engine.subscribed and engine.queues)
        follower = make(running)
        task = asyncio.ensure_future(follower.follow())
        try:
            yield follower
        finally:
            task.cancel()
            await asyncio.wait([task])
            await follower.connections.close()
