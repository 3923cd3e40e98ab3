"""Triggers of stops: the price that they wait for, and the one that a trailing stop follows."""

from decimal import Decimal

from redfire.enums import Side

from services.trading.domain.order import Order


def is_beyond(order: Order, price: Decimal) -> bool:
    """Return whether the price has reached the stop price."""
    stop = order.stop_price
    return stop is not None and (price >= stop if order.side is Side.BUY else price <= stop)


def trail(order: Order, price: Decimal) -> bool:
    """Follow the best price; never loosen. Returns whether the stop price was moved."""
    assert order.trailing_offset is not None
    if order.side is Side.BUY:
        stop_price = price + order.trailing_offset
        better = order.stop_price is None or stop_price < order.stop_price
    else:
        stop_price = price - order.trailing_offset
        better = order.stop_price is None or stop_price > order.stop_price
    if better:
        order.stop_price = stop_price
    return better
