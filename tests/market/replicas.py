"""Two replicas of market and one engine, over loopback gRPC: `m1` records, `m2` does not."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from tests.harness import FakeService, Platform, platform
from tests.machine import free_port
from tests.market.fake_engine import FakeEngine
from tests.market.running_market import Market
from tests.waiting import until

RECORDER, FOLLOWER = "m1", "m2"
USER = "alice"


class Replicas:
    """The replicas by name, each as a `Market` whose stub is the same user's."""

    def __init__(
        self,
        engine: FakeEngine,
        engine_address: str,
        data_dir: Path,
        recorders: Mapping[str, str],
        settings: Mapping[str, Any],
    ) -> None:
        self.engine = engine
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in (RECORDER, FOLLOWER)}
        self.data_dir = data_dir
        self._engine_address = engine_address
        self._recorders = recorders
        self._settings = settings
        self._running: dict[str, tuple[Market, AsyncExitStack]] = {}

    @property
    def recorder(self) -> Market:
        return self._running[RECORDER][0]

    @property
    def follower(self) -> Market:
        return self._running[FOLLOWER][0]

    @property
    def both(self) -> tuple[Market, Market]:
        return self.recorder, self.follower

    async def start(self, name: str) -> None:
        """Start a replica, at the same address each time."""
        stack, requests = AsyncExitStack(), len(self.engine.requests)
        settings = {
            "server": {"port": int(self.addresses[name].rpartition(":")[2])},
            "peers": {"addresses": {"engine": self._engine_address}},
            "market": {
                "replica": name,
                "recorder": self._recorders.get(name, RECORDER),
                "replicas": self.addresses,
                **self._settings,
            },
        }
        running: Platform = await stack.enter_async_context(
            platform("market", settings=settings, data_dir=self.data_dir)
        )
        # Its channel outlives the server's stop, so that clients see what it says at the end.
        client = Platform(running.host, running.mint, running.folder)
        market = Market(client, self.engine)
        market.stub = client.identity(USER, role="user").stub(MarketServiceStub)
        await until(lambda: len(self.engine.requests) > requests, timeout_s=30)
        await market.ready()
        self._running[name] = market, stack

    async def stop(self, name: str) -> None:
        """Stop a replica, which ends its clients' streams."""
        market, stack = self._running.pop(name)
        await stack.aclose()
        await market.platform.channel.close()

    async def stop_all(self) -> None:
        for name in reversed(list(self._running)):
            await self.stop(name)

    async def send(self, *ticks: pb.Tick) -> None:
        """Send ticks and wait until both have them."""
        self.engine.send(*ticks)
        for market in self.both:
            last = ticks[-1].symbol, ticks[-1].sequence
            await until(lambda market=market, last=last: market.last(*last), timeout_s=30)  # type: ignore[misc]


@asynccontextmanager
async def replicas(
    data_dir: Path,
    engine: FakeEngine | None = None,
    recorders: Mapping[str, str] = MappingProxyType({}),
    **settings: Any,
) -> AsyncIterator[Replicas]:
    """Both replicas, started. `recorders` are those that a replica takes for the recorder instead of m1."""
    engine = engine or FakeEngine()
    async with platform(fakes={"engine": FakeService(lambda context: [engine])}) as served:
        pair = Replicas(engine, served.host.address, data_dir, recorders, settings)
        try:
            await pair.start(RECORDER)
            await pair.start(FOLLOWER)
            yield pair
        finally:
            await pair.stop_all()
