"""Ends of a replacement: its values become the order's, or the order stays as it was."""

from redfire.enums import OrderStatus

from services.trading.domain.cache import TradingCache
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.order import Leg, Order, ReplaceStep
from services.trading.domain.order_states import move, working_status
from services.trading.domain.report import OrderStatusReport


def adopt_replacement(cache: TradingCache, order: Order, changes: ChangeSet) -> None:
    """The requested values are the order's own now."""
    assert order.pending_quantity is not None
    for leg in order.legs:  # one: an order of several is replaced by canceling them
        leg.quantity += order.pending_quantity - order.quantity
    order.quantity = order.pending_quantity
    if order.pending_price is not None:
        order.reserve_price = order.pending_price
        order.price = order.pending_price
    _end_replacement(cache, order, changes)


def abandon_replacement(cache: TradingCache, order: Order, changes: ChangeSet) -> None:
    """The order stays as it was."""
    _end_replacement(cache, order, changes)


def _end_replacement(cache: TradingCache, order: Order, changes: ChangeSet) -> None:
    order.pending_quantity = order.pending_price = None
    order.replace_step = ReplaceStep.NONE
    if order.status is OrderStatus.PENDING_REPLACE:
        move(order, working_status(order))
    cache.reserve(order)
    cache.trim_hold(order, changes)
    changes.order(order)
    changes.accounts[order.account_id] = cache.accounts[order.account_id]


def is_amended(order: Order, leg: Leg, report: OrderStatusReport) -> bool:
    """Return whether a report shows the order with the requested values."""
    assert order.pending_quantity is not None
    price = order.price if order.pending_price is None else order.pending_price
    return report.quantity == leg.quantity + order.pending_quantity - order.quantity and report.price == price
