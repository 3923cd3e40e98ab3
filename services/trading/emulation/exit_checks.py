"""Self-trade prevention for exits: closing stops, and orders of groups, which are sent long after they were accepted.

An exit was accepted before the order that it would meet, and protects a position: whether resting orders are canceled
or new ones refused, here the resting one goes first, and the exit is sent when it is certainly gone. Until then the
exit is held (SELF_TRADE). Risk is asked only where there is such an order, once about each; without its answer the
exit is sent.
"""

from redfire.enums import OrderStatus
from redfire.reasons import Reason

from services.kernel.tasks import Tasks
from services.trading.domain import apply_reports
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.crossing import crossing_orders
from services.trading.domain.order import Order
from services.trading.peers.risk_client import RiskClient
from services.trading.state.store import TradingStore


class ExitChecks:
    """Asks risk about exits that wait, and knows whose groups are to be settled when an order is gone."""

    def __init__(self, store: TradingStore, risk: RiskClient, tasks: Tasks) -> None:
        self._store = store
        self._cache = store.cache
        self._risk = risk
        self._tasks = tasks
        # Exits that risk is being asked about.
        self._asking: set[str] = set()
        # Groups with an exit that waits.
        self._waiting: set[str] = set()

    def ended(self, changes: ChangeSet) -> set[str]:
        """The groups whose exits may wait no more, as orders ended in a step."""
        if not self._waiting or not changes.finished:
            return set()
        groups = {name for name in self._waiting if name in self._cache.groups}
        self._waiting.clear()  # those that still wait are added again
        return groups

    def ask_about_held(self, changes: ChangeSet) -> None:
        """Ask about the exits that a step holds back."""
        for order in changes.exits_held:
            self._waiting.add(order.order_group_id)
            self.ask(order)

    def ask(self, order: Order) -> None:
        """Ask about the orders that an exit would meet and nothing is known of; the answer is a step that has it."""
        unknown = any(other.order_id not in order.crossed for other in crossing_orders(self._cache, order))
        if unknown and order.order_id not in self._asking:
            self._asking.add(order.order_id)
            self._tasks.spawn("trading.exit", self._ask(order.order_id))

    async def _ask(self, order_id: str) -> None:
        order = self._cache.orders.get(order_id)
        if order is None:
            self._asking.discard(order_id)
            return  # another replica serves its user since
        asked = [other.order_id for other in crossing_orders(self._cache, order)]
        instrument = self._cache.instruments[order.symbol]
        try:
            answer = await self._risk.check(
                order.user_id, order.account_id, order_id, order.asked_again(), order.reserve_price, instrument,
                order.gateway, triggered=True,
            )  # fmt: skip
        finally:
            self._asking.discard(order_id)
        current = self._cache.orders.get(order_id)
        if current is None or not self._store.is_open:
            return  # it ended meanwhile, or is asked about again when the books are read
        with self._store.begin(current.user_id) as changes:
            for other_id in asked:
                current.crossed[other_id] = other_id in answer.cancel_first
                other = self._cache.orders.get(other_id)
                if current.crossed[other_id] and other is not None and other.status is not OrderStatus.PENDING_CANCEL:
                    apply_reports.cancel(self._cache, other, changes, Reason.SELF_TRADE)
            changes.order(current)  # its group is settled with the step, or Stops look at it again
            self._store.commit(changes)
