"""The engine as trading sees it: where orders are sent, and what comes back."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from redfire.common.v1 import error_reason_pb2
from redfire.engine.v1 import engine_pb2
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub
from redfire.enums import OrderStatus, OrderType, PositionEffect, PositionSide, Side, TimeInForce

from services.kernel.data.writes import Fence
from services.kernel.decimals import plain, to_text
from services.kernel.rpc.channels import in_lists
from services.kernel.rpc.silence import PROMPT_SILENCE_S, SILENCE_S, until_silent
from services.trading.domain.order import GOOD_TILL, Leg, Order
from services.trading.domain.report import (
    AccountReport,
    FillReport,
    OrderStatusReport,
    PositionReport,
    TradeKind,
    UnreadableReport,
    VenueState,
)
from services.trading.peers.venue_texts import MOST_OF_CURRENCY, MOST_OF_SYMBOL, MOST_OF_TRADE_ID, clean, fitted

SEND_TIMEOUT_S = 5.0
# Reports read between two turns of the loop.
READ_AT_ONCE = 200
_TOO_LARGE = Decimal(10) ** 18


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


VenueEvent = (
    StreamStarted
    | GatewayChanged
    | TradingDayBegan
    | OrderStatusReport
    | FillReport
    | UnreadableReport
    | PositionReport
    | AccountReport
)


class EngineClient:
    """The engine's RPCs in trading's terms. Errors are the kernel's."""

    def __init__(self, engine: EngineServiceStub) -> None:
        self._engine = engine
        # Of each gateway that the event stream, while it stands, reported: whether it is connected.
        self.connected: dict[str, bool] = {}
        # Of each gateway that the engine reported: whether its money is simulated.
        self.simulated: dict[str, bool] = {}
        # … whether its market is a recording.
        self.recorded: dict[str, bool] = {}
        # And the times in force that it keeps by itself.
        self.time_in_forces: dict[str, frozenset[int]] = {}

    async def send(self, order: Order, leg: Leg, fence: Fence) -> str:
        """Send a leg of the order; when it answers (with the venue's id), the gateway has it for good.

        Raises FailedPrecondition (STALE_EPOCH) when another replica has taken the user over, and the engine's errors.
        """
        limit = order.price if order.venue_type is OrderType.LIMIT else None
        lifetime, kept = order.venue_time_in_force, self.time_in_forces.get(order.gateway)
        if kept and lifetime not in kept and lifetime in GOOD_TILL:
            lifetime = TimeInForce.DAY  # held over the night, and sent again each day (day_ends)
        request = engine_pb2.SendOrderRequest(
            gateway_name=order.gateway,
            order_id=order.reference(leg),
            account_id=order.account_id,
            symbol=order.symbol,
            side=int(order.side),  # type: ignore[arg-type]
            type=int(order.venue_type),  # type: ignore[arg-type]
            time_in_force=int(lifetime),  # type: ignore[arg-type]
            position_effect=int(leg.position_effect),  # type: ignore[arg-type]
            quantity=plain(leg.quantity),
            price=to_text(limit),
            post_only=order.post_only,
            traceparent=order.traceparent,
            shard=fence.shard,
            epoch=fence.epoch,
        )
        if order.expire_time_ns and lifetime is TimeInForce.GTD:
            request.expire_time.FromNanoseconds(order.expire_time_ns)
        answer = await self._engine.SendOrder(request, timeout=SEND_TIMEOUT_S)
        return str(answer.venue_order_id)

    async def cancel(self, order: Order, leg: Leg, fence: Fence) -> None:
        """Ask for a cancel; the outcome comes as an event."""
        await self._engine.CancelOrder(
            engine_pb2.CancelOrderRequest(
                gateway_name=order.gateway,
                order_id=order.reference(leg),
                venue_order_id=leg.venue_order_id,
                symbol=order.symbol,
                shard=fence.shard,
                epoch=fence.epoch,
            ),
            timeout=SEND_TIMEOUT_S,
        )

    async def cancel_external(self, gateway: str, venue_order_id: str, symbol: str) -> None:
        """Ask for a cancel of an order that is not ours."""
        await self._engine.CancelOrder(
            engine_pb2.CancelOrderRequest(
                gateway_name=gateway, order_id=venue_order_id, venue_order_id=venue_order_id, symbol=symbol
            ),
            timeout=SEND_TIMEOUT_S,
        )

    async def amend(self, order: Order, leg: Leg, quantity: Decimal, price: Decimal | None, fence: Fence) -> None:
        """Ask for another quantity of the leg and another limit; the outcome comes as an event."""
        await self._engine.AmendOrder(
            engine_pb2.AmendOrderRequest(
                gateway_name=order.gateway,
                order_id=order.reference(leg),
                venue_order_id=leg.venue_order_id,
                quantity=plain(quantity),
                price=to_text(price),
                shard=fence.shard,
                epoch=fence.epoch,
            ),
            timeout=SEND_TIMEOUT_S,
        )

    async def state(
        self,
        gateway: str,
        references: Sequence[str],
        trades_cursor: str = "",
        epochs: Mapping[int, int] | None = None,
        given_up: Sequence[str] = (),
    ) -> VenueState:
        """Return a gateway's open orders, the asked ones that it knows, and the day's trades after the cursor.

        The engine knows the `epochs` of shards before it answers: what it was not asked to send until then by an
        earlier owner, it never is. Nor is what of `given_up` the gateway never had.
        """
        request = engine_pb2.QueryStateRequest(
            gateway_name=gateway,
            order_ids=references,
            trades_cursor=trades_cursor,
            epochs=epochs,
            give_up_order_ids=given_up,
        )
        answer = await self._engine.QueryState(request, timeout=2 * SEND_TIMEOUT_S)
        state = VenueState(
            [], [], [], answer.trading_day, answer.complete, frozenset(answer.uncertain_order_ids),
            answer.next_trades_cursor, answer.more_trades, refused=frozenset(answer.refused_order_ids),
        )  # fmt: skip
        for number, update in enumerate((*answer.orders, *answer.trades, *answer.positions, *answer.accounts)):
            report = read_report(update)
            if isinstance(report, UnreadableReport):
                state.unreadable.append(report)
            elif isinstance(report, OrderStatusReport):
                state.orders.append(report)
            elif isinstance(report, FillReport):
                state.trades.append(report)
            elif isinstance(report, AccountReport):
                state.accounts.append(report)
            elif report is not None:
                state.positions.append(report)
            if number % READ_AT_ONCE == READ_AT_ONCE - 1:
                await asyncio.sleep(0)  # ten thousand of them would hold up orders
        return state

    def is_connected(self, gateway: str) -> bool:
        """Return whether orders can be sent to this gateway, as far as is known."""
        return self.connected.get(gateway, False)

    async def connected_gateways(self) -> dict[str, bool]:
        """Every gateway, and whether it is connected."""
        answer = await self._engine.ListGateways(engine_pb2.ListGatewaysRequest(page_size=1000), timeout=SEND_TIMEOUT_S)
        for gateway in answer.gateways:
            self._learn(gateway)
        return {g.gateway_name: g.status == engine_pb2.GATEWAY_STATUS_CONNECTED for g in answer.gateways}

    def _learn(self, gateway: engine_pb2.Gateway) -> None:
        self.simulated[gateway.gateway_name] = gateway.simulated
        self.recorded[gateway.gateway_name] = gateway.recorded
        self.time_in_forces[gateway.gateway_name] = frozenset(gateway.time_in_forces)

    async def events(self, epoch: str, resume_after: int) -> AsyncIterator[list[tuple[int, VenueEvent | None]]]:
        """(sequence, event) of all gateways, in order, as many as came at once; None for what trading does not use.

        Raises: StreamSilent when the engine hangs, so that it counts as disconnected.
        """
        request = engine_pb2.StreamEventsRequest(epoch=epoch, resume_after_sequence=resume_after)
        stream = in_lists(self._engine.StreamEvents)(request)
        async with aclosing(until_silent(stream, SILENCE_S, _silence_limit_s)) as lists:
            async for messages in lists:
                yield [(message.sequence, self._read_event(message)) for message in messages]

    def _read_event(self, message: engine_pb2.StreamEventsResponse) -> VenueEvent | None:
        kind = message.WhichOneof("event")
        if kind == "order":
            return read_report(message.order)
        if kind == "trade":
            return read_report(message.trade)
        if kind == "account":
            return read_report(message.account)
        if kind == "started":
            started = message.started
            return StreamStarted(started.epoch, started.resumed, started.sequence)
        if kind == "gateway":
            gateway = message.gateway
            self._learn(gateway)
            return GatewayChanged(gateway.gateway_name, gateway.status == engine_pb2.GATEWAY_STATUS_CONNECTED)
        if kind == "trading_day":
            return TradingDayBegan(message.trading_day.gateway_name, message.trading_day.trading_day)
        return None


