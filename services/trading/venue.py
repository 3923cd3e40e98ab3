"""The engine as trading sees it: where orders are sent, and what comes back."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from redfire.common.v1 import error_reason_pb2
from redfire.engine.v1 import engine_pb2
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub

from services.kernel.decimals import from_text, plain, to_text
from services.trading.orders import Leg, Order, OrderStatus, OrderType, PositionSide, TimeInForce
from services.trading.reports import OrderReport, PositionReport, TradeReport, VenueState

SEND_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """The event stream begins; without `resumed` something may have been missed."""

    epoch: str
    resumed: bool
    sequence: int


@dataclass(frozen=True, slots=True)
class GatewayChanged:
    """A gateway was connected or lost."""

    gateway: str
    connected: bool


@dataclass(frozen=True, slots=True)
class TradingDayBegan:
    """A gateway's trading day changed, YYYYMMDD."""

    gateway: str
    trading_day: int


VenueEvent = StreamStarted | GatewayChanged | TradingDayBegan | OrderReport | TradeReport


class Venue:
    """The engine's RPCs in trading's terms. Errors are the kernel's."""

    def __init__(self, engine: EngineServiceStub) -> None:
        self._engine = engine
        # Of each gateway that the engine told of: whether its money is simulated.
        self.simulated: dict[str, bool] = {}

    async def send(self, order: Order, leg: Leg) -> str:
        """Send a leg of the order; when it answers (with the venue's id), the gateway has it for good."""
        limit = order.price if order.venue_type is OrderType.LIMIT else None
        request = engine_pb2.SendOrderRequest(
            gateway_name=order.gateway,
            order_id=order.reference(leg),
            account_id=order.account_id,
            symbol=order.symbol,
            side=int(order.side),  # type: ignore[arg-type]
            type=int(order.venue_type),  # type: ignore[arg-type]
            time_in_force=int(order.venue_time_in_force),  # type: ignore[arg-type]
            position_effect=int(leg.position_effect),  # type: ignore[arg-type]
            quantity=plain(leg.quantity),
            price=to_text(limit),
            post_only=order.post_only,
        )
        if order.expire_time_ns and order.venue_time_in_force is TimeInForce.GTD:
            request.expire_time.FromNanoseconds(order.expire_time_ns)
        answer = await self._engine.SendOrder(request, timeout=SEND_TIMEOUT_S)
        return str(answer.venue_order_id)

    async def cancel(self, order: Order, leg: Leg) -> None:
        """Ask for a cancel; the outcome comes as an event."""
        await self._engine.CancelOrder(
            engine_pb2.CancelOrderRequest(
                gateway_name=order.gateway,
                order_id=order.reference(leg),
                venue_order_id=leg.venue_order_id,
                symbol=order.symbol,
            ),
            timeout=SEND_TIMEOUT_S,
        )

    async def amend(self, order: Order, leg: Leg, quantity: Decimal, price: Decimal | None) -> None:
        """Ask for another quantity of the leg and another limit; the outcome comes as an event."""
        await self._engine.AmendOrder(
            engine_pb2.AmendOrderRequest(
                gateway_name=order.gateway,
                order_id=order.reference(leg),
                venue_order_id=leg.venue_order_id,
                quantity=plain(quantity),
                price=to_text(price),
            ),
            timeout=SEND_TIMEOUT_S,
        )

    async def state(self, gateway: str, references: Sequence[str]) -> VenueState:
        """What a gateway has: its open orders, the asked ones that it knows, and all their trades."""
        answer = await self._engine.QueryState(
            engine_pb2.QueryStateRequest(gateway_name=gateway, order_ids=references), timeout=2 * SEND_TIMEOUT_S
        )
        return VenueState(
            [_order_report(order) for order in answer.orders],
            [_trade_report(trade) for trade in answer.trades],
            [
                PositionReport(p.gateway_name, p.symbol, PositionSide(p.side), Decimal(p.quantity or "0"))
                for p in answer.positions
                if p.side
            ],
            answer.trading_day,
            answer.complete,
        )

    async def connected_gateways(self) -> dict[str, bool]:
        """Every gateway, and whether it is connected."""
        answer = await self._engine.ListGateways(engine_pb2.ListGatewaysRequest(page_size=1000), timeout=SEND_TIMEOUT_S)
        self.simulated.update({g.gateway_name: g.simulated for g in answer.gateways})
        return {g.gateway_name: g.status == engine_pb2.GATEWAY_STATUS_CONNECTED for g in answer.gateways}

    async def events(self, epoch: str, resume_after: int) -> AsyncIterator[tuple[int, VenueEvent | None]]:
        """(sequence, event) of all gateways, in order; None for what trading does not use."""
        request = engine_pb2.StreamEventsRequest(epoch=epoch, resume_after_sequence=resume_after)
        async for message in self._engine.StreamEvents(request):
            kind = message.WhichOneof("event")
            event: VenueEvent | None = None
            if kind == "started":
                started = message.started
                event = StreamStarted(started.epoch, started.resumed, started.sequence)
            elif kind == "order":
                event = _order_report(message.order)
            elif kind == "trade":
                event = _trade_report(message.trade)
            elif kind == "gateway":
                gateway = message.gateway
                connected = gateway.status == engine_pb2.GATEWAY_STATUS_CONNECTED
                event = GatewayChanged(gateway.gateway_name, connected)
            elif kind == "trading_day":
                event = TradingDayBegan(message.trading_day.gateway_name, message.trading_day.trading_day)
            yield message.sequence, event


def _order_report(update: engine_pb2.OrderUpdate) -> OrderReport:
    return OrderReport(
        update.gateway_name,
        update.order_id,
        update.venue_order_id,
        update.symbol,
        Decimal(update.quantity or "0"),
        from_text(update.price),
        Decimal(update.cumulative_quantity or "0"),
        OrderStatus(update.status or OrderStatus.PENDING_NEW),
        error_reason_pb2.ErrorReason.Name(update.reason) if update.reason else "",
        update.message,
        update.amend_rejected,
    )


def _trade_report(update: engine_pb2.TradeUpdate) -> TradeReport:
    return TradeReport(
        update.gateway_name,
        update.order_id,
        update.venue_trade_id,
        update.symbol,
        Decimal(update.price),
        Decimal(update.quantity),
        update.time.seconds * 1_000_000_000 + update.time.nanos,
        update.trading_day,
    )
