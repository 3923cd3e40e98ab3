"""Between the contract's messages and the engine's objects."""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from redfire.common.v1 import common_pb2 as common
from redfire.engine.v1 import engine_pb2 as pb
from redfire.market.v1 import market_pb2 as market

from services.engine.metrics import unreadable
from services.engine.streams.event_stream import Numbered, Started
from services.engine.streams.tick_stream import FeedNature
from services.engine.streams.tick_stream import Started as TicksStarted
from services.engine.updates import (
    AccountUpdate,
    Gateway,
    GatewayStatus,
    OrderRequest,
    OrderStatus,
    OrderType,
    OrderUpdate,
    PositionEffect,
    PositionSide,
    PositionUpdate,
    Side,
    TimeInForce,
    TradeUpdate,
    TradingDayUpdate,
    VenueState,
)
from services.engine.vnpy.mapping import readable
from services.kernel.decimals import plain, to_text
from services.kernel.errors import Invalid
from services.quant.calendar import Calendar
from services.quant.catalogue import Instrument
from services.quant.ticks.tick_frame import NO_PRICE, NUMBERS
from services.quant.ticks.variant import variant

log = logging.getLogger(__name__)
U = TypeVar("U")
M = TypeVar("M")

_calendar = cache(Calendar.load)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1 << 16)
def _day_of(symbol: str) -> Callable[[int], int]:
    """A symbol's function from a time (ns) to its trading day; kept, as each tick calls it."""
    return _calendar().days_of(symbol).of


def _numbers(enum: type[StrEnum], of: Any, prefix: str) -> dict[str, Any]:
    return {member.value: of.Value(prefix + member.value) for member in enum}


_SIDES = _numbers(Side, common.Side, "SIDE_")
_TYPES = _numbers(OrderType, common.OrderType, "ORDER_TYPE_")
_LIFETIMES = _numbers(TimeInForce, common.TimeInForce, "TIME_IN_FORCE_")
_EFFECTS = _numbers(PositionEffect, common.PositionEffect, "POSITION_EFFECT_")
_POSITION_SIDES = _numbers(PositionSide, common.PositionSide, "POSITION_SIDE_")
_STATUSES = _numbers(OrderStatus, common.OrderStatus, "ORDER_STATUS_")
_GATEWAY_STATUSES = _numbers(GatewayStatus, pb.GatewayStatus, "GATEWAY_STATUS_")
_BY_NUMBER: dict[Any, dict[Any, Any]] = {
    Side: {number: Side(name) for name, number in _SIDES.items()},
    OrderType: {number: OrderType(name) for name, number in _TYPES.items()},
    TimeInForce: {0: TimeInForce.DAY, **{number: TimeInForce(name) for name, number in _LIFETIMES.items()}},
    PositionEffect: {0: PositionEffect.OPEN, **{number: PositionEffect(name) for name, number in _EFFECTS.items()}},
}


def order_from_pb(request: pb.SendOrderRequest) -> OrderRequest:
    """The order of a request. Raises: Invalid for enums without a value."""
    order_type = _enum_from_pb(OrderType, request.type, "type")
    return OrderRequest(
        gateway_name=request.gateway_name,
        order_id=request.order_id,
        account_id=request.account_id,
        symbol=request.symbol,
        side=_enum_from_pb(Side, request.side, "side"),
        type=order_type,
        time_in_force=_enum_from_pb(TimeInForce, request.time_in_force, "time_in_force"),
        position_effect=_enum_from_pb(PositionEffect, request.position_effect, "position_effect"),
        quantity=Decimal(request.quantity),
        price=Decimal(request.price) if request.price and order_type is OrderType.LIMIT else None,
        expire_time=_time_from_pb(request.expire_time) if request.HasField("expire_time") else None,
        post_only=request.post_only,
        traceparent=request.traceparent,
    )


def gateway_to_pb(gateway: Gateway) -> pb.Gateway:
    """A gateway's state."""
    return pb.Gateway(
        gateway_name=gateway.gateway_name,
        status=_GATEWAY_STATUSES[gateway.status],
        last_error=readable(gateway.last_error),
        connect_time=timestamp_to_pb(gateway.connect_time) if gateway.connect_time else None,
        exchanges=gateway.exchanges,
        simulated=gateway.simulated,
        time_in_forces=[_LIFETIMES[lifetime] for lifetime in gateway.time_in_forces],
        keeps_order_ids=gateway.keeps_order_ids,
        recorded=gateway.recorded,
    )


