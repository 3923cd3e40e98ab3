"""Acting for the owners of strategies: tokens exchanged for them, and their trading asked with these."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC
from decimal import Decimal
from typing import Any

from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub
from redfire.common.v1 import common_pb2
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub
from redfire.reasons import Reason
from redfire.trading.v1 import account_service_pb2, order_service_pb2, trading_pb2
from redfire.trading.v1.account_service_pb2_grpc import AccountServiceStub
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.cache import TtlCache
from services.kernel.clock import Clock
from services.kernel.errors import FailedPrecondition, NotFound
from services.strategy.metrics import Fill
from services.strategy.strategy import Strategy

# What a running strategy does for its owner, and nothing more.
SCOPES = ("market:read", "trading:read", "trading:write", "trading:delete")
_PAGE = 1000


class UnknownSymbol(NotFound):
    """The instrument does not exist."""

    reason = Reason.UNKNOWN_SYMBOL


class PlatformClient:
    """Market and trading as strategies' owners see them."""

    def __init__(
        self,
        auth: AuthServiceStub,
        market: MarketServiceStub,
        orders: OrderServiceStub,
        accounts: AccountServiceStub,
        clock: Clock,
        stops_with_session: Callable[[], bool],
    ) -> None:
        """`stops_with_session`: strategies end with the session in which they were started."""
        self._stops_with_session = stops_with_session
        self._auth = auth
        self._market = market
        self._orders = orders
        self._accounts = accounts
        self._tokens: TtlCache[str, str] = TtlCache(10_000, 3600, clock)

    async def new_token(self, user_id: str) -> tuple[str, float]:
        """A token to act for a user, and the seconds until it ends."""
        answer = await self._auth.ExchangeToken(auth_pb2.ExchangeTokenRequest(user_id=user_id, scopes=SCOPES))
        # Reused for a short while only: a suspended user's strategies are noticed at the next exchange.
        self._tokens.put(user_id, answer.access_token, min(60.0, answer.expires_in / 2))
        return answer.access_token, float(answer.expires_in)

    async def strategy_token(self, strategy: Strategy) -> tuple[str, float]:
        """A token for a strategy, and the seconds until it ends: it may do what its starter may, as long as that may.

        Its code finds it, so it is good for the strategy's account and for what the contract lets strategies do.
        Raises Denied, SessionRevoked and others when the starter's key, session or permissions have ended.
        """
        starter = strategy.starter
        bound = {"account_id": strategy.account_id, "strategy_id": strategy.strategy_id}
        request = auth_pb2.ExchangeTokenRequest(user_id=strategy.user_id, scopes=SCOPES, **bound)
        if starter is not None:
            del request.scopes[:]
            request.scopes.extend(starter.scopes(SCOPES))
            request.api_key_id = starter.api_key_id
            if self._stops_with_session():
                request.session_id = starter.session_id
        answer = await self._auth.ExchangeToken(request)
        return answer.access_token, float(answer.expires_in)

    async def require_symbol(self, symbol: str) -> market_pb2.Instrument:
        """The instrument; raises UnknownSymbol."""
        try:
            return (await self._market.GetInstrument(market_pb2.GetInstrumentRequest(symbol=symbol))).instrument
        except NotFound as error:
            raise UnknownSymbol(message=error.message, symbol=symbol) from None

    async def account_id(self, user_id: str, account_id: str) -> str:
        """The account, which must be the user's; their first one when empty."""
        request = account_service_pb2.GetAccountRequest(account_id=account_id)
        answer = await self._accounts.GetAccount(request, metadata=await self._metadata(user_id))
        return str(answer.account.account_id)

    async def cancel_open_orders(self, user_id: str, account_id: str, strategy_id: str) -> int:
        """Cancel all open orders of a strategy; returns how many there were."""
        metadata = await self._metadata(user_id)
        request = order_service_pb2.ListOrdersRequest(
            account_id=account_id, strategy_id=strategy_id, open_only=True, page_size=_PAGE
        )
        orders = (await self._orders.ListOrders(request, metadata=metadata)).orders
        await asyncio.gather(*(self._cancel(order.order_id, metadata) for order in orders))
        return len(orders)

    async def contract_size(self, symbol: str) -> Decimal:
        """The instrument's contract size; raises UnknownSymbol."""
        return Decimal((await self.require_symbol(symbol)).contract_size or 1)

    async def trades(self, user_id: str, account_id: str, strategy_id: str) -> Sequence[Fill]:
        """A strategy's trades, oldest first."""
        request = account_service_pb2.ListTradesRequest(account_id=account_id, strategy_id=strategy_id, page_size=_PAGE)
        newest_first = [
            _fill(trade) async for trade in self._pages(user_id, self._accounts.ListTrades, request, "trades")
        ]
        return newest_first[::-1]

    async def deposits(self, user_id: str, account_id: str) -> Decimal:
        """Deposits into an account, less withdrawals."""
        request = account_service_pb2.ListLedgerEntriesRequest(account_id=account_id, page_size=_PAGE)
        kinds = (trading_pb2.LEDGER_ENTRY_KIND_DEPOSIT, trading_pb2.LEDGER_ENTRY_KIND_WITHDRAWAL)
        total = Decimal(0)
        async for entry in self._pages(user_id, self._accounts.ListLedgerEntries, request, "entries"):
            if entry.kind in kinds and entry.ledger_account.startswith("cash:"):
                total += Decimal(entry.amount)
        return total

    async def last_price(self, user_id: str, symbol: str) -> float | None:
        """The last price; None before there is one."""
        request = market_pb2.GetTickRequest(symbol=symbol)
        try:
            answer = await self._market.GetTick(request, metadata=await self._metadata(user_id))
        except NotFound:
            return None
        return float(answer.tick.last_price)

    async def _cancel(self, order_id: str, metadata: tuple[tuple[str, str], ...]) -> None:
        try:
            await self._orders.CancelOrder(order_service_pb2.CancelOrderRequest(order_id=order_id), metadata=metadata)
        except (FailedPrecondition, NotFound):
            return  # finished meanwhile

    async def _pages(self, user_id: str, rpc: Any, request: Any, field: str) -> AsyncIterator[Any]:
        metadata = await self._metadata(user_id)
        while True:
            page = await rpc(request, metadata=metadata)
            for item in getattr(page, field):
                yield item
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def _metadata(self, user_id: str) -> tuple[tuple[str, str], ...]:
        token = self._tokens.get(user_id) or (await self.new_token(user_id))[0]
        return (("authorization", f"Bearer {token}"),)


def _fill(trade: trading_pb2.Trade) -> Fill:
    return Fill(
        time=trade.time.ToDatetime(UTC),
        sign=1 if trade.side == common_pb2.SIDE_BUY else -1,
        closes=trade.position_effect > common_pb2.POSITION_EFFECT_OPEN,
        price=Decimal(trade.price),
        quantity=Decimal(trade.quantity),
        commission=Decimal(trade.commission or 0),
        realized_pnl=Decimal(trade.realized_pnl or 0),
        trading_day=trade.trading_day,
    )
