"""Rules of the engine: the gateway of an order, when it may be sent, and the state of gateways."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from redfire.reasons import Reason

from services.engine.given_up import GivenUpOrders
from services.engine.shard_epochs import ShardEpochs
from services.engine.streams.event_stream import EventStream
from services.engine.updates import Gateway, OrderRequest, OrderType, VenueState
from services.engine.venue import Subscriber, Venue
from services.engine.vnpy.contracts import Contracts
from services.engine.vnpy.gateways import Gateways
from services.engine.vnpy.placement import NotSent
from services.kernel.errors import FailedPrecondition, Invalid, NotFound, RedFireError
from services.kernel.rpc.telemetry import Tracing
from services.quant.catalogue import Instrument

log = logging.getLogger(__name__)

_CONNECT_WAIT_S = 5.0


class SymbolAtOtherGateway(FailedPrecondition):
    """The symbol is traded, and priced, at another gateway."""

    reason = Reason.SYMBOL_AT_OTHER_GATEWAY


class EngineService:
    """Gateways, and the requests to them."""

    def __init__(
        self,
        gateways: Gateways,
        contracts: Contracts,
        events: EventStream,
        subscriber: Subscriber,
        epochs: ShardEpochs,
        tracing: Tracing,
    ) -> None:
        self._gateways = gateways
        self._contracts = contracts
        self._events = events
        self._subscriber = subscriber
        self._epochs = epochs
        self._tracing = tracing
        self._given_up = GivenUpOrders()

    def list_gateways(self) -> list[Gateway]:
        """All gateways by name."""
        return self._gateways.list()

    async def connect_gateway(self, name: str) -> Gateway:
        """Connect a gateway; after five seconds the answer may be that it is still connecting. Raises NotFound."""
        return await self._gateways.connect(name, _CONNECT_WAIT_S)

    async def disconnect_gateway(self, name: str) -> Gateway:
        """Disconnect a gateway; its orders stay at the venue. Raises NotFound."""
        return await self._gateways.disconnect(name)

    def find_gateway(self, name: str) -> Gateway | None:
        """A gateway's state."""
        return self._gateways.find(name)

    def list_contracts(self) -> list[tuple[Instrument, str]]:
        """All instruments with their gateways, by symbol."""
        return self._contracts.all()

    def subscribe(self, symbols: list[str], subscriber: str) -> list[str]:
        """Ask for ticks; the symbols that no gateway knows."""
        unknown = []
        for symbol in symbols:
            gateway_name = self._contracts.gateway_of(symbol)
            if gateway_name:
                self._subscriber.subscribe(symbol, gateway_name, subscriber)
            else:
                unknown.append(symbol)
        return unknown

    def unsubscribe(self, symbols: list[str], subscriber: str) -> list[str]:
        """Ask for ticks no more; the symbols whose ticks go on, since others asked for them."""
        subscribed = [symbol for symbol in symbols if not self._subscriber.unsubscribe(symbol, subscriber)]
        if len(subscribed) < len(symbols):
            log.info("ticks of %d symbols are dropped: nobody asks for them", len(symbols) - len(subscribed))
        return subscribed

    async def send_order(self, request: OrderRequest, shard: int, epoch: int) -> str:
        """Send an order; the venue's id, once the gateway has it for good. The same order_id again sends nothing.

        Raises: StaleEpoch, NotFound for an unknown gateway or symbol, GatewayDisconnected, SymbolAtOtherGateway,
        Invalid for a limit without a price, FailedPrecondition (UNSUPPORTED, NOT_SENT), DeadlineExceeded when the
        outcome is not known.
        """
        with self._given_up.sending(request.order_id):
            async with self._epochs.request(shard, epoch):
                return await self._send_order(request)

    async def _send_order(self, request: OrderRequest) -> str:
        try:
            venue = self._check(request)
            if request.order_id in self._given_up:
                raise NotSent("it comes late: trading has given it up")
        except (FailedPrecondition, Invalid, NotFound):
            # These mean that the gateway has no such order, which is wrong for one that was sent before.
            known = await self._gateways.venue(request.gateway_name, connected=False).sent_before(request.order_id)
            if known:
                return known
            raise
        span = self._tracing.start("redfire.engine.gateway/SendOrder", request.traceparent)
        if span is None:
            return await venue.send(request)
        span.set_attributes({"gateway": request.gateway_name, "order_id": request.order_id, "symbol": request.symbol})
        code = "UNKNOWN"
        try:
            venue_order_id = await venue.send(request)
            code = "OK"
            span.set_attribute("venue_order_id", venue_order_id)
            return venue_order_id
        except RedFireError as error:
            code = error.reason.name
            raise
        finally:
            self._tracing.end(span, code)

    async def cancel_order(
        self, gateway_name: str, order_id: str, venue_order_id: str, symbol: str, shard: int, epoch: int
    ) -> None:
        """Ask for a cancel.

        Raises StaleEpoch, NotFound for an order that the gateway never had, GatewayDisconnected.
        """
        async with self._epochs.request(shard, epoch):
            await self._gateways.venue(gateway_name).cancel(order_id, venue_order_id, symbol)

    async def amend_order(
        self,
        gateway_name: str,
        order_id: str,
        venue_order_id: str,
        quantity: Decimal | None,
        price: Decimal | None,
        shard: int,
        epoch: int,
    ) -> None:
        """Ask for another quantity or price.

        Raises StaleEpoch, NotFound, GatewayDisconnected, FailedPrecondition (UNSUPPORTED).
        """
        if quantity is None and price is None:
            raise Invalid("neither another quantity nor another price is given", field="quantity")
        async with self._epochs.request(shard, epoch):
            await self._gateways.venue(gateway_name).amend(order_id, venue_order_id, quantity, price)

    async def query_state(
        self,
        gateway_name: str,
        order_ids: list[str],
        trades_cursor: str,
        epochs: Mapping[int, int],
        give_up: Sequence[str] = (),
    ) -> tuple[int, VenueState]:
        """State of a gateway, and the sequence it is true at: all events up to it are part of the state.

        `epochs` of the caller's shards are known first: what earlier owners of them asked for is part of it, too. Those
        of `give_up` that the gateway never had are not sent from now on.
        """
        await self._epochs.learn(epochs)
        venue = self._gateways.venue(gateway_name, connected=False)
        given_up = self._given_up.add([order_id for order_id in give_up if not venue.is_sending(order_id)])
        sequence = self._events.sequence
        state = await venue.state(order_ids, trades_cursor)
        shown = {order.order_id for order in state.orders}.union(state.uncertain_order_ids)
        refused = [order_id for order_id in given_up if order_id not in shown]
        return sequence, replace(state, refused_order_ids=refused)

    def _check(self, request: OrderRequest) -> Venue:
        venue = self._gateways.venue(request.gateway_name)
        gateway_name = self._contracts.primary(request.symbol)
        if not self._contracts.offers(request.symbol, request.gateway_name) and (
            gateway_name == request.gateway_name or not self._contracts.gateway_of(request.symbol)
        ):
            raise NotFound("instrument", request.symbol, reason=Reason.UNKNOWN_SYMBOL)
        if gateway_name != request.gateway_name:
            raise SymbolAtOtherGateway(
                f"{request.symbol} is traded at gateway {gateway_name}", symbol=request.symbol, gateway=gateway_name
            )
        if request.type is OrderType.LIMIT and request.price is None:
            raise Invalid("a limit order needs a price", field="price")
        return venue
