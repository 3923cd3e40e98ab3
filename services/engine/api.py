"""The engine over gRPC: convert, call the service, convert."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from redfire.engine.v1 import engine_pb2 as pb
from redfire.engine.v1 import engine_pb2_grpc as rpc

from services.engine import convert
from services.engine.service import EngineService
from services.engine.streams.event_stream import EventStream
from services.engine.streams.tick_stream import FeedEnded, Started, TickStream
from services.kernel.clock import Clock
from services.kernel.decimals import from_text
from services.kernel.paging import Page
from services.kernel.rpc.call import Call

OPERATE = "engine:write"
"""The permission of those who connect gateways."""

CONVERTED_AT_ONCE = 200
"""Instruments between two turns of the loop."""


class EngineApi(rpc.EngineServiceServicer):
    """redfire.engine.v1.EngineService."""

    def __init__(self, engine: EngineService, ticks: TickStream, events: EventStream, clock: Clock) -> None:
        self._engine = engine
        self._ticks = ticks
        self._events = events
        self._clock = clock
        self._listed: object = None
        self._contracts = pb.ListContractsResponse()

    async def ListGateways(self, request: pb.ListGatewaysRequest, call: Call) -> pb.ListGatewaysResponse:
        """Gateways by name."""
        page = Page.of(request)
        after = page.after[0] if page.after else ""
        gateways = [gateway for gateway in self._engine.list_gateways() if gateway.gateway_name > after]
        page_result = page.slice(gateways[: page.size + 1], key=lambda gateway: [gateway.gateway_name])
        answer = pb.ListGatewaysResponse(
            gateways=[convert.gateway_to_pb(gateway) for gateway in page_result.items],
            next_page_token=page_result.next_page_token,
        )
        if not call.identity.has(OPERATE):
            # A venue's message may name the account there, or its front.
            for gateway in answer.gateways:
                gateway.ClearField("last_error")
        return answer

    async def ConnectGateway(self, request: pb.ConnectGatewayRequest, call: Call) -> pb.ConnectGatewayResponse:
        """Connect one."""
        gateway = await self._engine.connect_gateway(request.gateway_name)
        return pb.ConnectGatewayResponse(gateway=convert.gateway_to_pb(gateway))

    async def DisconnectGateway(self, request: pb.DisconnectGatewayRequest, call: Call) -> pb.DisconnectGatewayResponse:
        """Disconnect one."""
        gateway = await self._engine.disconnect_gateway(request.gateway_name)
        return pb.DisconnectGatewayResponse(gateway=convert.gateway_to_pb(gateway))

    async def ListContracts(self, request: pb.ListContractsRequest, call: Call) -> pb.ListContractsResponse:
        """All instruments. Those of CTP, 20,000, take half a second to convert: it is done once for each list."""
        contracts = self._engine.list_contracts()
        if contracts is self._listed:
            return self._contracts
        answer = pb.ListContractsResponse()
        for number, contract in enumerate(contracts, 1):
            answer.instruments.append(convert.instrument_to_pb(*contract))
            if number % CONVERTED_AT_ONCE == 0:
                await asyncio.sleep(0)  # orders go between
        self._listed, self._contracts = contracts, answer
        return answer

    async def SendOrder(self, request: pb.SendOrderRequest, call: Call) -> pb.SendOrderResponse:
        """Send an order, once."""
        venue_order_id = await self._engine.send_order(convert.order_from_pb(request), request.shard, request.epoch)
        return pb.SendOrderResponse(venue_order_id=venue_order_id)

    async def CancelOrder(self, request: pb.CancelOrderRequest, call: Call) -> pb.CancelOrderResponse:
        """Ask for a cancel."""
        await self._engine.cancel_order(
            request.gateway_name,
            request.order_id,
            request.venue_order_id,
            request.symbol,
            request.shard,
            request.epoch,
        )
        return pb.CancelOrderResponse()

    async def AmendOrder(self, request: pb.AmendOrderRequest, call: Call) -> pb.AmendOrderResponse:
        """Ask for another quantity or price."""
        quantity, price = from_text(request.quantity), from_text(request.price)
        await self._engine.amend_order(
            request.gateway_name,
            request.order_id,
            request.venue_order_id,
            quantity,
            price,
            request.shard,
            request.epoch,
        )
        return pb.AmendOrderResponse()

    async def Subscribe(self, request: pb.SubscribeRequest, call: Call) -> pb.SubscribeResponse:
        """Ask for ticks."""
        unknown = self._engine.subscribe(list(request.symbols), request.subscriber)
        return pb.SubscribeResponse(unknown_symbols=unknown)

    async def Unsubscribe(self, request: pb.UnsubscribeRequest, call: Call) -> pb.UnsubscribeResponse:
        """Ask for ticks no more."""
        subscribed = self._engine.unsubscribe(list(request.symbols), request.subscriber)
        return pb.UnsubscribeResponse(subscribed_symbols=subscribed)

    async def StreamTicks(
        self, request: pb.StreamTicksRequest, call: Call
    ) -> AsyncGenerator[pb.StreamTicksResponse | bytes, None]:
        """Ticks as they come, encoded already."""
        ticks = self._ticks
        reading = ticks.read(
            request.epoch, request.position, records=request.records, acknowledges=request.acknowledges
        )
        async with aclosing(reading) as stream:
            async for item in stream:
                if isinstance(item, Started):
                    yield convert.started_to_pb(item, ticks.nature)
                elif isinstance(item, FeedEnded):
                    ended = pb.StreamTicksResponse.FeedEnded(position=item.position, gateway_name=item.gateway_name)
                    yield pb.StreamTicksResponse(feed_ended=ended)
                else:
                    yield item

    async def AcknowledgeTicks(self, request: pb.AcknowledgeTicksRequest, call: Call) -> pb.AcknowledgeTicksResponse:
        """Let a replay go on behind what a reader has taken."""
        self._ticks.acknowledge(request.reader_id, request.position)
        return pb.AcknowledgeTicksResponse()

    async def StreamEvents(
        self, request: pb.StreamEventsRequest, call: Call
    ) -> AsyncGenerator[list[pb.StreamEventsResponse], None]:
        """Updates of gateways, numbered, as many as there are."""
        async with aclosing(self._events.read(request.resume_after_sequence, request.epoch)) as stream:
            async for item in stream:
                now, events = self._clock.now(), item if isinstance(item, list) else [item]
                yield [convert.event_to_pb(event, now, self._engine.find_gateway) for event in events]

    async def QueryState(self, request: pb.QueryStateRequest, call: Call) -> pb.QueryStateResponse:
        """Orders, trades, positions and accounts of a gateway."""
        sequence, state = await self._engine.query_state(
            request.gateway_name,
            list(request.order_ids),
            request.trades_cursor,
            request.epochs,
            request.give_up_order_ids,
        )
        return convert.state_to_pb(sequence, self._events.epoch, state)
