"""Self-trade prevention: orders that are sent when the resting orders they would trade with are gone (FIX 2964)."""

import asyncio

from redfire.enums import OrderStatus
from redfire.reasons import Reason

from services.trading.domain import apply_reports
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.order import Order
from services.trading.repository import Loaded
from services.trading.state.store import TradingStore

LOOK_EVERY_S = 0.2
# A venue that cancels takes far less; without its word the order is not sent.
LONGEST_WAIT_S = 10.0


class SelfTradePrevention:
    """Cancels what an order names in `cancel_first`, and sends it when all of that is certainly gone.

    It waits at most LONGEST_WAIT_S, then it is refused (SELF_TRADE). After a restart the wait begins anew.
    """

    def __init__(self, store: TradingStore) -> None:
        self._store = store
        self._cache = store.cache
        # Waiting orders: when their wait is over, in seconds of the monotonic clock.
        self._waiting: dict[str, float] = {}
        store.on_loaded(self._load)

    def add(self, order: Order) -> None:
        """Begin the wait of a new order that is durable."""
        with self._store.begin(order.user_id) as changes:
            self._begin(order, changes)
            self._store.commit(changes)

    def complete(self, changes: ChangeSet) -> None:
        """Begin the waits, and end those, that a step brings."""
        for order in list(changes.orders.values()):
            if order.cancel_first and order.is_held and order.order_id not in self._waiting:
                self._begin(order, changes)
        if self._waiting and changes.finished:
            for order_id in list(self._waiting):
                self._look(order_id, changes)

    async def run(self) -> None:
        """Refuse what has waited too long, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = self._store.clock.monotonic()
            for order_id in [name for name, end in self._waiting.items() if end <= now]:
                order = self._cache.orders.get(order_id)
                if order is None or not self._store.is_open:
                    continue
                with self._store.begin(order.user_id) as changes:
                    text = "the resting orders that it would trade with were not canceled in time"
                    self._cache.finish(order, OrderStatus.REJECTED, changes, Reason.SELF_TRADE, text)
                    self._store.commit(changes)

    def _load(self, loaded: Loaded, anew: bool) -> None:
        if anew:
            self._waiting.clear()
        for order in loaded.orders:
            if order.cancel_first and order.is_held:
                self.add(order)

    def _begin(self, order: Order, changes: ChangeSet) -> None:
        self._waiting[order.order_id] = self._store.clock.monotonic() + LONGEST_WAIT_S
        for other in self._others(order):
            if other.status is not OrderStatus.PENDING_CANCEL:
                apply_reports.cancel(self._cache, other, changes, Reason.SELF_TRADE)
        self._look(order.order_id, changes)

    def _look(self, order_id: str, changes: ChangeSet) -> None:
        order = self._cache.orders.get(order_id)
        if order is None or not order.is_held:
            self._waiting.pop(order_id, None)
        elif order.user_id == changes.user_id and not self._others(order):
            del self._waiting[order_id]
            order.cancel_first = order.hold_reason = ""
            changes.order(order)
            if not order.order_group_id and not apply_reports.expire(self._cache, order, changes):
                apply_reports.send(self._cache, order, changes)

    def _others(self, order: Order) -> list[Order]:
        orders = (self._cache.orders.get(order_id) for order_id in order.cancel_first.split())
        return [other for other in orders if other is not None and other.user_id == order.user_id]
