"""Trading's nouns as protobuf messages, and back."""

from decimal import Decimal
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from redfire.common.v1.error_reason_pb2 import ErrorReason
from redfire.enums import OrderType, PositionEffect, Side, TimeInForce
from redfire.trading.v1 import account_service_pb2, order_service_pb2, trading_pb2

from services.kernel.decimals import from_text, plain, to_text
from services.kernel.errors import Invalid, RedFireError
from services.kernel.rpc.encoded import varint
from services.trading.domain.account_view import AccountView, PositionView
from services.trading.domain.group_checks import of_order
from services.trading.domain.lease import Lease
from services.trading.domain.ledger import LedgerEntry
from services.trading.domain.order import STOP_TYPES, NewOrder, Order
from services.trading.domain.order_group import OrderGroup
from services.trading.domain.trade import Trade
from services.trading.list_repository import OrderFilter
from services.trading.preview_service import OrderGroupPreview, OrderPreview
from services.trading.state.streams import StreamUpdate, UpdateKind

_REASONS: dict[str, int] = dict(ErrorReason.items())
_NS = 1_000_000_000
_LATEST_NS = (1 << 63) - 1


def time_to_pb(time_ns: int) -> Timestamp:
    """Nanoseconds since 1970 as a timestamp."""
    seconds, nanos = divmod(time_ns, _NS)
    return Timestamp(seconds=seconds, nanos=nanos)


def reason_to_pb(reason: str) -> Any:
    """A reason's number in ErrorReason; 0 for what is none."""
    return _REASONS.get(reason, 0)


def time_from_pb(message: Any, name: str) -> int:
    """A message's timestamp field in nanoseconds, within what 64 bits hold; 0 when it is not set."""
    if not message.HasField(name):
        return 0
    timestamp = getattr(message, name)
    return min(max(timestamp.seconds * _NS + timestamp.nanos, 1), _LATEST_NS)


def group_orders_from_pb(
    request: order_service_pb2.CreateOrderGroupRequest | order_service_pb2.PreviewOrderGroupRequest,
) -> list[NewOrder]:
    """The requested orders of a group; exits of a BRACKET close unless they state another effect. Raises Invalid."""
    result = []
    for index, order in enumerate(request.orders):
        exits = request.kind == trading_pb2.ORDER_GROUP_KIND_BRACKET and index > 0
        try:
            effect = PositionEffect.CLOSE if exits else PositionEffect.OPEN
            result.append(new_order_from_pb(order, request.account_id, effect))
        except Invalid as error:
            raise of_order(error, index) from None
    return result


def new_order_from_pb(
    request: Any, account_id: str | None = None, default: PositionEffect = PositionEffect.OPEN
) -> NewOrder:
    """CreateOrderRequest, PreviewOrderRequest, or a GroupOrder of an account. Raises Invalid."""
    effect = request.position_effect
    if request.reduce_only and effect == PositionEffect.OPEN:
        raise Invalid("reduce_only: not with position_effect OPEN", field="reduce_only")
    return NewOrder(
        client_order_id=request.client_order_id,
        account_id=request.account_id if account_id is None else account_id,
        symbol=request.symbol,
        side=Side(request.side),
        type=OrderType(request.type),
        quantity=Decimal(request.quantity),
        price=from_text(request.price),
        stop_price=from_text(request.stop_price),
        trailing_offset=from_text(request.trailing_offset),
        time_in_force=TimeInForce(request.time_in_force or TimeInForce.DAY),
        expire_time_ns=time_from_pb(request, "expire_time"),
        position_effect=PositionEffect(effect or (PositionEffect.CLOSE if request.reduce_only else default)),
        strategy_id=request.strategy_id,
        reduce_only=request.reduce_only,
        post_only=request.post_only,
    )


