"""Orders and cancels on their way to the venue, after their step is durable."""

import asyncio
import logging
from collections.abc import Callable

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
from services.trading.desk import Desk
from services.trading.execution import apply_order_report
from services.trading.order_states import may_follow, move
from services.trading.orders import Delivery, Order, OrderStatus
from services.trading.reports import OrderReport
from services.trading.venue import Venue

log = logging.getLogger(__name__)
_NOT_THERE = frozenset({Delivery.HELD, Delivery.QUEUED, Delivery.SENDING})
# The engine's word that the order is not at the venue; everything else leaves that open.
REFUSALS = (Conflict, Denied, FailedPrecondition, Invalid, NotFound, ResourceExhausted, Unsupported)


class Dispatcher:
    """Sends what the desk hands over, each order once, several at a time."""

    def __init__(self, desk: Desk, venue: Venue, doubt: Callable[[], None]) -> None:
        """`doubt()` is called when only the gateway can tell what became of an order."""
        self._desk = desk
        self._venue = venue
        self._doubt = doubt
        self._queue: asyncio.Queue[tuple[bool, str]] = asyncio.Queue()
        self._sending: set[str] = set()

    def send(self, order_id: str) -> None:
        """Send an order that is durable."""
        self._sending.add(order_id)
        self._queue.put_nowait((True, order_id))

    def cancel(self, order_id: str) -> None:
        """Cancel an order at the venue."""
        self._queue.put_nowait((False, order_id))

    def is_sending(self, order_id: str) -> bool:
        """Whether a send of the order waits or runs: what the gateway says of it now may be old the next moment."""
        return order_id in self._sending

    async def idle(self) -> None:
        """Wait until everything handed over is through."""
        await self._queue.join()

    async def work(self) -> None:
        """One of the senders, for ever."""
        while True:
            is_send, order_id = await self._queue.get()
            try:
                await (self._send(order_id) if is_send else self._cancel(order_id))
            except Exception:
                log.exception("order %s: what was to be sent was not", order_id)
                self._doubt()
            finally:
                if is_send:
                    self._sending.discard(order_id)
                self._queue.task_done()

    async def _send(self, order_id: str) -> None:
        order = self._desk.book.orders.get(order_id)
        if order is None or order.delivery is not Delivery.QUEUED:
            return
        order.delivery = Delivery.SENDING
        reference = order.venue_reference
        try:
            venue_order_id = await self._venue.send(order)
        except REFUSALS as refusal:
            self._refused(order_id, reference, refusal)
            return
        except Exception as error:
            log.warning("order %s: sent, and the outcome is not known: %s", order_id, error)
            self._uncertain(order_id, reference)
            return
        found = self._current(order_id, reference)
        if found is None:
            return
        found.delivery = Delivery.SENT
        found.venue_order_id = found.venue_order_id or venue_order_id
        if found.status is OrderStatus.PENDING_CANCEL:
            await self._cancel(order_id)

    async def _cancel(self, order_id: str) -> None:
        order = self._desk.book.find_order(order_id)
        if order is None or (order.is_open and order.delivery in _NOT_THERE):
            return  # a send that is running cancels when it is through
        try:
            await self._venue.cancel(order)
        except RedFireError as error:
            log.warning("order %s: the cancel failed: %s", order_id, error.message)
            self._doubt()

    def _current(self, order_id: str, reference: str) -> Order | None:
        """The open order, unless it went on to another leg, or the books were read anew, meanwhile."""
        order = self._desk.book.orders.get(order_id)
        return order if order is not None and order.venue_reference == reference else None

    def _refused(self, order_id: str, reference: str, refusal: RedFireError) -> None:
        order = self._current(order_id, reference)
        if order is None or not self._desk.is_open:
            self._doubt()
            return
        reason = (
            refusal.reason if refusal.reason not in (Reason.INTERNAL, Reason.INVALID_FIELD) else Reason.GATEWAY_REJECTED
        )
        report = OrderReport(
            order.gateway, reference, "", order.symbol, order.quantity, order.price, order.leg_announced,
            OrderStatus.REJECTED, reason, refusal.message,
        )  # fmt: skip
        changes = self._desk.step(order.user_id)
        apply_order_report(self._desk.book, order, report, changes)
        self._desk.commit(changes)

    def _uncertain(self, order_id: str, reference: str) -> None:
        order = self._current(order_id, reference)
        if order is not None and self._desk.is_open and order.delivery is Delivery.SENDING:
            changes = self._desk.step(order.user_id)
            order.delivery = Delivery.UNCERTAIN
            if order.status is not OrderStatus.PENDING_CANCEL and may_follow(order.status, OrderStatus.UNKNOWN):
                move(order, OrderStatus.UNKNOWN)
            changes.order(order)
            self._desk.commit(changes)
        self._doubt()
