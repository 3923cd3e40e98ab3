"""Rules of accounts: what is shown of money and positions, and closing a position."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from redfire.enums import AccountKind, OrderType, PositionEffect, PositionSide, Side

from services.kernel.errors import Invalid
from services.kernel.paging import Page, PageResult
from services.trading.account_opening import Accounts
from services.trading.domain.account import Account
from services.trading.domain.account_view import AccountView, PositionView, view_account, view_position
from services.trading.domain.order import NewOrder, Order, fingerprint
from services.trading.domain.pre_trade_checks import InsufficientPosition
from services.trading.list_repository import ListRepository, OrderFilter
from services.trading.service import OrderService
from services.trading.state.store import TradingStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OpenState:
    """All that is open of an account, true at `sequence`."""

    account: AccountView
    orders: list[Order]
    positions: list[PositionView]
    sequence: int


class AccountService:
    """Accounts, positions, trades and ledger of users."""

    def __init__(
        self,
        store: TradingStore,
        accounts: Accounts,
        orders: OrderService,
        lists: ListRepository,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._orders = orders
        self._lists = lists

    async def list_accounts(self, user_id: str, page: Page) -> PageResult[AccountView]:
        """The user's accounts, oldest first."""
        if not self._store.serves_all and not self._accounts.of_user(user_id):
            await self._accounts.resolve(user_id)  # the event of its registration went to another replica
        views = [self._view(account) for account in self._accounts.of_user(user_id)]
        await self._store.commit_log.durable()
        return _cut(views, page, lambda view: [view.create_time_ns, view.account_id])

    async def get_account(self, user_id: str, account_id: str) -> AccountView:
        """An account, the first when `account_id` is empty. Raises NotFound."""
        account = await self._accounts.resolve(user_id, account_id)
        view = self._view(account)
        await self._store.commit_log.durable()
        return view

    async def open_account(
        self, user_id: str, display_name: str, kind: AccountKind, gateway: str, request_id: str, is_admin: bool
    ) -> AccountView:
        """Open another account; asked again with the same request_id, the same one."""
        account = await self._accounts.open(user_id, display_name, kind, gateway, request_id, is_admin)
        return self._view(account)

    async def list_positions(self, user_id: str, account_id: str, symbol: str, page: Page) -> PageResult[PositionView]:
        """Return the positions, by symbol."""
        if account_id:
            accounts = [await self._accounts.resolve(user_id, account_id)]
        else:
            accounts = self._accounts.of_user(user_id)
        views = [
            view_position(position, self._store.cache.last_prices.of(position.gateway))
            for account in accounts
            for position in account.positions.values()
            if not symbol or position.symbol == symbol
        ]
        await self._store.commit_log.durable()
        views.sort(key=_position_key)
        return _cut(views, page, _position_key)

    async def close_position(
        self,
        user_id: str,
        account_id: str,
        symbol: str,
        client_order_id: str,
        side: PositionSide | None,
        quantity: Decimal | None,
        traceparent: str,
    ) -> Order:
        """Close a position at the market, all that no other order holds when `quantity` is None.

        Raises InsufficientPosition, Invalid when both sides are held and none is named, and what create_order raises.
        """
        account = await self._accounts.resolve(user_id, account_id)
        key = fingerprint("close", symbol, side, quantity)
        effect = PositionEffect.CLOSE
        held = [p for p in account.positions.values() if p.symbol == symbol and side in (None, p.side)]
        earlier = await self._orders.find_by_client(user_id, account.account_id, client_order_id)
        if earlier is None:
            if not held:
                raise InsufficientPosition(f"nothing of {symbol} is held", symbol=symbol)
            if len(held) > 1:
                raise Invalid("side: both sides are held, name one", field="side")
            if quantity is None and not held[0].closable(effect):
                raise InsufficientPosition("other orders hold all of it", symbol=symbol)
        closing = held[0].side if held else side or PositionSide.LONG
        new = NewOrder(
            client_order_id=client_order_id,
            symbol=symbol,
            side=Side.SELL if closing is PositionSide.LONG else Side.BUY,
            type=OrderType.MARKET,
            quantity=quantity or (held[0].closable(effect) if held else Decimal(0)),
            account_id=account.account_id,
            position_effect=effect,
        )
        return await self._orders.create_order(user_id, new, traceparent, key)

    async def list_trades(self, user_id: str, order_filter: OrderFilter, page: Page) -> PageResult[str]:
        """The user's trades, newest first, as rows' texts."""
        await self._store.commit_log.durable()
        return await self._lists.list_trades(user_id, order_filter, page)

    async def list_ledger_entries(self, user_id: str, order_filter: OrderFilter, page: Page) -> PageResult[str]:
        """The user's ledger entries, newest first, as rows' texts."""
        await self._store.commit_log.durable()
        return await self._lists.list_ledger_entries(user_id, order_filter, page)

    async def get_snapshot(self, user_id: str, account_id: str) -> OpenState:
        """All that is open of an account. Raises NotFound."""
        account = await self._accounts.resolve(user_id, account_id)
        prices = self._store.cache.last_prices.of(account.gateway)
        view = view_account(account, prices)
        positions = [view_position(position, prices) for position in account.positions.values()]
        orders, sequence = await self._store.open_copies(account)
        return OpenState(view, orders[::-1], positions, sequence)

    def _view(self, account: Account) -> AccountView:
        return view_account(account, self._store.cache.last_prices.of(account.gateway))


def _position_key(view: PositionView) -> list[Any]:
    return [view.symbol, view.account_id, int(view.side)]


def _cut(views: Sequence[T], page: Page, key: Callable[[T], list[Any]]) -> PageResult[T]:
    """A page of what is in memory, in the order of `key`."""
    rest = views if page.after is None else [view for view in views if key(view) > page.after]
    return page.slice(rest[: page.size + 1], key)