def filter_from_pb(request: Any) -> OrderFilter:
    """The filter of a List request."""
    return OrderFilter(
        account_id=request.account_id,
        symbol=getattr(request, "symbol", ""),
        order_id=getattr(request, "order_id", ""),
        strategy_id=getattr(request, "strategy_id", ""),
        statuses=list(getattr(request, "statuses", ())),
        start_time_ns=time_from_pb(request, "start_time"),
        end_time_ns=time_from_pb(request, "end_time"),
        open_only=getattr(request, "open_only", False),
    )


def order_to_pb(order: Order) -> trading_pb2.Order:
    """An order as it is now."""
    # Members of the enumerations are the contract's numbers; what is nothing of most orders needs no arithmetic.
    filled, leaves = order.cumulative_quantity, order.leaves_quantity
    message = trading_pb2.Order(
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        account_id=order.account_id,
        symbol=order.symbol,
        side=order.side,  # type: ignore[arg-type]
        type=order.type,  # type: ignore[arg-type]
        time_in_force=order.time_in_force,  # type: ignore[arg-type]
        position_effect=order.position_effect,  # type: ignore[arg-type]
        quantity=plain(order.quantity),
        status=order.status,  # type: ignore[arg-type]
        cumulative_quantity=plain(filled) if filled else "0",
        leaves_quantity=plain(leaves) if leaves else "0",
        commission=plain(order.commission) if order.commission else "0",
        venue_order_id=order.venue_order_id,
        strategy_id=order.strategy_id,
        trace_id=order.trace_id,
        create_time=time_to_pb(order.create_time_ns),
        update_time=time_to_pb(order.update_time_ns),
        trading_day=order.trading_day,
    )
    if order.price is not None:
        message.price = plain(order.price)
    if filled:
        message.average_price = to_text(order.average_price)
    if order.type in STOP_TYPES:
        message.stop_price, message.trailing_offset = to_text(order.stop_price), to_text(order.trailing_offset)
        message.triggered = order.triggered
    if order.reject_reason or order.reject_message:
        message.reject_reason = reason_to_pb(order.reject_reason)
        message.reject_message = order.reject_message
    if order.order_group_id:
        message.order_group_id = order.order_group_id
    if order.reduce_only:
        message.reduce_only = True
    if order.post_only:
        message.post_only = True
    if order.hold_reason:
        message.hold_reason = reason_to_pb(order.hold_reason)
    if order.expire_time_ns:
        message.expire_time.CopyFrom(time_to_pb(order.expire_time_ns))
    return message


def order_group_to_pb(group: OrderGroup) -> trading_pb2.OrderGroup:
    """A group as it is now."""
    status = trading_pb2.ORDER_GROUP_STATUS_ACTIVE if group.is_open else trading_pb2.ORDER_GROUP_STATUS_DONE
    return trading_pb2.OrderGroup(
        order_group_id=group.order_group_id,
        client_order_group_id=group.client_order_group_id,
        kind=group.kind,  # type: ignore[arg-type]
        orders=[order_to_pb(order) for order in group.orders],
        account_id=group.account_id,
        status=status,
        create_time=time_to_pb(group.create_time_ns),
        update_time=time_to_pb(max(group.update_time_ns, *(order.update_time_ns for order in group.orders))),
        unprotected_quantity=plain(group.unprotected_quantity),
    )


def trade_to_pb(trade: Trade) -> trading_pb2.Trade:
    """A trade."""
    return trading_pb2.Trade(
        trade_id=trade.trade_id,
        order_id=trade.order_id,
        account_id=trade.account_id,
        symbol=trade.symbol,
        side=int(trade.side),  # type: ignore[arg-type]
        position_effect=int(trade.position_effect),  # type: ignore[arg-type]
        price=plain(trade.price),
        quantity=plain(trade.quantity),
        commission=plain(trade.commission),
        realized_pnl=plain(trade.realized_pnl),
        time=time_to_pb(trade.time_ns),
        venue_trade_id=trade.venue_trade_id,
        strategy_id=trade.strategy_id,
        busted=trade.busted,
        corrects_trade_id=trade.corrects_trade_id,
        trace_id=trade.trace_id,
        trading_day=trade.trading_day,
    )


