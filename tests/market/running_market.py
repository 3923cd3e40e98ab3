"""A market service over loopback gRPC, with a small engine behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.rpc import telemetry
from tests.harness import FakeService, Platform, platform
from tests.market.fake_engine import FakeEngine
from tests.waiting import until

OTHER = "rb2105.SHFE"


class Market:
    """A running market service, its engine, and a user's stub."""

    def __init__(self, running: Platform, engine: FakeEngine) -> None:
        self.platform = running
        self.engine = engine
        self.stub = running.identity(role="user").stub(MarketServiceStub)

    async def ready(self) -> None:
        await until(lambda: self.engine.queues and (self.engine.subscribed or self.engine.started.on_demand))
        await until(self._has_instruments)

    async def _has_instruments(self) -> bool:
        return bool((await self.stub.ListInstruments(pb.ListInstrumentsRequest())).instruments)

    async def send(self, *ticks: pb.Tick) -> None:
        """Send ticks and wait until the last one is known."""
        self.engine.send(*ticks)
        await until(lambda: self.last(ticks[-1].symbol, ticks[-1].sequence))

    async def last(self, symbol: str, sequence: int) -> bool:
        try:
            response = await self.stub.GetTick(pb.GetTickRequest(symbol=symbol))
        except grpc.aio.AioRpcError:
            return False
        return bool(response.tick.sequence >= sequence)


@asynccontextmanager
async def running(
    engine: FakeEngine | None = None, data_dir: Path | None = None, **settings: Any
) -> AsyncIterator[Market]:
    engine = engine or FakeEngine()
    fakes = {"engine": FakeService(lambda context: [engine])}
    async with platform("market", fakes=fakes, settings={"market": settings}, data_dir=data_dir) as running_platform:
        market = Market(running_platform, engine)
        await market.ready()
        yield market


def bar_streams() -> int:
    """Number of open streams of bars."""
    return sum(
        int(sample.value)
        for metric in telemetry.streams.collect()
        for sample in metric.samples
        if "StreamBars" in sample.labels.values()
    )


async def read_ticks(call: Any, count: int) -> list[int]:
    sequences: list[int] = []
    while len(sequences) < count:
        message = await call.read()
        assert message is not grpc.aio.EOF
        sequences += [one.sequence for one in message.ticks]
    return sequences
