"""Rules of orders: accepted once, held or sent, canceled, listed."""

import asyncio
from collections.abc import Awaitable, Callable

from redfire.enums import OrderStatus, PositionEffect
from redfire.reasons import Reason

from services.kernel.errors import (
    CommitUnknown,
    Conflict,
    Duplicate,
    FailedPrecondition,
    NotFound,
    RedFireError,
    Unavailable,
)
from services.kernel.paging import Page, PageResult
from services.trading import metrics
from services.trading.account_opening import Accounts
from services.trading.domain import apply_reports
from services.trading.domain.account import Account
from services.trading.domain.appraisal import Appraisal, make_order
from services.trading.domain.change_set import ChangeSet
from services.trading.domain.instrument import Instrument
from services.trading.domain.lease import Lease
from services.trading.domain.order import STOP_TYPES, NewOrder, Order
from services.trading.domain.order_ids import new_order_id
from services.trading.domain.pre_trade_checks import PreTradeChecks, expiry_violation
from services.trading.domain.reduce_only import ReduceOnly
from services.trading.emulation.self_trade_prevention import SelfTradePrevention
from services.trading.emulation.stops import Stops
from services.trading.list_repository import ListRepository, OrderFilter
from services.trading.peers.instruments import Instruments
from services.trading.peers.quotes import Quotes
from services.trading.peers.risk_client import RiskClient
from services.trading.state.accepting import Accepting
from services.trading.state.store import TradingStore

# Orders canceled in one step: others are served between the steps.
CANCELED_PART = 50


class ClientOrderIdReused(Conflict):
    """Refusal of a client_order_id that another order of the account has."""

    reason = Reason.CLIENT_ORDER_ID_REUSED


class OrderNotOpen(FailedPrecondition):
    """The order is finished."""

    reason = Reason.ORDER_NOT_OPEN


