"""The shape that a group of orders must have before anything else is asked."""

from typing import TypeVar

from redfire.enums import OrderGroupKind, OrderType, PositionEffect, Side, TimeInForce
from redfire.reasons import Reason

from services.kernel.decimals import plain
from services.kernel.errors import FailedPrecondition, Invalid, RedFireError
from services.trading.domain.order import STOP_TYPES, NewOrder

E = TypeVar("E", bound=RedFireError)


class SelfTrade(FailedPrecondition):
    """An order of the group would trade with one of the same owner."""

    reason = Reason.SELF_TRADE


def of_order(error: E, index: int) -> E:
    """The error of one order of a group: its fields are named from the group's request on."""
    error.fields = {f"orders[{index}].{name}": text for name, text in error.fields.items()}
    error.message = f"orders[{index}]: {error.message}"
    error.args = (error.message,)
    return error


def require_shape(kind: OrderGroupKind, orders: list[NewOrder]) -> None:
    """Raises Invalid, naming the field that breaks a rule of its kind of group."""
    names = [order.client_order_id for order in orders]
    for index, order in enumerate(orders):
        if names.index(order.client_order_id) != index:
            raise _invalid(index, "client_order_id", "each order of a group has its own")
        if order.symbol != orders[0].symbol:
            raise _invalid(index, "symbol", "the orders of a group are of one instrument")
        if order.quantity != orders[0].quantity:
            raise _invalid(index, "quantity", f"the orders of a group have one quantity, {plain(orders[0].quantity)}")
    if kind is OrderGroupKind.BRACKET:
        _require_bracket(orders)
    else:
        _require_oco(orders)


def _require_bracket(orders: list[NewOrder]) -> None:
    if len(orders) != 3:
        raise Invalid("orders: a BRACKET has an entry, a take profit and a stop", field="orders")
    entry, profit, stop = orders
    if entry.position_effect is not PositionEffect.OPEN:
        raise _invalid(0, "position_effect", "the entry opens")
    for index, order in ((1, profit), (2, stop)):
        if order.side is entry.side:
            raise _invalid(index, "side", "the exits are of the other side than the entry")
        if order.position_effect is PositionEffect.OPEN:
            raise _invalid(index, "position_effect", "the exits close")
        if order.position_effect is PositionEffect.CLOSE_YESTERDAY:
            raise _invalid(index, "position_effect", "what the entry opens is today's")
        if order.position_effect is not profit.position_effect:
            raise _invalid(index, "position_effect", "the exits close the same contracts")
    if profit.type is not OrderType.LIMIT:
        raise _invalid(1, "type", "the take profit is a LIMIT order")
    _require_resting(1, profit)
    if stop.type not in STOP_TYPES:
        raise _invalid(2, "type", "the stop is a STOP, STOP_LIMIT or TRAILING_STOP order")
    if profit.price is not None and stop.stop_price is not None:
        beyond = profit.price <= stop.stop_price if profit.side is Side.SELL else profit.price >= stop.stop_price
        if beyond:
            raise _invalid(2, "stop_price", "the stop lies on the other side of the market than the take profit")


def _require_oco(orders: list[NewOrder]) -> None:
    first = orders[0]
    closes = first.position_effect is not PositionEffect.OPEN
    resting = 0
    for index, order in enumerate(orders):
        if order.type is OrderType.MARKET:
            raise _invalid(index, "type", "an order of an OCO waits: LIMIT, STOP, STOP_LIMIT or TRAILING_STOP")
        _require_resting(index, order)
        if order.position_effect is not first.position_effect:
            raise _invalid(index, "position_effect", "the orders of an OCO open, or they close the same contracts")
        if order.reduce_only is not first.reduce_only:
            raise _invalid(index, "reduce_only", "all orders of an OCO are, or none")
        if not closes:
            continue
        if order.side is not first.side:
            raise _invalid(index, "side", "the closing orders of an OCO are of one side")
        resting += order.type not in STOP_TYPES
        if resting > 1:
            text = "at most one closing order of a group rests at the venue, the others are stops"
            raise _invalid(index, "type", text)


def _require_resting(index: int, order: NewOrder) -> None:
    if order.type is OrderType.LIMIT and order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
        raise _invalid(index, "time_in_force", "a LIMIT order that waits for another is DAY, GTC or GTD")


def _invalid(index: int, field: str, text: str) -> Invalid:
    return Invalid(f"orders[{index}].{field}: {text}", field=f"orders[{index}].{field}")
