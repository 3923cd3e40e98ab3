"""A small engine: a real servicer of EngineService that numbers, keeps and resumes what a test gives it to send."""

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

Item = pb.StreamTicksResponse | None
UNACKNOWLEDGED = 2048
HEARTBEAT_S = 1.0


@complete
class FakeEngine(rpc.EngineServiceServicer):
    """One run of a feed after another. All ticks of a run are kept until `forget`."""

    def __init__(
        self,
        *,
        paced: bool = False,
        realtime: bool = False,
        on_demand: bool = False,
        epoch: str = "e1",
        first_sequence: int = 1,
    ) -> None:
        self.started = pb.StreamTicksResponse.Started(paced=paced, realtime=realtime, on_demand=on_demand)
        self.symbols = [SYMBOL, "IH2101.CFFEX", "rb2105.SHFE"]
        self.gateways: dict[str, str] = {}
        """The gateways of symbols; others have none."""
        self.subscribed: set[str] = set()
        self.asked: dict[str, set[str]] = {}
        """Symbols that each subscriber asked for."""
        self.requests: list[pb.StreamTicksRequest] = []
        self.queues: list[asyncio.Queue[Item]] = []
        self.taken = 0
        self.acknowledged: dict[str, int] = {}
        """Positions by reader of the paced feed."""
        self.waits_for_acknowledgements = True
        """False: it is of a version before these."""
        self._breaks = 0
        self.hangs = False
        """True: streams are open, and nothing comes."""
        self._begin(epoch, first_sequence)

    @property
    def position(self) -> int:
        """Number of ticks sent in this epoch, lost ones too."""
        return self._oldest + len(self._kept)

    def send(self, *ticks: market_pb2.Tick) -> None:
        """Send ticks as one batch."""
        self._kept += ticks
        self.send_message(pb.StreamTicksResponse(ticks=ticks))

    def lose(self, *ticks: market_pb2.Tick) -> None:
        """Publish ticks while nobody listens, and keep neither these nor any from before."""
        assert not self.queues
        self._kept += ticks
        self.forget()

    def forget(self) -> None:
        """Keep none of the ticks of now: who was not there has missed them."""
        self._sequences.update((tick.symbol, tick.sequence) for tick in self._kept)
        self._oldest += len(self._kept)
        self._kept = []

    def heartbeat(self, **watermarks_ns: int) -> None:
        """Send a heartbeat with watermarks by gateway."""
        self.send_message(pb.StreamTicksResponse(heartbeat={"watermarks_ns": watermarks_ns}))

    def end_feed(self, gateway_name: str = "") -> None:
        """End a gateway's replay, for those who come later, too."""
        self._ended = pb.StreamTicksResponse(feed_ended={"position": self.position, "gateway_name": gateway_name})
        self.send_message(self._ended)

    def restart(self, epoch: str = "e2", first_sequence: int = 1) -> None:
        """Break the streams and begin another run of the feed."""
        self._begin(epoch, first_sequence)
        self.send_message(None)

    def send_message(self, item: Item) -> None:
        """Send a message; None breaks the streams."""
        self._breaks += item is None
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
                gateway_name=self.gateways.get(symbol, ""),
            )
            for symbol in self.symbols
        ]
        return pb.ListContractsResponse(instruments=instruments)

    async def ListGateways(self, request: pb.ListGatewaysRequest, call: Call) -> pb.ListGatewaysResponse:
        recorded = not self.started.realtime
        gateways = [pb.Gateway(gateway_name="SIM", simulated=True, recorded=recorded), pb.Gateway(gateway_name="CTP")]
        return pb.ListGatewaysResponse(gateways=gateways)

    async def Subscribe(self, request: pb.SubscribeRequest, call: Call) -> pb.SubscribeResponse:
        self.subscribed.update(request.symbols)
        self.asked.setdefault(request.subscriber, set()).update(request.symbols)
        return pb.SubscribeResponse()

    async def Unsubscribe(self, request: pb.UnsubscribeRequest, call: Call) -> pb.UnsubscribeResponse:
        self.asked.get(request.subscriber, set()).difference_update(request.symbols)
        self.subscribed.difference_update(set(request.symbols).difference(*self.asked.values()))
        return pb.UnsubscribeResponse()

    async def AcknowledgeTicks(self, request: pb.AcknowledgeTicksRequest, call: Call) -> pb.AcknowledgeTicksResponse:
        assert request.position > self.acknowledged[request.reader_id]
        self.acknowledged[request.reader_id] = request.position
        return pb.AcknowledgeTicksResponse()

    async def StreamTicks(self, request: pb.StreamTicksRequest, call: Call) -> AsyncIterator[Any]:
        queue: asyncio.Queue[Item] = asyncio.Queue()
        self.requests.append(request)
        started, backlog = self._place(request)
        for item in backlog:
            queue.put_nowait(item)
        self.queues.append(queue)
        try:
            breaks = self._breaks
            await self._while_hanging()
            if self._breaks != breaks:
                raise Unavailable("the engine is gone")
            sent = started.position
            if self.waits_for_acknowledgements:
                started.reader_id = str(len(self.requests))
                self.acknowledged[started.reader_id] = sent
            yield pb.StreamTicksResponse(started=started)
            while True:
                try:
                    item = await asyncio.wait_for(queue.get(), HEARTBEAT_S)
                except TimeoutError:
                    item = pb.StreamTicksResponse(heartbeat={})
                await self._while_hanging()
                if item is None:
                    raise Unavailable("the engine is gone")
                while self.started.paced and sent - self.acknowledged.get(started.reader_id, sent) > UNACKNOWLEDGED:
                    await asyncio.sleep(0.001)
                sent += len(item.ticks)
                self.taken += 1
                yield item
        finally:
            self.queues.remove(queue)

    async def _while_hanging(self) -> None:
        while self.hangs:
            await asyncio.sleep(0.01)

    def _begin(self, epoch: str, first_sequence: int) -> None:
        self.epoch = epoch
        self.first_sequence = first_sequence
        self._oldest = 0
        self._kept: list[market_pb2.Tick] = []
        self._sequences: dict[str, int] = {}
        self._ended: pb.StreamTicksResponse | None = None

    def _place(self, request: pb.StreamTicksRequest) -> tuple[pb.StreamTicksResponse.Started, list[Item]]:
        started = pb.StreamTicksResponse.Started(epoch=self.epoch, first_sequence=self.first_sequence)
        started.MergeFrom(self.started)
        exact = request.epoch == self.epoch and self._oldest <= request.position <= self.position
        started.position = request.position if exact else self._oldest
        if not exact:
            started.sequences.update(self._sequences)
        missed = self._kept[started.position - self._oldest :]
        backlog: list[Item] = [pb.StreamTicksResponse(ticks=missed)] if missed else []
        return started, backlog if self._ended is None else [*backlog, self._ended]
