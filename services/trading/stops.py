"""Stops, stop-limits and trailing stops, held here until the last price triggers them, once."""

import asyncio
import logging
from decimal import Decimal

from redfire.reasons import Reason

from services.trading import execution
from services.trading.desk import Desk
from services.trading.orders import STOP_TYPES, Order, OrderStatus, OrderType, Side, TimeInForce
from services.trading.quotes import Quote, Quotes

log = logging.getLogger(__name__)
HOUSEKEEPING_S = 1.0


class Stops:
    """Watches the last prices for held orders. What triggers, and where a trailing stop is, is in the database."""

    def __init__(self, desk: Desk, quotes: Quotes) -> None:
        self._desk = desk
        self._quotes = quotes
        self._held: dict[str, dict[str, Order]] = {}
        self._moved: set[str] = set()
        quotes.on_price = self.on_price
        desk.on_reloaded(self.rebuild)

    def add(self, order: Order) -> None:
        """Hold a stop that is durable; the last price may trigger it at once."""
        self._held.setdefault(order.symbol, {})[order.order_id] = order
        self._quotes.watch(order.symbol)
        if (quote := self._quotes.find(order.symbol, order.gateway)) is not None:
            self._on_order_price(order, quote.last_price)

    def rebuild(self) -> None:
        """Hold what the books say is held, and watch what they hold positions of."""
        self._held.clear()
        self._moved.clear()
        for order in list(self._desk.book.orders.values()):
            if order.is_held and order.type in STOP_TYPES:
                self.add(order)
        for account in self._desk.book.accounts.values():
            for symbol, _ in account.positions:
                self._quotes.watch(symbol)

    def on_price(self, symbol: str, quote: Quote) -> None:
        """A new last price: it counts for the orders of its own gateway."""
        held = self._held.get(symbol)
        if held:
            for order in list(held.values()):
                if self._quotes.counts_for(quote, order.gateway):
                    self._on_order_price(order, quote.last_price)

    async def keep(self) -> None:
        """Write down how far trailing stops have moved, and end orders whose time is over; for ever."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            if not self._desk.is_open:
                continue
            for order_id in list(self._moved):
                self._moved.discard(order_id)
                order = self._desk.book.orders.get(order_id)
                if order is not None and order.is_held:
                    changes = self._desk.step(order.user_id)
                    changes.order(order)
                    self._desk.commit(changes)
            now_ns = self._desk.clock.now_ns()
            for held in list(self._held.values()):
                for order in list(held.values()):
                    if order.expire_time_ns and order.expire_time_ns <= now_ns:
                        self._expire(order)

    def begin_day(self, gateway: str) -> None:
        """A trading day is over: held DAY orders end with it."""
        for held in list(self._held.values()):
            for order in list(held.values()):
                if order.gateway == gateway and order.time_in_force is TimeInForce.DAY:
                    self._expire(order)

    def _on_order_price(self, order: Order, price: Decimal) -> None:
        if not order.is_open or not order.is_held:
            self._drop(order)
            return
        if not self._desk.is_open:
            return  # the next price comes after the books are read
        if order.type is OrderType.TRAILING_STOP:
            self._trail(order, price)
        stop = order.stop_price
        if stop is not None and (price >= stop if order.side is Side.BUY else price <= stop):
            self._trigger(order, price)

    def _trail(self, order: Order, price: Decimal) -> None:
        """Follow the best price; never loosen."""
        assert order.trailing_offset is not None
        if order.side is Side.BUY:
            wanted = price + order.trailing_offset
            better = order.stop_price is None or wanted < order.stop_price
        else:
            wanted = price - order.trailing_offset
            better = order.stop_price is None or wanted > order.stop_price
        if better:
            order.stop_price = wanted
            self._moved.add(order.order_id)

    def _trigger(self, order: Order, price: Decimal) -> None:
        self._drop(order)
        changes = self._desk.step(order.user_id)
        order.triggered = True
        execution.send(self._desk.book, order, changes)
        log.info("stop %s is triggered by %s", order.order_id, price)
        self._desk.commit(changes)

    def _expire(self, order: Order) -> None:
        self._drop(order)
        if order.is_open and order.is_held:
            changes = self._desk.step(order.user_id)
            self._desk.book.finish(order, OrderStatus.EXPIRED, changes, Reason.ORDER_EXPIRED)
            self._desk.commit(changes)

    def _drop(self, order: Order) -> None:
        self._moved.discard(order.order_id)
        held = self._held.get(order.symbol)
        if held is not None:
            held.pop(order.order_id, None)
            if not held:
                del self._held[order.symbol]
