"""The platform's messages as strategies' events, and strategies' orders as the platform takes them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from redfire.common.v1 import common_pb2
from redfire.common.v1.error_reason_pb2 import ErrorReason
from redfire.market.v1 import market_pb2
from redfire.trading.v1 import order_service_pb2, trading_pb2

from services.quant.sdk.broker import OrderRequest
from services.quant.sdk.events import (
    Bar,
    Effect,
    Instrument,
    Interval,
    Order,
    OrderKind,
    OrderState,
    Side,
    Tick,
    Trade,
    exchange_time,
)
from services.quant.sdk.rounding import decimal_text, to_step

_SIDES = {common_pb2.SIDE_BUY: Side.BUY, common_pb2.SIDE_SELL: Side.SELL}
_EFFECTS = {
    common_pb2.POSITION_EFFECT_UNSPECIFIED: Effect.OPEN,
    **{common_pb2.PositionEffect.Value(f"POSITION_EFFECT_{effect}"): effect for effect in Effect},
}
_STATES = {common_pb2.OrderStatus.Value(f"ORDER_STATUS_{state}"): state for state in OrderState}
_KINDS = {
    common_pb2.ORDER_TYPE_MARKET: OrderKind.MARKET,
    common_pb2.ORDER_TYPE_LIMIT: OrderKind.LIMIT,
    common_pb2.ORDER_TYPE_STOP: OrderKind.STOP,
    common_pb2.ORDER_TYPE_STOP_LIMIT: OrderKind.STOP,
    common_pb2.ORDER_TYPE_TRAILING_STOP: OrderKind.STOP,
}


def tick_from_pb(pb: market_pb2.Tick) -> Tick:
    """A recorded tick: of which epoch it was is not kept."""
    return Tick(
        pb.symbol,
        pb.time_ns,
        pb.last_price,
        pb.volume,
        pb.turnover,
        pb.open_interest,
        pb.last_quantity,
        pb.open_price,
        pb.high_price,
        pb.low_price,
        pb.pre_close_price,
        pb.limit_up,
        pb.limit_down,
        tuple(pb.bid_prices),
        tuple(pb.bid_quantities),
        tuple(pb.ask_prices),
        tuple(pb.ask_quantities),
        pb.sequence,
        pb.trading_day,
        pb.gateway,
    )


def bar_from_pb(pb: market_pb2.Bar) -> Bar:
    """A closed bar, stamped at its start."""
    time = exchange_time(pb.start_time.ToNanoseconds())
    return Bar(
        pb.symbol,
        time,
        pb.open,
        pb.high,
        pb.low,
        pb.close,
        pb.volume,
        pb.turnover,
        pb.open_interest,
        pb.incomplete,
    )


def order_from_pb(pb: trading_pb2.Order) -> Order:
    """An order as it is now; `reason` is the refusal's, with the venue's words."""
    reason = ErrorReason.Name(pb.reject_reason) if pb.reject_reason else ""
    return Order(
        client_order_id=pb.client_order_id,
        symbol=pb.symbol,
        side=_SIDES[pb.side],
        effect=_EFFECTS[pb.position_effect],
        kind=_KINDS[pb.type],
        quantity=float(pb.quantity),
        price=float(pb.price or pb.stop_price or 0),
        state=_STATES.get(pb.status, OrderState.UNKNOWN),
        order_id=pb.order_id,
        filled=float(pb.cumulative_quantity or 0),
        average_price=float(pb.average_price or 0),
        reason=" ".join(part for part in (reason, pb.reject_message) if part),
        time=exchange_time(pb.create_time.ToNanoseconds()),
    )


def trade_from_pb(pb: trading_pb2.Trade, client_order_id: str) -> Trade:
    """A fill."""
    return Trade(
        trade_id=pb.trade_id,
        order_id=pb.order_id,
        client_order_id=client_order_id,
        symbol=pb.symbol,
        side=_SIDES[pb.side],
        effect=_EFFECTS[pb.position_effect],
        price=float(pb.price),
        quantity=float(pb.quantity),
        time=exchange_time(pb.time.ToNanoseconds()),
    )


def signed_quantity(pb: trading_pb2.Trade) -> Decimal:
    """The signed quantity of a trade, exactly."""
    return Decimal(pb.quantity) * _SIDES[pb.side].sign


def instrument_from_pb(pb: market_pb2.Instrument) -> Instrument:
    """The instrument."""
    return Instrument(
        symbol=pb.symbol,
        price_tick=float(pb.price_tick or 0),
        contract_size=float(pb.contract_size or 1),
        quantity_step=float(pb.quantity_step or 1),
        min_quantity=float(pb.min_quantity or 1),
    )


def interval_to_pb(interval: Interval) -> Any:
    """The contract's interval."""
    return common_pb2.Interval.Value(f"INTERVAL_{interval}")


def time_to_pb(time: datetime) -> Timestamp:
    """A Timestamp."""
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def order_request_to_pb(
    request: OrderRequest, instrument: Instrument, client_order_id: str, account_id: str, strategy_id: str
) -> order_service_pb2.CreateOrderRequest:
    """The order on the instrument's grid of prices and quantities."""
    pb = order_service_pb2.CreateOrderRequest(
        client_order_id=client_order_id,
        account_id=account_id,
        symbol=instrument.symbol,
        side=f"SIDE_{request.side}",
        type=f"ORDER_TYPE_{request.kind}",
        quantity=decimal_text(to_step(request.quantity, instrument.quantity_step)),
        position_effect=f"POSITION_EFFECT_{request.effect}",
        strategy_id=strategy_id,
    )
    if request.price is not None:
        price = decimal_text(to_step(request.price, instrument.price_tick))
        if request.kind is OrderKind.STOP:
            pb.stop_price = price
        else:
            pb.price = price
    return pb