class OrderService:
    """Orders of users."""

    def __init__(
        self,
        store: TradingStore,
        accounts: Accounts,
        instruments: Instruments,
        quotes: Quotes,
        pre_trade_checks: PreTradeChecks,
        risk: RiskClient,
        stops: Stops,
        reduce_only: ReduceOnly,
        self_trade_prevention: SelfTradePrevention,
        lists: ListRepository,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._instruments = instruments
        self._quotes = quotes
        self._pre_trade_checks = pre_trade_checks
        self._risk = risk
        self._stops = stops
        self._reduce_only = reduce_only
        self._self_trade_prevention = self_trade_prevention
        self._lists = lists
        self._cache = store.cache
        self._written_instruments: dict[str, Instrument] = {}
        # By account and client_order_id: what is being accepted now.
        self.accepting: dict[tuple[str, str], Accepting[Order]] = {}

    async def create_order(self, user_id: str, new: NewOrder, traceparent: str = "", fingerprint: str = "") -> Order:
        """Accept an order; asked again with the same client_order_id and values, the first order.

        `fingerprint` stands for the values where the order was not asked for as such. Raises ClientOrderIdReused, and
        what PreTradeChecks and RiskClient refuse with; a refused request leaves nothing.
        """
        account = await self._accounts.resolve(user_id, new.account_id)
        fingerprint = fingerprint or new.fingerprint()
        key = (account.account_id, new.client_order_id)
        running = self.accepting.get(key)
        if running is not None and running.fingerprint != fingerprint:
            raise ClientOrderIdReused(client_order_id=new.client_order_id)
        try:
            if running is not None:
                return await running.outcome()
            known = self._cache.find_by_client(*key)
            if known is None:
                return await self._accept(key, account, new, traceparent, fingerprint)
        except RedFireError as refusal:
            # An order of long ago may have this id: then that one is the answer, whatever a new one would get.
            if not isinstance(refusal, Unavailable | CommitUnknown):
                earlier = await self._store.find_by_client(user_id, *key)
                if earlier is not None:
                    return require_same(earlier, fingerprint)
            metrics.refused.labels(refusal.reason).inc()
            raise
        await self._store.commit_log.durable()
        return require_same(known, fingerprint)

    async def get_order(self, user_id: str, order_id: str) -> Order:
        """An order of the user. Raises NotFound."""
        return await self._store.get_order(user_id, order_id)

    async def lookup_order(self, user_id: str, account_id: str, client_order_id: str) -> Order:
        """The order with the client's id. Raises NotFound."""
        account = await self._accounts.resolve(user_id, account_id)
        order = await self._store.find_by_client(user_id, account.account_id, client_order_id)
        if order is None:
            raise NotFound("order", client_order_id)
        return order

    async def require_account(self, user_id: str, account_id: str) -> None:
        """Raises NotFound for an account that is not the user's."""
        if account_id:
            await self._accounts.resolve(user_id, account_id)

    async def find_by_client(self, user_id: str, account_id: str, client_order_id: str) -> Order | None:
        """The order with the client's id, or None."""
        return await self._store.find_by_client(user_id, account_id, client_order_id)

    async def list_orders(self, user_id: str, order_filter: OrderFilter, page: Page) -> PageResult[str]:
        """The user's orders, newest first, as rows' texts."""
        await self._store.commit_log.durable()
        return await self._lists.list_orders(user_id, order_filter, page)

    async def cancel_order(self, user_id: str, order_id: str) -> Order:
        """Ask for a cancel; of a canceled order, the same answer. Raises NotFound, OrderNotOpen, RiskRefused."""
        self._store.require_open(user_id)
        order = await self._store.get_order(user_id, order_id)
        self._store.require_open(user_id)
        order = self._cache.find_order(order_id) or order
        if order.status is OrderStatus.CANCELED:
            return order
        if not order.is_open:
            raise OrderNotOpen(f"the order is {order.status.name}", status=order.status.name)
        if order.status is OrderStatus.PENDING_CANCEL:
            return order
        if (refusal := await self._risk.check_cancel(order)) is not None:
            raise refusal
        self._store.require_open(user_id)
        order = self._cache.find_order(order_id) or order
        if order.is_open and order.status is not OrderStatus.PENDING_CANCEL:
            with self._store.begin(user_id) as changes:
                apply_reports.cancel(self._cache, order, changes)
                written = self._store.commit(changes)
            await written
        return order

    async def cancel_all_orders(self, user_id: str, account_id: str, symbol: str) -> list[Order]:
        """Ask for all open orders to be canceled; of one account or symbol where these are given.

        Raises RiskRefused when risk lets none of them be canceled; else those are canceled that it lets.
        """
        if account_id:
            accounts = [await self._accounts.resolve(user_id, account_id)]
        else:
            accounts = self._accounts.of_user(user_id)
        return await self._cancel_accounts(
            accounts, lambda order: not symbol or order.symbol == symbol, check=self._risk.check_cancel
        )

    async def cancel_account_orders(
        self, user_id: str, account_id: str, opening_only: bool = False, reason: str = ""
    ) -> int:
        """Cancel all orders of any user or account, or of everybody when both are empty; for other services.

        With `opening_only` closing orders stay. `reason` becomes the orders' reject_reason.
        """
        self._store.require_open()
        accounts = [
            account
            for account in self._cache.accounts.values()
            if (not user_id or account.user_id == user_id) and (not account_id or account.account_id == account_id)
        ]
        return len(await self._cancel_accounts(accounts, lambda order: not (opening_only and order.is_closing), reason))

    async def cancel_leased(self, lease: Lease) -> int:
        """Cancel an account's working orders because its stream is gone.

        Closing stops protect a position with or without a stream: they stay unless the lease includes them.
        """
        account = self._cache.accounts[lease.account_id]

        def is_leased(order: Order) -> bool:
            return lease.cancel_protective_stops or not (order.is_closing and order.type in STOP_TYPES)

        return len(await self._cancel_accounts([account], is_leased, Reason.CANCEL_ON_DISCONNECT))

    async def _cancel_accounts(
        self,
        accounts: list[Account],
        applies_to: Callable[[Order], bool],
        reason: str = "",
        check: Callable[[Order], Awaitable[RedFireError | None]] | None = None,
    ) -> list[Order]:
        # Orders that are just being written are there when that is through.
        await asyncio.gather(*self._acceptances({account.account_id for account in accounts}), return_exceptions=True)
        self._store.require_open()
        canceled: list[Order] = []
        written, refusals = [], []
        for account in accounts:
            open_orders = [
                order
                for order in self._cache.open_orders(account.account_id)
                if applies_to(order)
                and order.status is not OrderStatus.PENDING_CANCEL
                # Asked for since: it may still be refused, and nothing may build on it before.
                and (account.account_id, order.client_order_id) not in self.accepting
            ]
            for start in range(0, len(open_orders), CANCELED_PART):
                part = open_orders[start : start + CANCELED_PART]
                if check is not None:
                    answers = [await check(order) for order in part]
                    refusals += [refusal for refusal in answers if refusal is not None]
                    part = [order for order, refusal in zip(part, answers, strict=True) if refusal is None]
                    self._store.require_open()
                if not self._store.serves(account.user_id):
                    break  # its orders are canceled where it is served now
                with self._store.begin(account.user_id) as changes:
                    for order in part:
                        # Others were served between the parts: it may have ended, or be another one since the books
                        # were read anew.
                        current = self._cache.orders.get(order.order_id)
                        if current is not None and current.status is not OrderStatus.PENDING_CANCEL:
                            apply_reports.cancel(self._cache, current, changes, reason)
                            canceled.append(current)
                    if changes:
                        written.append(self._store.commit(changes))
                await asyncio.sleep(0)
                self._store.require_open()
        for step in written:
            await step
        if refusals and not canceled:
            raise refusals[0]
        return canceled

    def _acceptances(self, account_ids: set[str]) -> list[Awaitable[Order]]:
        return [running.outcome() for (account_id, _), running in self.accepting.items() if account_id in account_ids]

    async def _accept(
        self, key: tuple[str, str], account: Account, new: NewOrder, traceparent: str, fingerprint: str
    ) -> Order:
        running = self.accepting[key] = Accepting(fingerprint, self._store.clock.monotonic())
        try:
            order, instrument, written = await self._accept_new(account, new, traceparent, fingerprint)
        except BaseException as refusal:
            del self.accepting[key]
            running.end(None, refusal if isinstance(refusal, Exception) else Unavailable("nothing was done; try again"))
            raise

        # From here on the caller's deadline ends the wait, not the order.
        def end(done: "asyncio.Future[None]") -> None:
            del self.accepting[key]
            error = done.exception()
            if error is None:
                self._written_instruments[instrument.symbol] = instrument
                metrics.processing.observe(self._store.clock.monotonic() - running.started)
            elif isinstance(error, Duplicate) and self._cache.orders.get(order.order_id) is order:
                self._cache.withdraw(order)
            running.end(order, error)
            if error is None and order.reduce_only and order.is_open:
                self._reduce_only.add(order)
            # Last, as it may trigger at once: a step of its own, whose failure is not this order's.
            if error is None and order.is_held:
                if order.cancel_first:
                    self._self_trade_prevention.add(order)
                else:
                    self._stops.add(order)

        outcome = running.outcome()
        written.add_done_callback(end)
        try:
            return await outcome
        except Duplicate:
            await self._risk.release(account.account_id, [order.order_id])
            raise

    async def appraise(self, account: Account, new: NewOrder, holds: bool = True) -> Appraisal:
        """Appraise an order before risk does; raises what refuses it.

        Without `holds` it is not asked whether there is enough to close or to open with.
        """
        instrument = await self._instruments.require(new.symbol)
        quote = self._quotes.find(new.symbol, account.gateway)
        if quote is None:
            quote = await self._quotes.fetch(new.symbol, account.gateway)
        if holds and new.reduce_only:
            new = self._pre_trade_checks.reduced(account, new)
        price = self._pre_trade_checks.reserve_price(new, quote)
        if expired := expiry_violation(new, self._store.clock.now_ns()):
            raise expired
        if violations := self._pre_trade_checks.violations(account, instrument, quote, new, price, holds):
            raise violations[0]
        assert price is not None
        return Appraisal(new, instrument, quote, price)

    def note_instrument(self, instrument: Instrument, changes: ChangeSet) -> None:
        """Write an instrument down with the first order in it."""
        if self._written_instruments.get(instrument.symbol) is not instrument:
            changes.instruments.append(instrument)

    async def _accept_new(
        self, account: Account, new: NewOrder, traceparent: str, fingerprint: str
    ) -> tuple[Order, Instrument, "asyncio.Future[None]"]:
        one = await self.appraise(account, new)
        order_id, instrument = new_order_id(account.user_id), one.instrument
        answer = await self._risk.check(
            account.user_id, account.account_id, order_id, one.new, one.price, instrument, account.gateway
        )
        if answer.refusals:
            raise answer.refusals[0]
        try:
            # Risk was awaited: others may have been accepted, or the books read anew, meanwhile.
            self._store.require_open(account.user_id)
            account = self._cache.accounts[account.account_id]
            if new.position_effect is not PositionEffect.OPEN:
                self._store.roll(account, new.symbol)
            if new.reduce_only:
                one.new = self._pre_trade_checks.reduced(account, one.new)
            if violations := self._pre_trade_checks.holding_violations(account, instrument, one.new, one.price):
                raise violations[0]
        except RedFireError:
            await self._risk.release(account.account_id, [order_id])
            raise
        with self._store.begin(account.user_id) as changes:
            order = make_order(order_id, account, one, traceparent, fingerprint, changes.now_ns)
            self.note_instrument(instrument, changes)
            # A reduce-only stop holds nothing while it waits, so that others may close the position meanwhile.
            self._cache.accept(order, changes, holds=not (order.reduce_only and order.type in STOP_TYPES))
            if answer.cancel_first and order.type not in STOP_TYPES:
                order.cancel_first, order.hold_reason = " ".join(answer.cancel_first), Reason.SELF_TRADE
            elif order.type not in STOP_TYPES:
                apply_reports.send(self._cache, order, changes)
            return order, instrument, self._store.commit(changes, refusable=True)


def require_same(order: Order, fingerprint: str) -> Order:
    """The order that was made of a client_order_id; raises ClientOrderIdReused where it was asked for otherwise."""
    if order.fingerprint != fingerprint:
        raise ClientOrderIdReused(client_order_id=order.client_order_id)
    return order