def _silence_limit_s(first: Sequence[engine_pb2.StreamEventsResponse]) -> float | None:
    """The silence that means a still engine, by the heartbeats that it states; None for one that states none."""
    beat_s = first[0].started.heartbeat_interval.ToNanoseconds() / 1e9
    return max(PROMPT_SILENCE_S, 2.5 * beat_s) if beat_s else None


def read_report(
    update: Any,
) -> OrderStatusReport | FillReport | PositionReport | AccountReport | UnreadableReport | None:
    """An update of orders, trades, positions or accounts in trading's terms; None for a position of no side."""
    try:
        if isinstance(update, engine_pb2.OrderUpdate):
            return _order_report(update)
        if isinstance(update, engine_pb2.TradeUpdate):
            return _trade_report(update)
        if isinstance(update, engine_pb2.AccountUpdate):
            return _account_report(update)
        if not update.side:
            return None
        side = PositionSide(update.side)
        return PositionReport(
            update.gateway_name,
            fitted(update.symbol, MOST_OF_SYMBOL),
            side,
            _number(update.quantity or "0"),
            _number(update.yesterday_quantity or "0"),
            _number(update.average_price) if update.average_price else None,
        )
    except (ArithmeticError, ValueError) as error:
        kinds = {"OrderUpdate": "order", "TradeUpdate": "trade", "AccountUpdate": "balance"}
        kind = kinds.get(type(update).__name__, "position")
        names = ("venue_trade_id", "venue_order_id", "venue_account_id")
        venue_id = next((value for name in names if (value := getattr(update, name, ""))), "")
        symbol = getattr(update, "symbol", "")
        reference = getattr(update, "order_id", "")
        return UnreadableReport(update.gateway_name, kind, reference, venue_id, symbol, str(error) or "no number")