def instrument_to_pb(instrument: Instrument, gateway_name: str) -> market.Instrument:
    """An instrument."""
    return market.Instrument(
        symbol=instrument.symbol,
        display_name=instrument.name,
        exchange=instrument.exchange,
        product=f"PRODUCT_{instrument.kind}",
        contract_size=plain(instrument.contract_size),
        price_tick=plain(instrument.price_tick),
        min_quantity=plain(instrument.min_quantity),
        quantity_step=plain(instrument.quantity_step),
        margin_rate=plain(instrument.margin_rate),
        commission_rate=plain(instrument.commission_rate),
        commission_fixed=plain(instrument.commission_fixed),
        close_today_commission_rate=plain(instrument.close_today_commission_rate),
        close_today_commission_fixed=plain(instrument.close_today_commission_fixed),
        currency=instrument.currency,
        trading_sessions=[
            market.TradingSession(open_time=a, close_time=b) for a, b in _calendar().hours(instrument.symbol)
        ],
        expire_date=instrument.expire_date.isoformat() if instrument.expire_date else "",
        gateway_name=gateway_name,
    )


def order_to_pb(update: OrderUpdate) -> pb.OrderUpdate:
    """An order as its gateway reports it."""
    return pb.OrderUpdate(
        gateway_name=update.gateway_name,
        order_id=update.order_id,
        venue_order_id=update.venue_order_id,
        symbol=update.symbol,
        side=_SIDES[update.side],
        position_effect=_EFFECTS[update.position_effect],
        quantity=plain(update.quantity),
        price=to_text(update.price),
        cumulative_quantity=plain(update.cumulative_quantity),
        status=_STATUSES[update.status],
        reason=update.reason.value if update.reason else None,
        message=readable(update.message),
        time=timestamp_to_pb(update.time),
        amend_rejected=update.amend_rejected,
        type=_TYPES[update.type] if update.type else None,
    )


def trade_to_pb(update: TradeUpdate) -> pb.TradeUpdate:
    """A fill."""
    return pb.TradeUpdate(
        gateway_name=update.gateway_name,
        order_id=update.order_id,
        venue_order_id=update.venue_order_id,
        venue_trade_id=update.venue_trade_id,
        symbol=update.symbol,
        side=_SIDES[update.side],
        position_effect=_EFFECTS[update.position_effect],
        price=plain(update.price),
        quantity=plain(update.quantity),
        time=timestamp_to_pb(update.time),
        trading_day=update.trading_day,
        kind=pb.TRADE_UPDATE_KIND_NEW,
    )


def position_to_pb(update: PositionUpdate) -> pb.PositionUpdate:
    """A position."""
    return pb.PositionUpdate(
        gateway_name=update.gateway_name,
        symbol=update.symbol,
        side=_POSITION_SIDES[update.side],
        quantity=plain(update.quantity),
        yesterday_quantity=plain(update.yesterday_quantity),
        average_price=to_text(update.average_price),
    )


def account_to_pb(update: AccountUpdate) -> pb.AccountUpdate:
    """An account."""
    return pb.AccountUpdate(
        gateway_name=update.gateway_name,
        venue_account_id=update.venue_account_id,
        balance=plain(update.balance),
        available=plain(update.available),
        frozen=plain(update.frozen),
        time=timestamp_to_pb(update.time),
    )


def state_to_pb(sequence: int, epoch: str, state: VenueState) -> pb.QueryStateResponse:
    """State of a gateway. A value that cannot be put into a message is left out, and logged."""
    return pb.QueryStateResponse(
        sequence=sequence,
        epoch=epoch,
        orders=_messages(order_to_pb, state.orders),
        trades=_messages(trade_to_pb, state.trades),
        positions=_messages(position_to_pb, state.positions),
        accounts=_messages(account_to_pb, state.accounts),
        trading_day=state.trading_day,
        complete=state.complete,
        next_trades_cursor=state.trades_cursor,
        more_trades=state.more_trades,
        uncertain_order_ids=state.uncertain_order_ids,
        refused_order_ids=state.refused_order_ids,
    )


def _messages(make: Callable[[U], M], updates: Iterable[U]) -> list[M]:
    made = []
    for update in updates:
        try:
            made.append(make(update))
        except Exception:
            _poison(update)
    return made


def _poison(update: Any) -> None:
    unreadable.labels(update.gateway_name, type(update).__name__).inc()
    log.exception("gateway %s: %s cannot be put into a message", update.gateway_name, type(update).__name__)


