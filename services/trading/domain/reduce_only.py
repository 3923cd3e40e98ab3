"""Reduce-only orders follow their position: they never ask for more than is held at any moment."""

from decimal import Decimal

from redfire.enums import OrderStatus, PositionSide
from redfire.reasons import Reason

from services.trading.domain import apply_reports
from services.trading.domain.cache import TradingCache
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.money import ZERO
from services.trading.domain.order import Order

_Key = tuple[str, str, PositionSide]


class ReduceOnly:
    """Cuts reduce-only orders in the step that makes their position smaller; those of groups are their group's."""

    def __init__(self, cache: TradingCache) -> None:
        self._cache = cache
        self._orders: dict[_Key, dict[str, Order]] = {}

    def rebuild(self, *_: object) -> None:
        """Follow what the books have."""
        self._orders.clear()
        for order in self._cache.orders.values():
            self.add(order)

    def add(self, order: Order) -> None:
        """Follow an open order, if it is one that reduces only."""
        if order.reduce_only and not order.order_group_id:
            key = (order.account_id, order.symbol, order.position_side)
            self._orders.setdefault(key, {})[order.order_id] = order

    def complete(self, changes: ChangeSet) -> None:
        """Cut what is more than is held after a step."""
        if not self._orders:
            return
        for order in changes.finished:
            key = (order.account_id, order.symbol, order.position_side)
            if (followed := self._orders.get(key)) is not None:
                followed.pop(order.order_id, None)
                if not followed:
                    del self._orders[key]
        # Of an order that was given more by its owner, too.
        changed = [order for order in changes.orders.values() if order.reduce_only]
        for order in changed:
            if order.order_id in self._orders.get((order.account_id, order.symbol, order.position_side), {}):
                self._cut(order, changes)
        for key in list(changes.positions):
            for order in list(self._orders.get(key, {}).values()):
                self._cut(order, changes)

    def _cut(self, order: Order, changes: ChangeSet) -> None:
        position = self._cache.find_position(order)
        held: Decimal = position.held(order.position_effect) if position is not None else ZERO
        if order.leaves_quantity <= held:
            return
        if held <= 0 or order.legs:
            # At the venue nothing is cut in place: what is left of the position may be closed by a new order.
            apply_reports.cancel(self._cache, order, changes, Reason.REDUCE_ONLY)
        else:
            order.quantity = order.cumulative_quantity + held
            changes.order(order)


def hold_reducible(cache: TradingCache, order: Order, changes: ChangeSet) -> bool:
    """Cut a reduce-only stop to what is there now, and hold it; False when there is nothing."""
    position = cache.find_position(order)
    held = position.held(order.position_effect) if position is not None else ZERO
    if position is None or held <= 0:
        text = "there is nothing to reduce any more"
        cache.finish(order, OrderStatus.CANCELED, changes, Reason.REDUCE_ONLY, text)
        return False
    own = order.hold_today + order.hold_yesterday  # of an attempt before
    quantity = min(order.leaves_quantity, position.closable(order.position_effect) + own)
    if quantity <= 0 or (quantity > own and not cache.hold_more(order, quantity - own, changes)):
        apply_reports.rearm(order, Reason.INSUFFICIENT_POSITION, changes)
        return False
    order.quantity = order.cumulative_quantity + quantity
    return True
