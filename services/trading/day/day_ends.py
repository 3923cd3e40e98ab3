"""The end of trading days for orders at gateways that know none: what ends, what waits, and what is sent again.

vnpy's gateways take DAY orders, report no day's end, and know no GTC and GTD. So a DAY order is canceled when its
trading day's last session ends, and is EXPIRED; a GTC or GTD order, which is there as DAY, is held over the night
(`hold_reason` MARKET_CLOSED) and sent again, as a new leg, when a session of a later trading day begins. A new leg
begins only when the venue has ended the one before it, or when a complete answer of a later day has not got it.
"""

import asyncio
from collections.abc import Callable

from redfire.enums import OrderStatus
from redfire.reasons import Reason

from services.quant.calendar import Calendar
from services.trading.domain import apply_reports
from services.trading.domain.order import GOOD_TILL, Order
from services.trading.state.store import TradingStore

CHECK_S = 1.0
# Orders looked at, or changed, between two turns of the loop.
AT_ONCE = 200


class DayEnds:
    """Ends, holds and sends again."""

    def __init__(self, store: TradingStore, calendar: Calendar, connected: Callable[[str], bool]) -> None:
        self._store = store
        self._calendar = calendar
        self._connected = connected

    async def run(self) -> None:
        """Check all orders concerned every second, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            await self.check()

    async def check(self) -> None:
        """Do what is due now."""
        cache = self._store.cache
        for account in list(cache.accounts.values()):
            # A replayed recording has days of its own, which the calendar does not know.
            if cache.keeps_overnight(account.gateway) or cache.days.reported(account.gateway)[1]:
                continue
            for number, order in enumerate(cache.open_orders(account.account_id)):
                if self._store.is_open and cache.orders.get(order.order_id) is order:
                    self._check(order)
                if number % AT_ONCE == AT_ONCE - 1:
                    await asyncio.sleep(0)

    def _check(self, order: Order) -> None:
        now_ns = self._store.clock.now_ns()
        if order.is_held:
            if not order.held_day and not self._waits_again(order):
                return  # a stop, or an order of a group, that others watch
            if 0 < order.expire_time_ns <= now_ns:
                with self._store.begin(order.user_id) as changes:
                    self._store.cache.finish(order, OrderStatus.EXPIRED, changes, Reason.ORDER_EXPIRED)
                    self._store.commit(changes)
            elif self._may_send(order, now_ns):
                with self._store.begin(order.user_id) as changes:
                    apply_reports.send(self._store.cache, order, changes)
                    self._store.commit(changes)
            return
        if order.day_over or order.status is OrderStatus.PENDING_CANCEL:
            return
        if apply_reports.is_day_over(self._store.cache, order, now_ns):
            with self._store.begin(order.user_id) as changes:
                order.day_over = True
                changes.order(order)
                changes.cancels.append(order.order_id)
                self._store.commit(changes)

    @staticmethod
    def _waits_again(order: Order) -> bool:
        """Return whether it was sent on an earlier day, and could not be sent again yet."""
        return bool(order.hold_reason) and order.leg_count > 0 and not order.is_retried

    def _may_send(self, order: Order, now_ns: int) -> bool:
        return (
            order.time_in_force in GOOD_TILL
            and self._calendar.trading_day(order.symbol, now_ns) > order.held_day
            and self._calendar.takes_orders(order.symbol, now_ns)
            and self._connected(order.gateway)
        )
