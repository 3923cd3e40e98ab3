"""Rules of order groups: accepted all or none, canceled together."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from redfire.enums import OrderGroupKind, OrderStatus
from redfire.reasons import Reason

from services.kernel.data.repositories import Repositories
from services.kernel.errors import Conflict, Duplicate, RedFireError, Unavailable
from services.kernel.identifiers import new_id
from services.trading.account_opening import Accounts
from services.trading.domain import apply_reports
from services.trading.domain.account import Account
from services.trading.domain.appraisal import Appraisal, make_order
from services.trading.domain.crossing import crossing_orders
from services.trading.domain.group_checks import SelfTrade, of_order, require_shape
from services.trading.domain.order import STOP_TYPES, NewOrder, Order, fingerprint
from services.trading.domain.order_group import OrderGroup
from services.trading.domain.order_ids import new_order_id
from services.trading.domain.pre_trade_checks import PreTradeChecks
from services.trading.emulation.order_groups import settle_group
from services.trading.emulation.stops import Stops
from services.trading.peers.risk_client import RiskClient
from services.trading.repository import TradingRepository
from services.trading.service import ClientOrderIdReused, OrderService
from services.trading.state.accepting import Accepting
from services.trading.state.store import TradingStore


class ClientOrderGroupIdReused(Conflict):
    """Refusal of a client_order_group_id that another group of the account has."""

    reason = Reason.CLIENT_ORDER_ID_REUSED


class GroupService:
    """Groups of users' orders."""

    def __init__(
        self,
        store: TradingStore,
        accounts: Accounts,
        orders: OrderService,
        pre_trade_checks: PreTradeChecks,
        risk: RiskClient,
        stops: Stops,
        repositories: Repositories[TradingRepository],
    ) -> None:
        self._store = store
        self._cache = store.cache
        self._accounts = accounts
        self._orders = orders
        self._pre_trade_checks = pre_trade_checks
        self._risk = risk
        self._stops = stops
        self._repositories = repositories
        # By account and client_order_group_id.
        self._accepting: dict[tuple[str, str], Accepting[OrderGroup]] = {}

    async def create_order_group(
        self,
        user_id: str,
        account_id: str,
        client_order_group_id: str,
        kind: OrderGroupKind,
        orders: list[NewOrder],
        traceparent: str = "",
    ) -> OrderGroup:
        """Accept all the orders or none; asked again with the same id and body, the first group.

        Raises Invalid, ClientOrderGroupIdReused, ClientOrderIdReused, SelfTrade, and what refuses an order: its fields
        are named as `orders[1].price`.
        """
        require_shape(kind, orders)
        account = await self._accounts.resolve(user_id, account_id)
        body = [part for order in orders for part in (order.client_order_id, order.fingerprint())]
        key, mark = (account.account_id, client_order_group_id), fingerprint(kind, *body)
        running = self._accepting.get(key)
        if running is not None:
            return await _outcome(running, mark, client_order_group_id)
        earlier = await self._find(*key)
        if earlier is not None:
            return _same(earlier, mark)
        try:
            return await self._accept(key, account, kind, orders, mark, traceparent)
        except (ClientOrderIdReused, Duplicate) as refusal:
            # Written before this process began, by a request whose answer was lost, or while the database was read.
            earlier = await self._find(*key)
            if earlier is not None:
                return _same(earlier, mark)
            if isinstance(refusal, ClientOrderIdReused):
                raise
            for order in orders:
                earlier_order = await self._store.find_by_client(user_id, account.account_id, order.client_order_id)
                if earlier_order is not None:
                    raise ClientOrderIdReused(client_order_id=order.client_order_id) from None
            raise

    async def get_order_group(self, user_id: str, order_group_id: str) -> OrderGroup:
        """A group of the user with its orders. Raises NotFound."""
        self._store.require_open(user_id)
        group = self._cache.groups.get(order_group_id)
        await self._store.commit_log.durable()
        if group is not None and group.user_id == user_id:
            return group
        async with self._repositories.read() as repository:
            return await repository.get_order_group(user_id, order_group_id)

    async def cancel_order_group(self, user_id: str, order_group_id: str) -> OrderGroup:
        """Ask for all open orders of a group to be canceled; the same answer when none is open.

        Raises NotFound, RiskRefused.
        """
        group = await self.get_order_group(user_id, order_group_id)
        for order in group.orders:
            if order.is_open and (refusal := await self._risk.check_cancel(order)) is not None:
                raise refusal
        self._store.require_open(user_id)
        group = self._cache.groups.get(order_group_id) or group
        with self._store.begin(user_id) as changes:
            for order in [order for order in group.orders if order.is_open][::-1]:
                if order.status is not OrderStatus.PENDING_CANCEL:
                    apply_reports.cancel(self._cache, order, changes)
            written = self._store.commit(changes) if changes else None
        if written is not None:
            await written
        return group

    async def _find(self, account_id: str, client_order_group_id: str) -> OrderGroup | None:
        group = self._find_open(account_id, client_order_group_id)
        await self._store.commit_log.durable()
        if group is not None:
            return group
        async with self._repositories.read() as repository:
            return await repository.find_order_group_by_client(account_id, client_order_group_id)

    def _find_open(self, account_id: str, client_order_group_id: str) -> OrderGroup | None:
        groups = self._cache.groups_of(account_id)
        return next((group for group in groups if group.client_order_group_id == client_order_group_id), None)

    async def _accept(
        self,
        key: tuple[str, str],
        account: Account,
        kind: OrderGroupKind,
        orders: list[NewOrder],
        mark: str,
        traceparent: str,
    ) -> OrderGroup:
        claims: dict[tuple[str, str], Accepting[Order]] = {}
        started = self._store.clock.monotonic()
        # Asked for a second time while the database was read: being accepted now, or accepted since.
        if key in self._accepting:
            return await _outcome(self._accepting[key], mark, key[1])
        if (earlier := self._find_open(*key)) is not None:
            await self._store.commit_log.durable()
            return _same(earlier, mark)
        for index, new in enumerate(orders):
            claim = (account.account_id, new.client_order_id)
            if claim in self._orders.accepting or self._cache.find_by_client(*claim) is not None:
                raise of_order(ClientOrderIdReused(client_order_id=new.client_order_id), index)
            claims[claim] = Accepting(fingerprint(mark, index), started)
        running = self._accepting[key] = Accepting(mark, started)
        self._orders.accepting.update(claims)

        def end(group: OrderGroup | None, error: BaseException | None) -> None:
            del self._accepting[key]
            for index, (claim, accepting) in enumerate(claims.items()):
                del self._orders.accepting[claim]
                accepting.end(group.orders[index] if group is not None else None, error)
            running.end(group, error)

        try:
            group, armed, written = await self._accept_new(account, key[1], kind, orders, mark, traceparent)
        except BaseException as refusal:
            end(None, refusal if isinstance(refusal, Exception) else Unavailable("nothing was done; try again"))
            raise

        def ended(done: "asyncio.Future[None]") -> None:
            error = done.exception()
            if isinstance(error, Duplicate) and self._cache.groups.get(group.order_group_id) is group:
                self._cache.forget_group(group)
                for order in group.orders:
                    self._cache.withdraw(order)
            end(group, error)
            # Last, as one may trigger at once: a step of its own, whose failure is not the group's.
            if error is None:
                self._stops.arm(armed)

        outcome = running.outcome()
        written.add_done_callback(ended)
        try:
            return await outcome
        except Duplicate:
            await self._risk.release(account.account_id, [order.order_id for order in group.orders])
            raise

    async def _accept_new(
        self,
        account: Account,
        client_id: str,
        kind: OrderGroupKind,
        orders: list[NewOrder],
        mark: str,
        traceparent: str,
    ) -> tuple[OrderGroup, list[Order], "asyncio.Future[None]"]:
        appraised: list[Appraisal] = []
        for index, new in enumerate(orders):
            try:
                # What the exits of a bracket close is not there yet, and closing orders hold the position once.
                appraised.append(await self._orders.appraise(account, new, holds=False))
            except RedFireError as error:
                raise of_order(error, index) from None
        order_ids = [new_order_id(account.user_id) for _ in orders]
        appraised = self._require_holdings(account, kind, appraised)
        try:
            await self._check_risk(account, order_ids, appraised)
            # Risk was awaited: others may have been accepted, or the books read anew, meanwhile.
            self._store.require_open(account.user_id)
            account = self._cache.accounts[account.account_id]
            appraised = self._require_holdings(account, kind, appraised)
        except BaseException:
            await self._risk.release(account.account_id, order_ids)
            raise
        if not appraised[0].opens:
            self._store.roll(account, appraised[0].new.symbol)
        with self._store.begin(account.user_id) as changes:
            group = OrderGroup(
                new_id(), client_id, account.user_id, account.account_id, kind, mark, appraised[0].new.quantity, [],
                changes.now_ns, changes.now_ns,
            )  # fmt: skip
            for index, (order_id, one) in enumerate(zip(order_ids, appraised, strict=True)):
                waits = kind is OrderGroupKind.BRACKET and index > 0
                order = make_order(order_id, account, one, traceparent, fingerprint(mark, index), changes.now_ns, waits)
                order.order_group_id = group.order_group_id
                self._orders.note_instrument(one.instrument, changes)
                self._cache.accept(order, changes, holds=False)
                if not waits and order.type not in STOP_TYPES:  # it is sent now, and risk was just asked
                    order.crossed = {other.order_id: False for other in crossing_orders(self._cache, order)}
                group.orders.append(order)
            self._cache.add_group(group)
            changes.groups[group.order_group_id] = group
            armed = settle_group(self._cache, group, changes)
            entry = group.entry
            if entry is not None:
                if entry.type in STOP_TYPES:
                    armed.append(entry)
                else:
                    apply_reports.send(self._cache, entry, changes)
            return group, armed, self._store.commit(changes, refusable=True)

    async def _check_risk(self, account: Account, order_ids: list[str], appraised: Sequence[Appraisal]) -> None:
        for index, (order_id, one) in enumerate(zip(order_ids, appraised, strict=True)):
            answer = await self._risk.check(
                account.user_id, account.account_id, order_id, one.new, one.price, one.instrument, account.gateway
            )
            if answer.refusals:
                raise of_order(answer.refusals[0], index)
            if answer.cancel_first:
                raise of_order(SelfTrade(), index)

    def _require_holdings(
        self, account: Account, kind: OrderGroupKind, appraised: Sequence[Appraisal]
    ) -> list[Appraisal]:
        """Raises InsufficientPosition, InsufficientFunds, NothingToReduce; answers what reduce-only leaves of them.

        Closing orders need one quantity together; opening ones the margin of each, as each of them may be filled.
        """
        members = list(appraised[:1] if kind is OrderGroupKind.BRACKET else appraised)
        reduced = self._pre_trade_checks.reduced_group(account, [one.new for one in members])
        members = [replace(one, new=new) for one, new in zip(members, reduced, strict=True)]
        if members[0].opens:
            self._pre_trade_checks.require_funds(
                account, [(one.instrument, one.price, one.new.quantity) for one in members]
            )
        else:
            for index, one in enumerate(members):
                if violations := self._pre_trade_checks.holding_violations(account, one.instrument, one.new, one.price):
                    raise of_order(violations[0], index)
        return [*members, *appraised[len(members) :]]


async def _outcome(running: Accepting[OrderGroup], mark: str, client_order_group_id: str) -> OrderGroup:
    if running.fingerprint != mark:
        raise ClientOrderGroupIdReused(client_order_group_id=client_order_group_id)
    return await running.outcome()


def _same(group: OrderGroup, mark: str) -> OrderGroup:
    if group.fingerprint != mark:
        raise ClientOrderGroupIdReused(client_order_group_id=group.client_order_group_id)
    return group
