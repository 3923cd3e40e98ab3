"""Stops, stop-limits and trailing stops, held here until the last price triggers them, once.

A stop that has triggered is an order of its own. What opens is checked by risk again, and must find its margin; what
closes protects a position and is sent as it is. Where it cannot be sent now (the gateway is cut, the market is closed,
risk does not answer) it stays armed: `hold_reason` has the reason, `trading.stop_rearmed` is published, and it is tried
again when the gateway is back and at growing intervals. A closing stop is tried whatever the price does meanwhile; an
opening one only while the price is beyond its trigger, else it waits for its trigger again. Where the venue, or risk,
refuses the order itself, it ends with that reason. What cannot be sent of another exit of a group (its take profit, or
what an exit grew by) is tried again the same way. A closing stop that would trade with an order of its owner waits
until that is gone, where self-trades are prevented (see exit_checks).
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from decimal import Decimal

from redfire.enums import OrderStatus, OrderType, TimeInForce
from redfire.reasons import Reason

from services.kernel.errors import RedFireError
from services.kernel.tasks import Tasks
from services.trading.domain import apply_reports
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.crossing import crossing_orders
from services.trading.domain.fill_or_kill import send_triggered
from services.trading.domain.order import STOP_TYPES, Delivery, Order
from services.trading.domain.pre_trade_checks import GatewayDisconnected, PreTradeChecks
from services.trading.domain.quote import Quote
from services.trading.domain.reduce_only import hold_reducible
from services.trading.domain.stop import is_beyond, trail
from services.trading.emulation.exit_checks import ExitChecks
from services.trading.peers.quotes import Quotes
from services.trading.peers.risk_client import RiskClient
from services.trading.repository import Loaded
from services.trading.state.store import TradingStore

log = logging.getLogger(__name__)
HOUSEKEEPING_S = 1.0
RETRY_EVERY_S = 0.1
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
# Orders ended, or sent, between two turns of the loop.
AT_ONCE = 200


class Stops:
    """Watches the last prices for held orders. What triggers, and where a trailing stop is, is in the database."""

    def __init__(
        self,
        store: TradingStore,
        quotes: Quotes,
        pre_trade_checks: PreTradeChecks,
        risk: RiskClient,
        exits: ExitChecks,
        tasks: Tasks,
        connected: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._quotes = quotes
        self._pre_trade_checks = pre_trade_checks
        self._risk = risk
        self._exits = exits
        self._tasks = tasks
        self._connected = connected
        self._held: dict[str, dict[str, Order]] = {}
        self._moved: set[str] = set()
        # Triggered ones that risk is asked for.
        self._checking: set[str] = set()
        # Triggered ones that could not be sent: (pause, when to try again), in seconds of the monotonic clock.
        self._rearmed: dict[str, tuple[float, float]] = {}
        # Triggered closing ones that wait for an order of their owner to be gone.
        self._meeting: set[str] = set()
        quotes.on_price(self.on_price)
        store.on_loaded(self.load)
        store.on_dropped(self._forget)

    def arm(self, orders: Iterable[Order]) -> None:
        """Hold those that are not held yet, after the step that is being made."""
        for order in orders:
            if order.order_id not in self._held.get(order.symbol, ()):
                asyncio.get_running_loop().call_soon(self.add, order)

    def add(self, order: Order) -> None:
        """Hold a stop that is durable; the last price may trigger it at once."""
        if order.order_id in self._checking or not order.is_held or order.type not in STOP_TYPES or order.triggered:
            return
        self._held.setdefault(order.symbol, {})[order.order_id] = order
        self._quotes.watch(order.symbol)
        quote = self._quotes.find(order.symbol, order.gateway)
        if quote is None or self._pre_trade_checks.is_stale(order.symbol, order.gateway, quote):
            return
        if self._store.is_open and self._is_triggered(order, quote.last_price):
            self._trigger_all([(order, order.stop_price)])

    def load(self, loaded: Loaded, anew: bool) -> None:
        """Hold what is held of the orders that were read, and watch what their accounts hold positions of."""
        if anew:
            for kept in (self._held, self._moved, self._rearmed, self._meeting):
                kept.clear()
        for order in loaded.orders:
            if self._store.cache.orders.get(order.order_id) is not order:
                continue  # it ended since, by what its group stands for
            if order.is_retried and order.hold_reason in apply_reports.TEMPORARY and _is_sent_by_group(order):
                self._rearmed[order.order_id] = (FIRST_PAUSE_S, self._store.clock.monotonic())
            waits = order.is_held and not (order.dormant or order.cancel_first or order.held_day)
            if not waits or order.type not in STOP_TYPES:
                continue
            if order.hold_reason and order.triggered:
                self._rearmed[order.order_id] = (FIRST_PAUSE_S, self._store.clock.monotonic())
            else:
                self.add(order)
        for position in loaded.positions:
            self._quotes.watch(position.symbol)

    def _forget(self, _: Collection[int], users: Collection[str]) -> None:
        """Hold no orders of users whom another replica serves."""
        for held in list(self._held.values()):
            for order in [order for order in held.values() if order.user_id in users]:
                self._drop(order)

    def on_price(self, symbol: str, quote: Quote) -> None:
        """A new last price: it counts for the orders of its own gateway."""
        held = self._held.get(symbol)
        if not held or not self._store.is_open:
            return  # they are held anew when the books are read
        triggered = [
            (order, order.stop_price)
            for order in list(held.values())
            if self._quotes.counts_for(quote, order.gateway) and self._is_triggered(order, quote.last_price)
        ]
        self._trigger_all(triggered[:AT_ONCE])
        if len(triggered) > AT_ONCE:
            self._tasks.spawn("trading.stop", self._trigger_rest(triggered[AT_ONCE:]))

    def on_connected(self, gateway: str) -> None:
        """A gateway is back: what could not be sent to it is tried again now."""
        now = self._store.clock.monotonic()
        for order_id in self._rearmed:
            order = self._store.cache.orders.get(order_id)
            if order is not None and order.gateway == gateway:
                self._rearmed[order_id] = (FIRST_PAUSE_S, now)

    async def run(self) -> None:
        """Write down how far trailing stops have moved, and end orders whose time is over, until cancelled."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            if not self._store.is_open:
                continue
            for order_id in list(self._moved):
                self._moved.discard(order_id)
                order = self._store.cache.orders.get(order_id)
                if order is not None and order.is_held:
                    with self._store.begin(order.user_id) as changes:
                        changes.order(order)
                        self._store.commit(changes)
            await self._expire_all(
                [order for held in self._held.values() for order in held.values() if self._is_over(order)]
            )

    async def retry(self) -> None:
        """Try again what could not be sent, until cancelled."""
        while True:
            await asyncio.sleep(RETRY_EVERY_S)
            now = self._store.clock.monotonic()
            for order_id, (_, due) in list(self._rearmed.items()):
                if due <= now and self._store.is_open:
                    self._try_again(order_id, now)

    def begin_day(self, gateway: str) -> None:
        """A trading day is over: held DAY orders end with it, in parts."""
        orders = [
            order
            for order in self._store.cache.orders.values()
            if order.gateway == gateway
            and order.time_in_force is TimeInForce.DAY
            and order.is_held
            and order.type in STOP_TYPES
            and not order.dormant  # its day begins when its entry fills
            # The gateway may report the new day later than the calendar: what was accepted since is of that day.
            and order.trading_day != self._store.cache.days.of(order.gateway, order.symbol)
        ]
        if orders:
            self._tasks.spawn("trading.stop", self._expire_all(orders))

    async def _expire_all(self, orders: Iterable[Order]) -> None:
        for number, order in enumerate(orders, 1):
            if self._store.is_open and self._store.cache.orders.get(order.order_id) is order:
                self._expire(order)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    # Prices

    def _is_triggered(self, order: Order, price: Decimal) -> bool:
        """Return whether a held stop triggers at this price; a trailing one follows it."""
        if not order.is_open or not order.is_held or order.dormant:
            self._drop(order)  # held anew, by the last price, when its entry fills
            return False
        if self._is_over(order):
            return False  # it is ended in a moment
        if order.type is OrderType.TRAILING_STOP and trail(order, price):
            self._moved.add(order.order_id)
        return is_beyond(order, price)

    def _trigger_all(self, triggered: Iterable[tuple[Order, Decimal | None]]) -> None:
        """Send stops that have triggered by these prices, unless they ended or were moved since."""
        for order, stop_price in triggered:
            held = self._held.get(order.symbol, {}).get(order.order_id) is order
            if held and order.is_open and order.is_held and not order.dormant and order.stop_price == stop_price:
                log.info("stop %s is triggered, its stop price is %s", order.order_id, stop_price)
                self._trigger(order)

    async def _trigger_rest(self, triggered: list[tuple[Order, Decimal | None]]) -> None:
        """Send triggered stops in parts: a price may trigger thousands."""
        for start in range(0, len(triggered), AT_ONCE):
            await asyncio.sleep(0)
            if not self._store.is_open:
                return  # they are held anew, and triggered by the last price, when the books are read
            self._trigger_all(triggered[start : start + AT_ONCE])

    def _is_over(self, order: Order) -> bool:
        """Return whether its time, or the trading day of a DAY order, is over, with or without a report of it."""
        if 0 < order.expire_time_ns <= self._store.clock.now_ns():
            return True
        if order.time_in_force is not TimeInForce.DAY or not order.trading_day or order.dormant:
            return False
        return self._store.cache.days.of(order.gateway, order.symbol) > order.trading_day

    # Sending

    def _trigger(self, order: Order) -> None:
        self._drop(order)
        if not self._connected(order.gateway):
            self._rearm(order, GatewayDisconnected(gateway=order.gateway))
        elif order.is_closing:
            if order.order_group_id or not self._meets_own_orders(order):
                self._send(order)
        else:
            self._checking.add(order.order_id)
            self._tasks.spawn("trading.stop", self._check(order.order_id))

    def _meets_own_orders(self, order: Order) -> bool:
        """Return whether a closing stop waits for orders of its owner that it would trade with; not for a group's."""
        if not any(order.crossed.get(one.order_id, True) for one in crossing_orders(self._store.cache, order)):
            return False
        if order.hold_reason != Reason.SELF_TRADE:
            with self._store.begin(order.user_id) as changes:
                order.triggered, order.hold_reason = True, Reason.SELF_TRADE
                changes.order(order)
                self._store.commit(changes)
        self._meeting.add(order.order_id)
        self._exits.ask(order)
        return True

    def _meet_again(self, order_id: str) -> None:
        order = self._store.cache.orders.get(order_id)
        if order is not None and order.is_held and order.hold_reason == Reason.SELF_TRADE and self._store.is_open:
            self._trigger(order)

    async def _check(self, order_id: str) -> None:
        """Ask risk, and look for the margin, once more: both were asked when the price was another."""
        order = self._store.cache.orders.get(order_id)
        if order is None:
            self._checking.discard(order_id)
            return  # another replica serves its user since
        new, stop_price = order.asked_again(), order.stop_price
        instrument = self._store.cache.instruments[order.symbol]
        quote = self._quotes.find(order.symbol, order.gateway)
        price = self._pre_trade_checks.reserve_price_of(order, new, quote)
        try:
            answer = await self._risk.check(
                order.user_id, order.account_id, order_id, new, price, instrument, order.gateway, triggered=True
            )
        finally:
            self._checking.discard(order_id)
        current = self._store.cache.orders.get(order_id)
        if current is None or not current.is_held or not self._store.is_open:
            return  # canceled meanwhile, or the books are read anew
        if current.stop_price != stop_price:
            self.add(current)  # it was moved meanwhile, and may wait again
            return
        refusal = next(iter(answer.refusals), None) or self._pre_trade_checks.margin_violation(current, price)
        if refusal is None:
            self._send(current, price, " ".join(answer.cancel_first))
        elif refusal.reason in apply_reports.TEMPORARY:
            self._rearm(current, refusal)
        else:
            with self._store.begin(current.user_id) as changes:
                current.triggered = True
                self._store.cache.finish(current, OrderStatus.REJECTED, changes, refusal.reason, refusal.message)
                self._store.commit(changes)

    def _send(self, order: Order, price: Decimal | None = None, cancel_first: str = "") -> None:
        cache = self._store.cache
        with self._store.begin(order.user_id) as changes:
            order.triggered = True
            changes.order(order)
            if price is not None:
                order.reserve_price = price
                cache.reserve(order)
                changes.accounts[order.account_id] = cache.accounts[order.account_id]
            if cancel_first:
                order.cancel_first, order.hold_reason = cancel_first, Reason.SELF_TRADE
            elif order.order_group_id:
                order.hold_reason = ""  # its group sends it when the others of it are gone from the venue
            elif not order.reduce_only or hold_reducible(cache, order, changes):
                send_triggered(cache, order, changes)
            self._store.commit(changes)

    def _rearm(self, order: Order, refusal: RedFireError) -> None:
        if order.triggered and order.hold_reason == refusal.reason:
            self._postpone(order.order_id)  # nothing new to write
            return
        with self._store.begin(order.user_id) as changes:
            order.triggered = True
            apply_reports.rearm(order, refusal.reason, changes)
            log.warning("stop %s cannot be sent, it stays armed: %s", order.order_id, refusal.message)
            self._store.commit(changes)

    def _try_again(self, order_id: str, now: float) -> None:
        order = self._store.cache.orders.get(order_id)
        if order is None or not order.hold_reason or order.held_day:
            self._rearmed.pop(order_id, None)
            return
        if _is_sent_by_group(order):
            self._send_rest(order)
            return
        if not order.is_held:
            self._rearmed.pop(order_id, None)
            return
        if self._is_over(order):
            self._rearmed.pop(order_id, None)
            self._expire(order)
            return
        if order.hold_reason == Reason.MARKET_CLOSED and not self._pre_trade_checks.takes_orders(
            order.symbol, order.gateway
        ):
            self._rearmed[order_id] = (FIRST_PAUSE_S, now + FIRST_PAUSE_S)
            return
        quote = self._quotes.find(order.symbol, order.gateway)
        if order.is_closing or (quote is not None and is_beyond(order, quote.last_price)):
            self._postpone(order_id)
            self._trigger(order)
            return
        # The price has gone back: an opening stop waits for its trigger as before.
        self._rearmed.pop(order_id, None)
        with self._store.begin(order.user_id) as changes:
            order.triggered, order.hold_reason = False, ""
            changes.order(order)
            self._store.commit(changes)
        self.add(order)

    def _send_rest(self, order: Order) -> None:
        """Have a group send what could not be sent of its exit."""
        self._postpone(order.order_id)
        if order.status is OrderStatus.PENDING_CANCEL or order.hold_reason not in apply_reports.TEMPORARY:
            return  # it ends, or its outcome is known to its gateway alone
        if order.is_held and self._is_over(order):
            self._expire(order)
        elif self._connected(order.gateway):
            with self._store.begin(order.user_id) as changes:
                order.hold_reason = ""
                order.legs = [leg for leg in order.legs if leg.is_live or leg.delivery is Delivery.UNCERTAIN]
                changes.order(order)
                self._store.commit(changes)

    def _postpone(self, order_id: str) -> None:
        pause_s, _ = self._rearmed.get(order_id, (FIRST_PAUSE_S, 0.0))
        self._rearmed[order_id] = (min(2 * pause_s, LONGEST_PAUSE_S), self._store.clock.monotonic() + pause_s)

    def complete(self, changes: ChangeSet) -> None:
        """Schedule the next try of what a step armed again."""
        if self._meeting and (changes.finished or not self._meeting.isdisjoint(changes.orders)):
            for order_id in self._meeting:
                asyncio.get_running_loop().call_soon(self._meet_again, order_id)
            self._meeting.clear()
        now = self._store.clock.monotonic()
        for order in changes.rearmed:
            if self._rearmed.get(order.order_id, (0.0, now))[1] <= now:  # else it was just tried again, and waits
                self._postpone(order.order_id)

    def _expire(self, order: Order) -> None:
        self._drop(order)
        if order.is_open and order.is_held:
            with self._store.begin(order.user_id) as changes:
                self._store.cache.finish(order, OrderStatus.EXPIRED, changes, Reason.ORDER_EXPIRED)
                self._store.commit(changes)

    def _drop(self, order: Order) -> None:
        self._moved.discard(order.order_id)
        held = self._held.get(order.symbol)
        if held is not None:
            held.pop(order.order_id, None)
            if not held:
                del self._held[order.symbol]


def _is_sent_by_group(order: Order) -> bool:
    """Return whether it is an exit without a trigger, or with a part at the venue: its group sends the rest."""
    return order.is_closing and bool(order.order_group_id) and (order.type not in STOP_TYPES or bool(order.legs))