def account_to_pb(view: AccountView) -> trading_pb2.Account:
    """An account as it is now."""
    message = trading_pb2.Account(
        account_id=view.account_id,
        display_name=view.display_name,
        kind=int(view.kind),  # type: ignore[arg-type]
        gateway=view.gateway,
        currency=view.currency,
        balance=plain(view.balance),
        available=plain(view.available),
        margin=plain(view.margin),
        frozen=plain(view.frozen),
        unrealized_pnl=plain(view.unrealized_pnl),
        realized_pnl=plain(view.realized_pnl),
        equity=plain(view.equity),
        commission=plain(view.commission),
        create_time=time_to_pb(view.create_time_ns),
        margin_call=view.margin_call,
    )
    report = view.venue
    if report is not None:
        message.venue.CopyFrom(
            trading_pb2.VenueAccount(
                venue_account_id=report.venue_account_id,
                currency=report.currency,
                balance=plain(report.balance),
                available=plain(report.available),
                margin=to_text(report.margin),
                frozen=plain(report.frozen),
                update_time=time_to_pb(report.time_ns),
                balance_difference=plain(report.difference),
            )
        )
    return message


def position_to_pb(view: PositionView) -> trading_pb2.Position:
    """A position as it is now."""
    return trading_pb2.Position(
        account_id=view.account_id,
        symbol=view.symbol,
        side=int(view.side),  # type: ignore[arg-type]
        quantity=plain(view.quantity),
        today_quantity=plain(view.today_quantity),
        yesterday_quantity=plain(view.yesterday_quantity),
        frozen_quantity=plain(view.frozen_quantity),
        average_price=plain(view.average_price),
        last_price="" if view.last_price is None else plain(view.last_price),
        unrealized_pnl=plain(view.unrealized_pnl),
        realized_pnl=plain(view.realized_pnl),
        margin=plain(view.margin),
        venue_difference=plain(view.venue_difference) if view.venue_difference else "",
    )


def entry_to_pb(entry: LedgerEntry) -> trading_pb2.LedgerEntry:
    """A ledger entry."""
    return trading_pb2.LedgerEntry(
        entry_id=entry.entry_id,
        transaction_id=entry.transaction_id,
        ledger_account=entry.ledger_account,
        amount=plain(entry.amount),
        kind=int(entry.kind),  # type: ignore[arg-type]
        reference=entry.reference,
        create_time=time_to_pb(entry.create_time_ns),
        account_id=entry.account_id,
    )


def change_to_pb(sequence: int, item: Order | OrderGroup | Trade | PositionView | AccountView) -> bytes:
    """A change as a message of StreamOrders."""
    # Put together from encoded parts, which saves a copy: field 1 is the sequence, 2 to 5 and 11 what it is about.
    if isinstance(item, Order):
        field, payload = b"\x12", order_to_pb(item).SerializeToString()
    elif isinstance(item, Trade):
        field, payload = b"\x1a", trade_to_pb(item).SerializeToString()
    elif isinstance(item, PositionView):
        field, payload = b"\x22", position_to_pb(item).SerializeToString()
    elif isinstance(item, OrderGroup):
        field, payload = b"\x5a", order_group_to_pb(item).SerializeToString()
    else:
        field, payload = b"\x2a", account_to_pb(item).SerializeToString()
    return b"".join((b"\x08", varint(sequence), field, varint(len(payload)), payload))


def update_to_pb(update: StreamUpdate) -> bytes:
    """A message of a stream: a change, already encoded, or a control message of the stream."""
    if update.kind is UpdateKind.CHANGE:
        return update.payload
    message = order_service_pb2.StreamOrdersResponse(sequence=update.sequence)
    if update.kind is UpdateKind.SNAPSHOT_COMPLETE:
        message.snapshot_complete.SetInParent()
    elif update.kind is UpdateKind.HEARTBEAT:
        message.heartbeat.time.CopyFrom(time_to_pb(update.time_ns))
    elif update.kind is UpdateKind.GAP:
        message.gap.first_sequence, message.gap.last_sequence = update.first_sequence, update.last_sequence
    else:
        message.end.reason, message.end.resume_after_sequence = update.reason, update.sequence
    return message.SerializeToString()