# Reports repeat a few sizes and prices; a look is a tenth of what looking at one takes.
@lru_cache(maxsize=4096)
def _number(text: str) -> Decimal:
    """A number that the books can hold: 18 digits before and 8 after the point. Raises ValueError, ArithmeticError."""
    value = Decimal(text)
    if not value.is_finite() or abs(value) >= _TOO_LARGE:
        raise ValueError(f"{text[:40]} is not a number of up to 18 digits")
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -8 and value != round(value, 8):
        raise ValueError(f"{text[:40]} has more than 8 digits after the point")
    return value


def _order_report(update: engine_pb2.OrderUpdate) -> OrderStatusReport:
    return OrderStatusReport(
        update.gateway_name,
        clean(update.order_id),
        clean(update.venue_order_id),
        fitted(update.symbol, MOST_OF_SYMBOL),
        _number(update.quantity or "0"),
        _number(update.price) if update.price else None,
        _number(update.cumulative_quantity or "0"),
        OrderStatus(update.status or OrderStatus.PENDING_NEW),
        error_reason_pb2.ErrorReason.Name(update.reason) if update.reason else "",
        clean(update.message),
        update.amend_rejected,
        Side(update.side) if update.side else None,
        PositionEffect(update.position_effect or PositionEffect.OPEN),
        OrderType(update.type or OrderType.LIMIT),
    )


def _account_report(update: engine_pb2.AccountUpdate) -> AccountReport:
    balance, frozen = _number(update.balance), _number(update.frozen or "0")
    available = _number(update.available) if update.available else balance - frozen
    # vnpy's gateways report no margin: it is what is neither available nor frozen by orders.
    return AccountReport(
        update.gateway_name,
        clean(update.venue_account_id),
        clean(update.currency)[:MOST_OF_CURRENCY],
        balance,
        available,
        _number(update.margin) if update.margin else max(balance - available - frozen, Decimal(0)) or None,
        frozen,
        update.time.seconds * 1_000_000_000 + update.time.nanos,
    )


def _trade_report(update: engine_pb2.TradeUpdate) -> FillReport:
    kind = TradeKind(update.kind or TradeKind.NEW)
    price, quantity = update.price, update.quantity
    if kind is TradeKind.BUST:  # what never was needs no values
        price, quantity = price or "0", quantity or "0"
    report = FillReport(
        update.gateway_name,
        clean(update.order_id),
        fitted(update.venue_trade_id, MOST_OF_TRADE_ID),
        fitted(update.symbol, MOST_OF_SYMBOL),
        _number(price),
        _number(quantity),
        update.time.seconds * 1_000_000_000 + update.time.nanos,
        update.trading_day,
        kind,
        clean(update.venue_order_id),
        Side(update.side) if update.side else None,
        PositionEffect(update.position_effect or PositionEffect.OPEN),
    )
    if report.quantity <= 0 and kind is not TradeKind.BUST:
        raise ValueError(f"{quantity[:40]} is not a traded quantity")
    return report
