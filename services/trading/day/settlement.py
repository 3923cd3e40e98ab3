"""The end of a trading day where the exchanges' hours are kept (`trading.enforce_sessions`), and of a contract.

**Daily settlement.** When the trading day that a position was last in is over, it is marked to the settlement price:
the profit goes into cash (a SETTLEMENT entry), the price becomes its cost, today's contracts become yesterday's. The
books do this whenever they bring a position into a later day (TradingCache.roll), in the one step that does it, so
it is done once for each position and day whatever stops in between; this pass only sees to it that nothing waits for an
order or a fill. Days that the platform slept through are settled as one: profits add up to the same.

**The settlement price** is the last price that is known when it is settled: the day's last one, since trading days
change at 17:00, after all closes and before any night. Vendors' ticks carry no settlement price. Without a price a
position changes its day only, and the next settlement makes up for it.

Where no hours are kept (`trading.enforce_sessions` is off) nothing is settled or expires: the pass brings positions
into the day that has begun, so that streams publish it.

**Expiry.** After a contract's last trading day its open orders end EXPIRED, new ones are refused (CONTRACT_EXPIRED),
and what is held is closed at the settlement price by a trade without an order, once no order of it is open any more.

Live accounts are settled by their gateway, as it reports; only their expired positions are closed here.
"""

import asyncio
import logging
from contextlib import suppress
from decimal import Decimal

from redfire.enums import LedgerEntryKind, OrderStatus, PositionEffect, PositionSide, Side
from redfire.reasons import Reason

from services.kernel.errors import Unavailable
from services.kernel.identifiers import new_id
from services.trading.domain import apply_reports, ledger
from services.trading.domain.account import Account
from services.trading.domain.order import Order
from services.trading.domain.position import Position
from services.trading.domain.trade import Trade
from services.trading.peers.quotes import Quotes
from services.trading.state.store import TradingStore

log = logging.getLogger(__name__)
PASS_EVERY_S = 1.0
# Where no hours are kept the pass only publishes which contracts a new trading day made yesterday's.
ROLL_EVERY_S = 5.0
# After so many accounts or orders others have their turn.
AT_ONCE = 50


class Settlement:
    """Settles positions, and ends what is over."""

    def __init__(self, store: TradingStore, quotes: Quotes) -> None:
        self._store = store
        self._every_s = PASS_EVERY_S if store.cache.enforces_sessions else ROLL_EVERY_S
        self._quotes = quotes
        self._unpriced: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Settle and expire periodically, until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            await self.settle()

    async def settle(self) -> None:
        """Settle what is due now, in parts."""
        enforced = self._store.cache.enforces_sessions
        for number, order in enumerate(list(self._store.cache.orders.values()) if enforced else ()):
            self._expire_order(order)
            await self._yield(number)
        for number, account in enumerate(list(self._store.cache.accounts.values())):
            if account.positions:
                self._settle_account(account)
                for position in list(account.positions.values()) if enforced else ():
                    await self._expire_position(account, position)
            await self._yield(number)

    async def _yield(self, number: int) -> None:
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
            if self._store.commit_log.waiting > 2 * AT_ONCE:
                with suppress(Unavailable):
                    await self._store.commit_log.durable()

    def _is_current(self, account: Account) -> bool:
        return self._store.is_open and self._store.cache.accounts.get(account.account_id) is account

    def _settle_account(self, account: Account) -> None:
        due = [position for position in account.positions.values() if not position.is_current]
        if not due or not self._is_current(account):
            return
        with self._store.begin(account.user_id) as changes:
            for position in due:
                self._store.cache.roll(position, changes)
            self._store.commit(changes)

    def _expire_order(self, order: Order) -> None:
        store, cache = self._store, self._store.cache
        instrument = cache.instruments.get(order.symbol)
        if instrument is None or not cache.is_expired(order.gateway, instrument):
            return
        if not store.is_open or cache.orders.get(order.order_id) is not order:
            return
        if order.status is OrderStatus.PENDING_CANCEL:
            return
        with store.begin(order.user_id) as changes:
            if order.is_held:
                cache.finish(order, OrderStatus.EXPIRED, changes, Reason.CONTRACT_EXPIRED)
            else:
                apply_reports.cancel(cache, order, changes, Reason.CONTRACT_EXPIRED)
            store.commit(changes)

    async def _expire_position(self, account: Account, position: Position) -> None:
        cache = self._store.cache
        instrument = cache.instruments.get(position.symbol)
        if instrument is None or not cache.is_expired(position.gateway, instrument):
            return
        if any(order.symbol == position.symbol for order in cache.open_orders(account.account_id)):
            return  # a fill of it may still be on its way
        price = cache.last_prices.of(position.gateway).get(position.symbol)
        if price is None:
            await self._quotes.fetch(position.symbol, position.gateway)
            price = cache.last_prices.of(position.gateway).get(position.symbol)
        if not self._is_current(account) or account.positions.get(position.key) is not position:
            return
        if price is None:
            if (account.account_id, position.symbol) not in self._unpriced:
                self._unpriced.add((account.account_id, position.symbol))
                log.error("%s has expired and cannot be settled: it has no price", position.symbol)
            return
        self._close_out(account, position, price, instrument.expire_date)

    def _close_out(self, account: Account, position: Position, price: Decimal, trading_day: int) -> None:
        with self._store.begin(account.user_id) as changes:
            self._store.cache.roll(position, changes)
            quantity, trade_id = position.quantity, new_id()
            account.margin -= position.margin
            realized = position.close(price, position.day_quantity, position.older_quantity)
            account.margin += position.margin
            account.drop_flat(position)
            changes.position(position)
            changes.entries += ledger.post(account, LedgerEntryKind.SETTLEMENT, realized, trade_id, changes.now_ns)
            side = Side.SELL if position.side is PositionSide.LONG else Side.BUY
            changes.trades.append(
                Trade(
                    trade_id, "", account.user_id, account.account_id, position.symbol, side, PositionEffect.CLOSE,
                    price, quantity, Decimal(0), realized, changes.now_ns, changes.now_ns, position.gateway,
                    f"expiry:{trading_day}:{account.account_id}:{position.symbol}:{position.side}", "", trading_day,
                )
            )  # fmt: skip
            changes.account(account)
            log.info("account %s: %s has expired and is settled at %s", account.account_id, position.symbol, price)
            self._store.commit(changes)
