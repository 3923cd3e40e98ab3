"""A small engine: a real servicer of EngineService that sends what a test gives it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from redfire.engine.v1 import engine_pb2 as pb
from redfire.engine.v1 import engine_pb2_grpc as rpc
from redfire.market.v1 import market_pb2

from services.kernel.errors import Unavailable
from services.kernel.rpc.call import Call
from tests.harness import complete
from tests.market.ticks import SYMBOL

Item = pb.StreamTicksResponse | bytes | None


@complete
class FakeEngine(rpc.EngineServiceServicer):
    def __init__(self, *, paced: bool = False, realtime: bool = False, on_demand: bool = False) -> None:
        self.started = pb.StreamTicksResponse.Started(paced=paced, realtime=realtime, on_demand=on_demand)
        self.symbols = [SYMBOL, "IH2101.CFFEX", "rb2105.SHFE"]
        self.subscribed: set[str] = set()
        self.queues: list[asyncio.Queue[Item]] = []
        self.taken = 0

    def send(self, *ticks: market_pb2.Tick) -> None:
        """Send ticks as one batch."""
        self.send_message(pb.StreamTicksResponse(ticks=ticks))

    def send_message(self, item: Item) -> None:
        """Send a message; None breaks the streams."""
        for queue in self.queues:
            queue.put_nowait(item)

    async def ListContracts(self, request: pb.ListContractsRequest, call: Call) -> pb.ListContractsResponse:
        instruments = [
            market_pb2.Instrument(
                symbol=symbol,
                display_name=f"future {symbol[:2]}",
                exchange=symbol.partition(".")[2],
                product=market_pb2.PRODUCT_FUTURES,
                price_tick="0.2",
            )
            for symbol in self.symbols
        ]
        return pb.ListContractsResponse(instruments=instruments)

    async def ListGateways(self, request: pb.ListGatewaysRequest, call: Call) -> pb.ListGatewaysResponse:
        gateways = [pb.Gateway(gateway_name="SIM", simulated=True), pb.Gateway(gateway_name="CTP")]
        return pb.ListGatewaysResponse(gateways=gateways)

    async def Subscribe(self, request: pb.SubscribeRequest, call: Call) -> pb.SubscribeResponse:
        self.subscribed.update(request.symbols)
        return pb.SubscribeResponse()

    async def StreamTicks(self, request: pb.StreamTicksRequest, call: Call) -> AsyncIterator[Any]:
        queue: asyncio.Queue[Item] = asyncio.Queue()
        self.queues.append(queue)
        try:
            yield pb.StreamTicksResponse(started=self.started)
            while True:
                item = await queue.get()
                if item is None:
                    raise Unavailable("the engine is gone")
                self.taken += 1
                yield item
        finally:
            self.queues.remove(queue)
