"""Orders and cancels on their way to the venue, after their step is durable."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from redfire.enums import OrderStatus
from redfire.reasons import Reason

from services.kernel.errors import (
    Conflict,
    Denied,
    FailedPrecondition,
    Invalid,
    NotFound,
    RedFireError,
    ResourceExhausted,
    Unsupported,
)
from services.kernel.rpc.call import Call, current_call
from services.kernel.tasks import Tasks
from services.trading.domain.account_rules import gateway_violation
from services.trading.domain.apply_reports import apply_order_report, end_leg
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.order import GOOD_TILL, Delivery, Leg, Order
from services.trading.domain.order_states import may_follow, move
from services.trading.domain.report import OrderStatusReport
from services.trading.peers.engine_client import EngineClient
from services.trading.state.store import TradingStore

log = logging.getLogger(__name__)
# The engine's word that the order is not at the venue; everything else leaves that open.
REFUSALS = (Conflict, Denied, FailedPrecondition, Invalid, NotFound, ResourceExhausted, Unsupported)
_Work = Callable[[str, str], Coroutine[Any, Any, None]]


class _Queue:
    """Queue of one gateway, sends or cancels, and the number of its workers."""

    __slots__ = ("waiting", "workers")

    def __init__(self) -> None:
        self.waiting: deque[tuple[str, str]] = deque()
        self.workers = 0


class OrderRouter:
    """Sends the orders of durable steps, each leg once, several at a time.

    Each gateway has a queue of orders and one of cancels with workers of their own: a gateway that hangs holds up no
    other one, and no cancel waits behind an order.
    """

    def __init__(
        self,
        store: TradingStore,
        engine: EngineClient,
        tasks: Tasks,
        senders: int,
        request_reconciliation: Callable[[], None],
    ) -> None:
        """`senders` calls of each queue run at once.

        `request_reconciliation()` is called when only the gateway knows an outcome.
        """
        self._store = store
        self._engine = engine
        self._tasks = tasks
        self._senders = senders
        self._request_reconciliation = request_reconciliation
        self._orders: dict[str, _Queue] = {}
        self._cancels: dict[str, _Queue] = {}
        # References of legs whose send waits or runs.
        self._sending: set[str] = set()
        # Orders that their gateways did not cancel when they were asked last.
        self._uncanceled: set[str] = set()
        self._workers = 0
        self._idle = asyncio.Event()
        self._idle.set()
        store.on_reloaded(self._keep_queued)
        store.on_dropped(self._drop)
        store.on_published(self._on_published)

    def _on_published(self, changes: ChangeSet, _: object) -> None:
        for order_id in changes.sends:
            self.send(order_id)
        for order_id in changes.cancels:
            self.cancel(order_id)

    def send(self, order_id: str) -> None:
        """Send the legs of an order that are durable and were not sent."""
        order = self._store.cache.orders.get(order_id)
        if order is None:
            return
        for leg in order.legs:
            reference = order.reference(leg)
            if leg.delivery is Delivery.QUEUED and leg.is_live and reference not in self._sending:
                self._sending.add(reference)
                self._put(self._orders, order.gateway, (order_id, reference), self._send)

    def cancel(self, order_id: str) -> None:
        """Cancel at the venue what may be there of an order."""
        order = self._store.cache.find_order(order_id)
        if order is not None:
            self._put(self._cancels, order.gateway, (order_id, ""), self._cancel)

    def is_sending(self, reference: str) -> bool:
        """Return whether a send of the leg waits or runs: a report of it now may be old the next moment."""
        return reference in self._sending

    @property
    def has_uncanceled(self) -> bool:
        """Return whether the cancel of an open order failed: it is to be requested again."""
        self._uncanceled &= self._store.cache.orders.keys()
        return bool(self._uncanceled)

    async def idle(self) -> None:
        """Wait until everything handed over is through."""
        await self._idle.wait()

    def _put(self, queues: dict[str, _Queue], gateway: str, item: tuple[str, str], work: _Work) -> None:
        queue = queues.get(gateway)
        if queue is None:
            queue = queues[gateway] = _Queue()
        queue.waiting.append(item)
        if queue.workers < self._senders:
            queue.workers += 1
            self._workers += 1
            self._idle.clear()
            self._tasks.spawn("trading.send", self._work(queue, work))

    async def _work(self, queue: _Queue, work: _Work) -> None:
        try:
            while queue.waiting:
                order_id, reference = queue.waiting.popleft()
                try:
                    await work(order_id, reference)
                except Exception:
                    log.exception("order %s: it could not be sent or canceled", order_id)
                    self._request_reconciliation()
                finally:
                    self._sending.discard(reference)
        finally:
            queue.workers -= 1
            self._workers -= 1
            if not self._workers:
                self._idle.set()

    def _keep_queued(self) -> None:
        """The books were read anew: what still waits here certainly was not sent."""
        for queue in self._orders.values():
            for order_id, reference in queue.waiting:
                current = self._current(order_id, reference)
                if current is not None and current[1].delivery is Delivery.UNCERTAIN:
                    current[1].delivery = Delivery.QUEUED

    def _drop(self, _: Collection[int], users: Collection[str]) -> None:
        """Send nothing more of users whom another replica serves."""
        for queues in (self._orders, self._cancels):
            for queue in queues.values():
                # Their orders are out of the books already.
                kept = [item for item in queue.waiting if self._store.cache.find_order(item[0]) is not None]
                self._sending -= {item[1] for item in queue.waiting} - {item[1] for item in kept}
                queue.waiting = deque(kept)

    async def _send(self, order_id: str, reference: str) -> None:
        current = self._current(order_id, reference)
        if current is None or current[1].delivery is not Delivery.QUEUED or not current[1].is_live:
            return
        order, leg = current
        if self._is_of_earlier_day(order, leg):
            # It waited too long: nobody asked for it to trade on this day.
            with self._store.begin(order.user_id) as changes:
                end_leg(self._store.cache, order, leg, changes)
                self._store.commit(changes)
            return
        leg.delivery = Delivery.SENDING
        _join_trace(order)
        try:
            # Whatever led here: no order of a paper account leaves for a real gateway.
            account = self._store.cache.accounts[order.account_id]
            if violation := gateway_violation(account.kind, order.gateway, self._engine.simulated):
                raise violation
            await self._engine.send(order, leg, self._store.fence(order.user_id))
        except REFUSALS as refusal:
            if refusal.reason is Reason.STALE_EPOCH:
                self._store.lose(order.user_id)  # the order is its new owner's to send
            else:
                self._refused(order_id, reference, refusal)
            return
        except Exception as error:
            log.warning("order %s: sent, and the outcome is not known: %s", reference, error)
            self._uncertain(order_id, reference)
            return
        current = self._current(order_id, reference)
        if current is None:
            return
        order, leg = current
        # Not written: it follows from the next report, which has, and writes, the venue's id.
        leg.delivery = Delivery.SENT
        if order.status is OrderStatus.PENDING_CANCEL:
            await self._cancel(order_id)

    async def _cancel(self, order_id: str, _: str = "") -> None:
        order, failed = self._store.cache.find_order(order_id), False
        if order is not None:
            _join_trace(order)
        for leg in list(order.legs) if order is not None else ():
            # A send that waits looks first, and one that runs cancels when it is through.
            if order is None or not leg.is_live or leg.delivery in (Delivery.QUEUED, Delivery.SENDING):
                continue
            try:
                await self._engine.cancel(order, leg, self._store.fence(order.user_id))
            except RedFireError as error:
                if error.reason is Reason.STALE_EPOCH:
                    self._store.lose(order.user_id)
                    return
                failed = True
                if order_id not in self._uncanceled:
                    log.warning("order %s: the cancel failed: %s", order.reference(leg), error.message)
                    self._request_reconciliation()  # it may be over; else it is tried again from time to time
        if failed:
            self._uncanceled.add(order_id)
        else:
            self._uncanceled.discard(order_id)

    def _is_of_earlier_day(self, order: Order, leg: Leg) -> bool:
        cache = self._store.cache
        if not 0 < leg.trading_day < cache.days.of(order.gateway, order.symbol):
            return False
        good_till = order.time_in_force in GOOD_TILL
        return not (good_till and cache.keeps_overnight(order.gateway))

    def _current(self, order_id: str, reference: str) -> tuple[Order, Leg] | None:
        """The open order and its leg, unless it went on to another leg meanwhile."""
        order = self._store.cache.orders.get(order_id)
        leg = order.find_leg(reference) if order is not None else None
        return (order, leg) if order is not None and leg is not None else None

    def _refused(self, order_id: str, reference: str, refusal: RedFireError) -> None:
        current = self._current(order_id, reference)
        if current is None or not self._store.is_open:
            self._request_reconciliation()
            return
        order, leg = current
        reason = (
            refusal.reason if refusal.reason not in (Reason.INTERNAL, Reason.INVALID_FIELD) else Reason.GATEWAY_REJECTED
        )
        report = OrderStatusReport(
            order.gateway, reference, "", order.symbol, leg.quantity, order.price, leg.announced,
            OrderStatus.REJECTED, reason, refusal.message,
        )  # fmt: skip
        with self._store.begin(order.user_id) as changes:
            apply_order_report(self._store.cache, order, report, changes)
            self._store.commit(changes)

    def _uncertain(self, order_id: str, reference: str) -> None:
        current = self._current(order_id, reference)
        if current is not None and self._store.is_open and current[1].delivery is Delivery.SENDING:
            order, leg = current
            with self._store.begin(order.user_id) as changes:
                leg.delivery = Delivery.UNCERTAIN
                if order.status is not OrderStatus.PENDING_CANCEL and may_follow(order.status, OrderStatus.UNKNOWN):
                    move(order, OrderStatus.UNKNOWN)
                changes.order(order)  # it gets its hold_reason only when the gateway does not know either
                self._store.commit(changes)
        self._request_reconciliation()


def _join_trace(order: Order) -> None:
    """Trace a request to the venue as part of the order's trace, and not of the call in which the worker was begun.

    Nor does that call's deadline bound it.
    """
    current_call.set(Call("trading.send", request_id=order.order_id, traceparent=order.traceparent))
