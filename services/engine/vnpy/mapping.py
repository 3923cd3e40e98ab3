"""Mapping between vnpy's objects and the engine's: requests, orders, trades, positions.

vnpy's enums are mapped by name: their values depend on the language of the machine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from redfire.reasons import Reason
from vnpy.trader.constant import Direction, Exchange, Offset, Status
from vnpy.trader.constant import OrderType as VnpyOrderType
from vnpy.trader.object import AccountData, CancelRequest, OrderData, PositionData, TradeData
from vnpy.trader.object import OrderRequest as VnpyOrderRequest

from services.engine.updates import (
    AccountUpdate,
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
)
from services.quant.sdk.vnpy_names import OFFSETS, STATUSES

P = ParamSpec("P")
R = TypeVar("R")
UPDATE = "redfire_update"
_LARGEST = 1e15
_DAY = timedelta(days=1)
# How far an exchange's clock may be ahead.
_FUTURE = timedelta(hours=1)

_OFFSETS = {PositionEffect(effect): Offset[name] for effect, name in OFFSETS.items()}
_EFFECTS = {**{offset.name: effect for effect, offset in _OFFSETS.items()}, Offset.NONE.name: PositionEffect.OPEN}
_STATUSES = {name: OrderStatus(status) for status, name in STATUSES.items()}
_VNPY_STATUSES = {
    **{ours: Status[theirs] for theirs, ours in _STATUSES.items()},
    OrderStatus.EXPIRED: Status.CANCELLED,
}
_VNPY_TYPES = {
    (OrderType.LIMIT, TimeInForce.DAY): VnpyOrderType.LIMIT,
    (OrderType.LIMIT, TimeInForce.IOC): VnpyOrderType.FAK,
    (OrderType.LIMIT, TimeInForce.FOK): VnpyOrderType.FOK,
    (OrderType.MARKET, TimeInForce.DAY): VnpyOrderType.MARKET,
    (OrderType.MARKET, TimeInForce.IOC): VnpyOrderType.MARKET,
}


@dataclass
class EngineOrderRequest(VnpyOrderRequest):
    """vnpy's request with the engine's beside it, for gateways with more: SIM has GTC, GTD and exact decimals."""

    request: OrderRequest | None = field(default=None, repr=False)


def split_symbol(symbol: str) -> tuple[str, Exchange]:
    """`IF2612.CFFEX` → `IF2612`, Exchange.CFFEX. Raises ValueError for an exchange that vnpy does not know."""
    code, _, exchange = symbol.rpartition(".")
    return code, Exchange(exchange)


def vnpy_type(request: OrderRequest) -> VnpyOrderType | None:
    """vnpy's type of an order; None when vnpy has no word for it."""
    return _VNPY_TYPES.get((request.type, request.time_in_force))


def request_to_vnpy(request: OrderRequest) -> EngineOrderRequest:
    """An order for vnpy's gateways."""
    code, exchange = split_symbol(request.symbol)
    fallback = VnpyOrderType.LIMIT if request.type is OrderType.LIMIT else VnpyOrderType.MARKET
    return EngineOrderRequest(
        symbol=code,
        exchange=exchange,
        direction=Direction.LONG if request.side is Side.BUY else Direction.SHORT,
        type=vnpy_type(request) or fallback,
        volume=float(request.quantity),
        price=float(request.price or 0),
        offset=_OFFSETS[request.position_effect],
        reference=request.order_id,
        request=request,
    )


def request_from_vnpy(request: VnpyOrderRequest, gateway_name: str) -> OrderRequest:
    """An order that came from a part of vnpy, not through us."""
    market = request.type.name == "MARKET"
    lifetimes = {"FAK": TimeInForce.IOC, "FOK": TimeInForce.FOK}
    return OrderRequest(
        gateway_name=gateway_name,
        order_id="",
        account_id="",
        symbol=request.vt_symbol,
        side=order_side(request.direction),
        type=OrderType.MARKET if market else OrderType.LIMIT,
        time_in_force=lifetimes.get(request.type.name, TimeInForce.DAY),
        position_effect=_EFFECTS[request.offset.name],
        quantity=exact(request.volume),
        price=None if market else exact(request.price),
    )


def cancel_to_vnpy(venue_order_id: str, symbol: str) -> CancelRequest:
    """A cancel for vnpy's gateways."""
    code, exchange = split_symbol(symbol)
    return CancelRequest(orderid=venue_order_id, symbol=code, exchange=exchange)


def position_to_vnpy(update: PositionUpdate) -> PositionData:
    """A position as vnpy's object."""
    code, exchange = split_symbol(update.symbol)
    data = PositionData(
        gateway_name=update.gateway_name,
        symbol=code,
        exchange=exchange,
        direction=Direction[update.side.value],
        volume=float(update.quantity),
        yd_volume=float(update.yesterday_quantity),
    )
    data.extra = {UPDATE: update}
    return data


