"""Appraisals: orders that are asked for, with what they are valued by, and the orders made of them."""

from dataclasses import dataclass
from decimal import Decimal

from redfire.enums import OrderStatus, OrderType, PositionEffect

from services.trading.domain.account import Account
from services.trading.domain.instrument import Instrument
from services.trading.domain.order import STOP_TYPES, NewOrder, Order
from services.trading.domain.quote import Quote
from services.trading.domain.stop import trail


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class Appraisal:
    """An order that is asked for, with what it is valued by."""

    new: NewOrder
    instrument: Instrument
    quote: Quote | None
    price: Decimal

    @property
    def opens(self) -> bool:
        """Return whether it opens a position."""
        return self.new.position_effect is PositionEffect.OPEN


def make_order(
    order_id: str,
    account: Account,
    one: Appraisal,
    traceparent: str,
    fingerprint: str,
    now_ns: int,
    waits: bool = False,
) -> Order:
    """The order of an appraised request; one that `waits` for another begins when that one ends."""
    new = one.new
    held = new.type in STOP_TYPES and not waits
    order = Order(
        order_id=order_id,
        client_order_id=new.client_order_id,
        user_id=account.user_id,
        account_id=account.account_id,
        gateway=account.gateway,
        symbol=new.symbol,
        side=new.side,
        type=new.type,
        time_in_force=new.time_in_force,
        position_effect=new.position_effect,
        quantity=new.quantity,
        price=new.price,
        stop_price=new.stop_price,
        trailing_offset=new.trailing_offset,
        expire_time_ns=new.expire_time_ns,
        strategy_id=new.strategy_id,
        reduce_only=new.reduce_only,
        post_only=new.post_only,
        trace_id=traceparent[3:35],
        traceparent=traceparent,
        fingerprint=fingerprint,
        create_time_ns=now_ns,
        update_time_ns=now_ns,
        reserve_price=one.price,
        status=OrderStatus.NEW if held else OrderStatus.PENDING_NEW,
    )
    if held and new.type is OrderType.TRAILING_STOP and new.stop_price is None and one.quote is not None:
        trail(order, one.quote.last_price)
    return order
