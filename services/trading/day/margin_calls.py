"""Margin calls, where the exchanges' hours are kept: an account whose equity is below its margin may only reduce.

Looked at once a second with the last prices, and so soon after each settlement. Where it begins, opening orders that
rest are canceled (MARGIN_CALL), new ones are refused, and the owner is notified; it ends when the equity suffices.
"""

import asyncio
import logging
from decimal import Decimal

from redfire.enums import AccountKind, OrderStatus
from redfire.reasons import Reason

from services.kernel.decimals import plain
from services.trading.domain import apply_reports
from services.trading.domain.account import Account
from services.trading.domain.change_set import MarginCall
from services.trading.domain.order import Order
from services.trading.state.store import TradingStore

log = logging.getLogger(__name__)
PASS_EVERY_S = 1.0
AT_ONCE = 100
CANCELED_PART = 50


class MarginCalls:
    """Begins and ends margin calls."""

    def __init__(self, store: TradingStore) -> None:
        self._store = store

    async def run(self) -> None:
        """Check all accounts periodically, until cancelled."""
        while True:
            await asyncio.sleep(PASS_EVERY_S)
            await self.check()

    async def check(self) -> None:
        """Check all accounts, in parts."""
        for number, account in enumerate(list(self._store.cache.accounts.values())):
            if account.positions or account.margin_call:
                self._check_account(account)
            if account.margin_call:
                await self._cancel_opening(account)
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)

    def _check_account(self, account: Account) -> None:
        store, cache = self._store, self._store.cache
        if not store.is_open or cache.accounts.get(account.account_id) is not account:
            return
        equity_and_margin = self._equity_and_margin(account)
        if equity_and_margin is None:
            return
        equity, margin = equity_and_margin
        if (equity < margin) == account.margin_call:
            return
        with store.begin(account.user_id) as changes:
            account.margin_call = equity < margin
            changes.account(account)
            changes.margin_calls.append(
                MarginCall(account.user_id, account.account_id, account.margin_call, *equity_and_margin)
            )
            store.commit(changes)
        text = "account %s: a margin call %s: equity %s, margin %s"
        state = "begins" if account.margin_call else "is over"
        log.warning(text, account.account_id, state, plain(equity), plain(margin))

    async def _cancel_opening(self, account: Account) -> None:
        """Cancel opening orders, in parts, at each look: whatever stops in between, none is left."""
        store, cache = self._store, self._store.cache
        opening = [order for order in cache.open_orders(account.account_id) if _is_to_cancel(order)]
        for start in range(0, len(opening), CANCELED_PART):
            if not store.is_open or cache.accounts.get(account.account_id) is not account:
                return
            with store.begin(account.user_id) as changes:
                for order in opening[start : start + CANCELED_PART]:
                    if cache.orders.get(order.order_id) is order and _is_to_cancel(order):
                        apply_reports.cancel(cache, order, changes, Reason.MARGIN_CALL)
                if changes:
                    store.commit(changes)
            await asyncio.sleep(0)

    def _equity_and_margin(self, account: Account) -> tuple[Decimal, Decimal] | None:
        """None while what the positions are worth is not known."""
        prices = self._store.cache.last_prices.of(account.gateway)
        if account.kind is AccountKind.LIVE and account.venue is not None and account.venue.margin is not None:
            return account.venue.balance, account.venue.margin
        if any(symbol not in prices for symbol, _ in account.positions):
            return None
        return account.equity(prices), account.margin


def _is_to_cancel(order: Order) -> bool:
    return not order.is_closing and order.status is not OrderStatus.PENDING_CANCEL