class Unreadable(ValueError):
    """A gateway's report has a number that is none, or a word that vnpy does not know."""


def _reading(convert: Callable[P, R]) -> Callable[P, R]:
    """Let a conversion fail in one way. Gateways are others' code: where a table of theirs lacks a word, it is None."""

    @wraps(convert)
    def read(*args: P.args, **named: P.kwargs) -> R:
        try:
            return convert(*args, **named)
        except Unreadable:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise Unreadable(f"{convert.__name__}: {type(error).__name__}: {error}") from error

    return read


@_reading
def order_from_vnpy(data: OrderData, order_id: str, now: datetime) -> OrderUpdate:
    """An order as its gateway reports it; `order_id` is empty for one that RedFire did not send."""
    status = _STATUSES[data.status.name]
    quantity, traded = exact(data.volume), exact(data.traded)
    if quantity < 0 or traded < 0 or not data.vt_symbol.isascii():
        raise Unreadable(f"order {data.orderid}: quantity {data.volume}, filled {data.traded}")
    market = data.type.name == "MARKET"
    return OrderUpdate(
        gateway_name=data.gateway_name,
        order_id=order_id,
        venue_order_id=readable(data.orderid),
        symbol=data.vt_symbol,
        side=order_side(data.direction),
        position_effect=_EFFECTS[data.offset.name],
        quantity=quantity,
        price=None if market else exact(data.price),
        cumulative_quantity=traded,
        status=status,
        time=exchange_time(data.datetime, now),
        reason=Reason.GATEWAY_REJECTED if status is OrderStatus.REJECTED else None,
        type=OrderType.MARKET if market else OrderType.LIMIT,
    )


@_reading
def trade_from_vnpy(data: TradeData, order_id: str, time: datetime, trading_day: int) -> TradeUpdate:
    """A fill as its gateway reports it.

    An exchange counts its trades anew each day, two exchanges may give the same number, and so may both sides of a
    trade with oneself: the id that is unique over all days has the day, the exchange and the side in it.
    """
    price, quantity, side = exact(data.price), exact(data.volume), order_side(data.direction)
    if quantity <= 0 or not data.vt_symbol.isascii():
        raise Unreadable(f"trade {data.tradeid}: quantity {data.volume}")
    return TradeUpdate(
        gateway_name=data.gateway_name,
        order_id=order_id,
        venue_order_id=readable(data.orderid),
        venue_trade_id=f"{trading_day}:{data.exchange.value}:{readable(data.tradeid).strip()}:{side}",
        symbol=data.vt_symbol,
        side=side,
        position_effect=_EFFECTS[data.offset.name],
        price=price,
        quantity=quantity,
        time=time,
        trading_day=trading_day,
    )


@_reading
def position_from_vnpy(data: PositionData) -> PositionUpdate:
    """A position as its gateway reports it; a net position is long or short by its sign."""
    if data.extra and UPDATE in data.extra:
        update: PositionUpdate = data.extra[UPDATE]
        return update
    long = data.direction.name == "LONG" or (data.direction.name == "NET" and data.volume >= 0)
    side = PositionSide.LONG if long else PositionSide.SHORT
    return PositionUpdate(
        data.gateway_name,
        data.vt_symbol,
        side,
        exact(abs(data.volume)),
        exact(abs(data.yd_volume)),
        exact(data.price) if data.volume and data.price and abs(data.price) < _LARGEST else None,
    )


@_reading
def account_from_vnpy(data: AccountData, now: datetime) -> AccountUpdate:
    """An account as its gateway reports it."""
    return AccountUpdate(
        data.gateway_name,
        readable(data.accountid),
        balance=exact(data.balance),
        available=exact(data.available),
        frozen=exact(data.frozen),
        time=now,
    )


def readable(text: str) -> str:
    """A gateway's text without what neither UTF-8 nor a database takes: halves of surrogate pairs, NUL."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")


def exact(value: float) -> Decimal:
    """A gateway's float as the decimal that it stands for. Raises: Unreadable for one that stands for none."""
    if not -_LARGEST < value < _LARGEST:
        raise Unreadable(f"{value} is no number")
    return round(Decimal(repr(float(value))), 8).normalize() + 0


def order_side(direction: Any) -> Side:
    """BUY or SELL."""
    return Side.SELL if direction is not None and direction.name == "SHORT" else Side.BUY


@_reading
def exchange_time(time: datetime | None, now: datetime) -> datetime:
    """The time of a report, in UTC.

    DCE and GFEX write the trading day as the date of what was done the evening before: a time that seems to be in the
    future was the same time of an earlier day.
    """
    if time is None:
        return now
    time = time.astimezone(UTC)
    if time > now + _FUTURE:
        time -= timedelta(days=-((now + _FUTURE - time) // _DAY))
    return time