def user_update_to_pb(update: StreamUpdate) -> bytes:
    """A message of WatchTrading: field 1 is the user, field 2 the message of the stream, encoded once."""
    payload, user = update_to_pb(update), update.user_id.encode()
    return b"".join((b"\x0a", varint(len(user)), user, b"\x12", varint(len(payload)), payload))


def shard_update_to_pb(update: StreamUpdate) -> bytes:
    """A message of WatchShards: the fields of WatchTrading's, and those of shards."""
    if update.kind is UpdateKind.TAKEN:
        return order_service_pb2.WatchShardsResponse(taken={"epochs": update.shards}).SerializeToString()
    if update.kind is UpdateKind.READY:
        return order_service_pb2.WatchShardsResponse(ready={"sequences": update.shards}).SerializeToString()
    if update.kind is UpdateKind.LOST:
        return order_service_pb2.WatchShardsResponse(lost={"shards": update.shards}).SerializeToString()
    return user_update_to_pb(update)


def lease_to_pb(lease: Lease, sequence: int) -> bytes:
    """The message of a stream that reports an armed lease."""
    message = order_service_pb2.StreamOrdersResponse(sequence=sequence)
    message.lease.account_id = lease.account_id
    message.lease.cancel_on_disconnect.FromNanoseconds(lease.duration_ns)
    message.lease.cancel_protective_stops = lease.cancel_protective_stops
    return message.SerializeToString()


def describe_change(payload: bytes) -> tuple[int, str]:
    """(sequence, account id) of an encoded change."""
    message = order_service_pb2.StreamOrdersResponse.FromString(payload)
    return message.sequence, getattr(message, message.WhichOneof("event") or "order").account_id


def preview_to_pb(preview: OrderPreview) -> order_service_pb2.PreviewOrderResponse:
    """Return the outcome that an order would have."""
    message = order_service_pb2.PreviewOrderResponse(
        would_accept=not preview.violations,
        violations=[violation_to_pb(violation) for violation in preview.violations],
        margin=to_text(preview.margin),
        commission=to_text(preview.commission),
        max_quantity=to_text(preview.max_quantity),
        reference_price=to_text(preview.reference_price),
    )
    if preview.lease is not None:
        message.cancel_on_disconnect.FromNanoseconds(preview.lease.duration_ns)
    return message


def group_preview_to_pb(preview: OrderGroupPreview) -> order_service_pb2.PreviewOrderGroupResponse:
    """Return the outcome that a group would have."""
    message = order_service_pb2.PreviewOrderGroupResponse(
        would_accept=preview.would_accept,
        violations=[violation_to_pb(violation) for violation in preview.violations],
        orders=[preview_to_pb(order) for order in preview.orders],
        reserved_funds=to_text(preview.reserved_funds),
        closing_quantity=to_text(preview.closing_quantity),
        max_quantity=to_text(preview.max_quantity),
    )
    if preview.lease is not None:
        message.cancel_on_disconnect.FromNanoseconds(preview.lease.duration_ns)
    return message


def violation_to_pb(violation: RedFireError) -> order_service_pb2.Violation:
    """A rule that an order violates."""
    return order_service_pb2.Violation(
        reason=reason_to_pb(violation.reason),
        message=violation.message,
        metadata=violation.metadata,
    )


def snapshot_to_pb(
    account: AccountView, orders: list[Order], positions: list[PositionView], sequence: int
) -> account_service_pb2.GetSnapshotResponse:
    """All that is open."""
    return account_service_pb2.GetSnapshotResponse(
        account=account_to_pb(account),
        orders=[order_to_pb(order) for order in orders],
        positions=[position_to_pb(position) for position in positions],
        sequence=sequence,
    )
