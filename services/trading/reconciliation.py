"""Makes the books agree with what gateways have: at start, after every gap, and from time to time."""

import asyncio
import logging
from decimal import Decimal

from redfire.reasons import Reason

from services.kernel.errors import RedFireError
from services.kernel.live import Live
from services.trading.desk import Desk
from services.trading.dispatch import Dispatcher
from services.trading.execution import send, settle
from services.trading.intake import Intake
from services.trading.money import ZERO
from services.trading.orders import Delivery, Leg, Order, OrderStatus, PositionSide, ReplaceStep, order_id_of
from services.trading.reports import VenueState
from services.trading.settings import TradingSettings
from services.trading.venue import Venue

log = logging.getLogger(__name__)
RETRY_S = 0.5
AMEND_SETTLES_S = 5.0
# A gateway that has just come back may not have all its orders together at once.
FORGOTTEN_S = 10.0


class Reconciliation:
    """Asks gateways what they have and books the difference."""

    def __init__(self, desk: Desk, venue: Venue, settings: Live[TradingSettings]) -> None:
        self._desk = desk
        self._venue = venue
        self._settings = settings
        self._wanted = asyncio.Event()
        # Orders that their gateway knew once and does not any more, and since when.
        self._missing: dict[str, int] = {}
        self._differences: dict[str, dict[tuple[str, PositionSide], Decimal]] = {}
        self.done_once = False
        self.intake: Intake
        self.dispatcher: Dispatcher
        desk.on_reloaded(self.want)

    def want(self) -> None:
        """Something may have been missed: ask now."""
        self._wanted.set()

    async def run(self) -> None:
        """Ask whenever it is wanted, and from time to time."""
        while True:
            pause_s = self._settings.value.reconcile_interval_s
            if any(_is_doubtful(order) for order in self._desk.book.orders.values()):
                pause_s = min(pause_s, RETRY_S)
            try:
                async with asyncio.timeout(pause_s):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            if self._desk.is_open and not await self.reconcile():
                await asyncio.sleep(RETRY_S)
                self._wanted.set()

    async def reconcile(self) -> bool:
        """Ask every gateway that is used; False when one could not be asked."""
        book = self._desk.book
        if not self.intake.connected:
            return True  # the engine is gone; when it is back, that is an event
        gateways = {account.gateway for account in book.accounts.values()}
        gateways |= {name for name, connected in self.intake.connected.items() if connected}
        complete = True
        for gateway in sorted(gateways):
            if self.intake.connected.get(gateway) is False:
                continue  # when it is connected again, that is an event, and it is asked
            try:
                await self._reconcile(gateway)
            except RedFireError as error:
                log.warning("gateway %s cannot be asked what it has: %s", gateway, error.message)
                complete = False
        self.done_once = self.done_once or complete
        return complete

    async def _reconcile(self, gateway: str) -> None:
        desk, sending = self._desk, self.dispatcher.is_sending
        # What is being sent at this moment may or may not be in the answer: it is left for the next time.
        asked = {
            reference: order.order_id
            for order in desk.book.orders.values()
            if order.gateway == gateway
            for leg in order.legs
            if leg.is_live and not sending(reference := order.reference(leg))
        }
        now_ns = desk.clock.now_ns()
        state = await self._venue.state(gateway, list(asked))
        # An order that was being written was not sent yet, and by now it is on its way.
        await desk.journal.durable()
        self.intake.begin_day(gateway, state.trading_day)
        for trade in state.trades:
            await self.intake.take(trade)
        for report in state.orders:
            await self.intake.take(report, now_ns - int(AMEND_SETTLES_S * 1e9))
        if not state.complete or not desk.is_open:
            return
        known = {report.reference for report in state.orders}
        missing = {}
        for reference, order_id in asked.items():
            order = desk.book.orders.get(order_id)
            leg = order.find_leg(reference) if order is not None else None
            if order is None or leg is None or not leg.is_live or sending(reference):
                continue
            if reference in known:
                if order.status is OrderStatus.PENDING_CANCEL or order.replace_step is ReplaceStep.CANCELING:
                    self.dispatcher.cancel(order_id)  # the first request may be lost
            elif self._not_there(order, leg, now_ns):
                missing[reference] = self._missing.get(reference, now_ns)
        others = {name: since_ns for name, since_ns in self._missing.items() if name not in asked}
        self._missing = missing | {
            name: since_ns for name, since_ns in others.items() if order_id_of(name) in desk.book.orders
        }
        for reference in [name for name, since_ns in missing.items() if now_ns - since_ns >= FORGOTTEN_S * 1e9]:
            del self._missing[reference]
            self._end(
                reference, OrderStatus.EXPIRED, Reason.ORDER_EXPIRED, "the venue does not know the order any more"
            )
        self._compare(gateway, state)

    def _not_there(self, order: Order, leg: Leg, now_ns: int) -> bool:
        """Deal with a leg that the gateway does not know; True when it once knew it."""
        if leg.delivery is not Delivery.UNCERTAIN:
            return leg.delivery is Delivery.SENT
        if now_ns - order.update_time_ns >= self._settings.value.unknown_grace_s * 1e9:
            self._end(order.reference(leg), OrderStatus.REJECTED, Reason.NOT_SENT, "the gateway did not get it")
        return False

    def _end(self, reference: str, status: OrderStatus, reason: Reason, message: str) -> None:
        order = self._desk.book.orders.get(order_id_of(reference))
        leg = order.find_leg(reference) if order is not None else None
        if order is None or leg is None:
            return
        log.warning("order %s: %s", reference, message)
        changes = self._desk.step(order.user_id)
        if order.triggered and status is OrderStatus.REJECTED and order.status is not OrderStatus.PENDING_CANCEL:
            order.legs.remove(leg)
            send(self._desk.book, order, changes)  # a stop outlives a restart; the gateway has no other one
        else:
            if status is OrderStatus.REJECTED and (leg.number or order.status is OrderStatus.PENDING_CANCEL):
                status = OrderStatus.CANCELED  # it was replaced, or its cancel was wanted anyway
            leg.announced_status, leg.announced = status, leg.filled
            leg.announced_reason, leg.announced_message = reason, message
            changes.order(order)
            settle(self._desk.book, order, changes)
        self._desk.commit(changes)

    def _compare(self, gateway: str, state: VenueState) -> None:
        """Tell of positions that differ twice in a row: once may be a fill that is on its way."""
        ours = self._desk.book.net_quantities(gateway)
        theirs = {(p.symbol, p.side): p.quantity for p in state.positions if p.gateway in ("", gateway)}
        differences = {
            key: theirs.get(key, ZERO) - ours.get(key, ZERO)
            for key in ours.keys() | theirs.keys()
            if theirs.get(key, ZERO) != ours.get(key, ZERO)
        }
        before = self._differences.get(gateway, {})
        for (symbol, side), difference in differences.items():
            if before.get((symbol, side)) == difference:
                log.warning("gateway %s holds %s more %s of %s than the books", gateway, difference, side.name, symbol)
        self._differences[gateway] = differences


def _is_doubtful(order: Order) -> bool:
    return order.status is OrderStatus.UNKNOWN or any(leg.delivery is Delivery.UNCERTAIN for leg in order.legs)