def event_to_pb(
    event: Started | Numbered, now: datetime, gateway: Callable[[str], Gateway | None]
) -> pb.StreamEventsResponse:
    """A message of StreamEvents.

    In the place of an event that cannot be put into one stands the state of its gateway: the stream goes on, and its
    reader asks the gateway anew, as after any change of its state.
    """
    try:
        return _readable_event_to_pb(event, now)
    except Exception:
        assert isinstance(event, Numbered)
        _poison(event.update)
        state = gateway(event.update.gateway_name) if event.update is not None else None
        if state is None:
            return pb.StreamEventsResponse(sequence=event.sequence, heartbeat=timestamp_to_pb(now))
        return pb.StreamEventsResponse(sequence=event.sequence, gateway=gateway_to_pb(state))


def _readable_event_to_pb(event: Started | Numbered, now: datetime) -> pb.StreamEventsResponse:
    if isinstance(event, Started):
        started = pb.StreamEventsResponse.Started(epoch=event.epoch, resumed=event.resumed, sequence=event.sequence)
        started.heartbeat_interval.FromNanoseconds(int(event.heartbeat_s * 1e9))
        return pb.StreamEventsResponse(sequence=event.sequence, started=started)
    match event.update:
        case None:
            return pb.StreamEventsResponse(sequence=event.sequence, heartbeat=timestamp_to_pb(now))
        case OrderUpdate() as order:
            return pb.StreamEventsResponse(sequence=event.sequence, order=order_to_pb(order))
        case TradeUpdate() as trade:
            return pb.StreamEventsResponse(sequence=event.sequence, trade=trade_to_pb(trade))
        case PositionUpdate() as position:
            return pb.StreamEventsResponse(sequence=event.sequence, position=position_to_pb(position))
        case AccountUpdate() as account:
            return pb.StreamEventsResponse(sequence=event.sequence, account=account_to_pb(account))
        case TradingDayUpdate() as day:
            update = pb.TradingDayUpdate(gateway_name=day.gateway_name, trading_day=day.trading_day)
            return pb.StreamEventsResponse(sequence=event.sequence, trading_day=update)
        case Gateway() as gateway:
            return pb.StreamEventsResponse(sequence=event.sequence, gateway=gateway_to_pb(gateway))


def started_to_pb(started: TicksStarted, nature: FeedNature) -> pb.StreamTicksResponse:
    """The first message of StreamTicks."""
    message = pb.StreamTicksResponse()
    fields = message.started
    fields.paced, fields.realtime, fields.on_demand = nature.paced, nature.realtime, nature.on_demand
    fields.epoch = started.epoch
    fields.position = started.position
    fields.first_sequence = started.first_sequence
    fields.reader_id = started.reader_id
    # In its place: a map of 20,000 symbols in a constructor is copied twice, for 30 ms.
    fields.sequences.update(started.sequences)
    return message


def heartbeat_message(time: datetime, watermarks_ns: Mapping[str, int]) -> bytes:
    """A heartbeat of StreamTicks, encoded: all readers get the same."""
    heartbeat = pb.StreamTicksResponse.Heartbeat(time=timestamp_to_pb(time), watermarks_ns=watermarks_ns)
    return pb.StreamTicksResponse(heartbeat=heartbeat).SerializeToString()


def tick_frame(tick: Any, sequence: int) -> bytes:
    """vnpy's TickData as field 1 of a StreamTicksResponse, so that frames are joined and passed on as they are.

    Raises: ValueError for a tick whose last price is no number. Other numbers that are none count as 0.
    """
    codec = variant()
    if frame := codec.gateway_frame(tick, sequence, _day_of):
        return frame
    extra = tick.extra
    time_ns = extra.get("time_ns") if extra else None
    if time_ns is None:  # of a third party's gateway
        time_ns = codec.time_ns(tick.datetime)
        if not codec.has_numbers(tick):
            _replace_numbers(tick)
    trading_day = extra.get("trading_day") if extra else None
    if not trading_day:
        trading_day = _day_of(tick.vt_symbol)(time_ns)
    return codec.tick_frame(tick, sequence, time_ns, trading_day)


def _replace_numbers(tick: Any) -> None:
    if not abs(tick.last_price) < NO_PRICE:
        raise ValueError(f"last_price is {tick.last_price}")
    fields = tick.__dict__
    for name in NUMBERS:
        if not abs(fields[name]) < NO_PRICE:
            fields[name] = 0.0


def _enum_from_pb(enum: Any, number: int, field: str) -> Any:
    member = _BY_NUMBER[enum].get(number)
    if member is None:
        raise Invalid(f"{field} is not one that a gateway takes", field=field)
    return member


def timestamp_to_pb(time: datetime) -> Timestamp:
    """A time on the wire."""
    since = time - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def _time_from_pb(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)
