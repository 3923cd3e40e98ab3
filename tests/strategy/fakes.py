"""A small market and a small trading behind the contract, for the strategy service's tests."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from redfire.auth.v1 import auth_pb2, auth_pb2_grpc
from redfire.common.v1 import common_pb2 as common
from redfire.market.v1 import market_pb2, market_pb2_grpc
from redfire.reasons import Reason
from redfire.trading.v1 import (
    account_service_pb2,
    account_service_pb2_grpc,
    order_service_pb2,
    order_service_pb2_grpc,
    trading_pb2,
)

from services.kernel.errors import FailedPrecondition, NotFound
from services.kernel.identifiers import new_id
from tests.harness import FakeService, TokenMint, complete

SYMBOL = "IF2101.CFFEX"
START_NS = 1_609_725_600_000_000_000  # 2021-01-04 10:00 in Shanghai


@complete
class FakeAuth(auth_pb2_grpc.AuthServiceServicer):
    """Tokens for whom the test's mint vouches; `refuse` names users who may not trade, `failures` come first."""

    def __init__(self) -> None:
        self.mint = TokenMint()
        self.refuse: set[str] = set()
        self.failures: list[Exception] = []
        self.life_s = 3600
        self.exchanged = 0

    async def ExchangeToken(self, request: Any, call: Any) -> auth_pb2.ExchangeTokenResponse:
        if self.failures:
            raise self.failures.pop(0)
        if request.user_id in self.refuse:
            raise FailedPrecondition("the account is suspended", reason=Reason.ACCOUNT_INACTIVE)
        self.exchanged += 1
        token = self.mint.token(request.user_id, life_s=self.life_s, scope=" ".join(request.scopes))
        return auth_pb2.ExchangeTokenResponse(access_token=token, expires_in=self.life_s)

    async def GetJwks(self, request: Any, call: Any) -> auth_pb2.GetJwksResponse:
        return auth_pb2.GetJwksResponse(keys=await self.mint.keys())

    async def WatchRevocations(self, request: Any, call: Any) -> Any:
        yield auth_pb2.WatchRevocationsResponse(snapshot_complete=True)
        await asyncio.Event().wait()


@complete
class FakeMarket(market_pb2_grpc.MarketServiceServicer):
    """One instrument whose ticks the test pushes; bars and ticks of the past as it sets them."""

    def __init__(self) -> None:
        self.streams: set[asyncio.Queue[market_pb2.Tick]] = set()
        self.bars: list[market_pb2.Bar] = []
        self.past: list[market_pb2.Tick] = []
        self.last: market_pb2.Tick | None = None
        self.listeners: list[Any] = []
        self.failures: list[Exception] = []
        """Failures of lists of bars, which come first."""
        self._sequence = itertools.count(1)
        self._time_ns = START_NS

    async def GetInstrument(self, request: Any, call: Any) -> market_pb2.GetInstrumentResponse:
        if not request.symbol.startswith("IF"):
            raise NotFound("instrument", request.symbol, reason=Reason.UNKNOWN_SYMBOL)
        instrument = market_pb2.Instrument(
            symbol=request.symbol, contract_size="300", price_tick="0.2", quantity_step="1", min_quantity="1"
        )
        return market_pb2.GetInstrumentResponse(instrument=instrument)

    async def GetTick(self, request: Any, call: Any) -> market_pb2.GetTickResponse:
        if self.last is None:
            raise NotFound(message="no tick", reason=Reason.NO_TICK)
        return market_pb2.GetTickResponse(tick=self.last)

    async def ListBars(self, request: Any, call: Any) -> market_pb2.ListBarsResponse:
        if self.failures:
            raise self.failures.pop(0)
        start = int(request.page_token or 0)
        page = self.bars[start : start + request.page_size]
        more = start + len(page) < len(self.bars)
        return market_pb2.ListBarsResponse(bars=page, next_page_token=str(start + len(page)) if more else "")

    async def ListTicks(self, request: Any, call: Any) -> market_pb2.ListTicksResponse:
        return market_pb2.ListTicksResponse(ticks=self.past)

    async def StreamTicks(self, request: Any, call: Any) -> Any:
        queue: asyncio.Queue[market_pb2.Tick] = asyncio.Queue()
        self.streams.add(queue)
        try:
            yield market_pb2.StreamTicksResponse(started=market_pb2.StreamTicksResponse.Started(stream_id=new_id()))
            while True:
                tick = await queue.get()
                ticks = [tick]
                while not queue.empty():
                    ticks.append(queue.get_nowait())
                yield market_pb2.StreamTicksResponse(ticks=ticks)
        finally:
            self.streams.discard(queue)

    def push(self, price: float, step_s: float = 0.5) -> None:
        """A tick, `step_s` after the one before."""
        self._time_ns += int(step_s * 1e9)
        price = round(price * 5) / 5
        tick = market_pb2.Tick(
            symbol=SYMBOL,
            time_ns=self._time_ns,
            sequence=next(self._sequence),
            last_price=price,
            volume=float(self._time_ns - START_NS) / 1e9,
            limit_up=price * 1.1,
            limit_down=price * 0.9,
            bid_prices=[price - 0.2],
            bid_quantities=[10],
            ask_prices=[price + 0.2],
            ask_quantities=[10],
        )
        self.last = tick
        for listener in self.listeners:
            listener()
        for queue in self.streams:
            queue.put_nowait(tick)


class TradingState:
    """All the state of the fake trading service."""

    def __init__(self, market: FakeMarket) -> None:
        self.market = market
        self.orders: dict[str, trading_pb2.Order] = {}
        self.trades: list[trading_pb2.Trade] = []
        self.owners: dict[str, str] = {}
        self.accounts: dict[str, str] = {}
        self.streams: list[tuple[str, asyncio.Queue[Any]]] = []
        self.fill = True
        self.refuse: str = ""
        market.listeners.append(self.match)

    def account_of(self, user_id: str) -> str:
        if user_id not in self.accounts:
            self.accounts[user_id] = new_id()
        return self.accounts[user_id]

    def publish(self, user_id: str, **event: Any) -> None:
        message = order_service_pb2.StreamOrdersResponse(sequence=time.time_ns(), **event)
        for owner, queue in self.streams:
            if owner == user_id:
                queue.put_nowait(message)

    def of_strategy(self, strategy_id: str) -> list[trading_pb2.Order]:
        return [order for order in self.orders.values() if order.strategy_id == strategy_id]

    def position(self, strategy_id: str) -> Decimal:
        signs = {common.SIDE_BUY: 1, common.SIDE_SELL: -1}
        return sum(
            (Decimal(t.quantity) * signs[t.side] for t in self.trades if t.strategy_id == strategy_id), Decimal(0)
        )

    def is_open(self, order: trading_pb2.Order) -> bool:
        return order.status in (common.ORDER_STATUS_NEW, common.ORDER_STATUS_PARTIALLY_FILLED)

    def accept(self, user_id: str, request: Any) -> trading_pb2.Order:
        for order in self.orders.values():
            if order.client_order_id == request.client_order_id:
                return order
        order = trading_pb2.Order(
            order_id=new_id(), client_order_id=request.client_order_id, account_id=self.account_of(user_id),
            symbol=request.symbol, side=request.side, type=request.type, quantity=request.quantity,
            price=request.price, stop_price=request.stop_price, position_effect=request.position_effect or 1,
            strategy_id=request.strategy_id, status=common.ORDER_STATUS_NEW, cumulative_quantity="0",
            leaves_quantity=request.quantity,
        )  # fmt: skip
        order.create_time.FromDatetime(datetime.now(UTC))
        self.orders[order.order_id] = order
        self.owners[order.order_id] = user_id
        self.publish(user_id, order=order)
        if self.fill and self._crosses(order):
            self._fill(user_id, order)
        return order

    def match(self) -> None:
        """Resting orders that the new quote crosses."""
        for order in list(self.orders.values()):
            if self.fill and self.is_open(order) and self._crosses(order):
                self._fill(self.owners[order.order_id], order)

    def cancel(self, user_id: str, order_id: str) -> trading_pb2.Order:
        order = self.orders.get(order_id)
        if order is None or self.owners[order_id] != user_id:
            raise NotFound("order", order_id)
        if not self.is_open(order):
            raise FailedPrecondition("finished", reason=Reason.ORDER_NOT_OPEN)
        order.status = common.ORDER_STATUS_CANCELED
        self.publish(user_id, order=order)
        return order

    def _crosses(self, order: trading_pb2.Order) -> bool:
        last = self.market.last
        if last is None or order.type == common.ORDER_TYPE_STOP:
            return False
        if not order.price:
            return True
        price = float(order.price)
        return price >= last.ask_prices[0] if order.side == common.SIDE_BUY else price <= last.bid_prices[0]

    def _fill(self, user_id: str, order: trading_pb2.Order) -> None:
        last = self.market.last
        assert last
        price = last.ask_prices[0] if order.side == common.SIDE_BUY else last.bid_prices[0]
        order.status = common.ORDER_STATUS_FILLED
        order.cumulative_quantity, order.leaves_quantity = order.quantity, "0"
        trade = trading_pb2.Trade(
            trade_id=new_id(), order_id=order.order_id, account_id=order.account_id, symbol=order.symbol,
            side=order.side, position_effect=order.position_effect, price=f"{price:.1f}", quantity=order.quantity,
            commission="10", realized_pnl="0", strategy_id=order.strategy_id,
        )  # fmt: skip
        trade.time.FromDatetime(datetime.now(UTC))
        self.trades.append(trade)
        self.publish(user_id, order=order)
        self.publish(user_id, trade=trade)


@complete
class FakeOrders(order_service_pb2_grpc.OrderServiceServicer):
    """Orders fill at once when they cross the quote, and rest otherwise."""

    def __init__(self, trading_state: TradingState) -> None:
        self.trading_state = trading_state

    async def CreateOrder(self, request: Any, call: Any) -> order_service_pb2.CreateOrderResponse:
        if self.trading_state.refuse:
            raise FailedPrecondition("no funds", reason=Reason(self.trading_state.refuse))
        return order_service_pb2.CreateOrderResponse(order=self.trading_state.accept(call.user_id, request))

    async def CancelOrder(self, request: Any, call: Any) -> order_service_pb2.CancelOrderResponse:
        return order_service_pb2.CancelOrderResponse(order=self.trading_state.cancel(call.user_id, request.order_id))

    async def GetOrder(self, request: Any, call: Any) -> order_service_pb2.GetOrderResponse:
        return order_service_pb2.GetOrderResponse(order=self.trading_state.orders[request.order_id])

    async def ListOrders(self, request: Any, call: Any) -> order_service_pb2.ListOrdersResponse:
        orders = [
            order
            for order in self.trading_state.of_strategy(request.strategy_id)
            if self.trading_state.owners[order.order_id] == call.user_id
            and (self.trading_state.is_open(order) or not request.open_only)
        ]
        return order_service_pb2.ListOrdersResponse(orders=orders)

    async def StreamOrders(self, request: Any, call: Any) -> Any:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        place = (call.user_id, queue)
        self.trading_state.streams.append(place)
        try:
            for order in list(self.trading_state.orders.values()):
                if self.trading_state.owners[order.order_id] == call.user_id and self.trading_state.is_open(order):
                    yield order_service_pb2.StreamOrdersResponse(order=order)
            yield order_service_pb2.StreamOrdersResponse(
                sequence=time.time_ns(), snapshot_complete=order_service_pb2.StreamOrdersResponse.SnapshotComplete()
            )
            while True:
                yield await queue.get()
        finally:
            self.trading_state.streams.remove(place)


@complete
class FakeAccounts(account_service_pb2_grpc.AccountServiceServicer):
    """One account each, with a million in it."""

    def __init__(self, trading_state: TradingState) -> None:
        self.trading_state = trading_state

    async def GetAccount(self, request: Any, call: Any) -> account_service_pb2.GetAccountResponse:
        own = self.trading_state.account_of(call.user_id)
        if request.account_id and request.account_id != own:
            raise NotFound("account", request.account_id)
        return account_service_pb2.GetAccountResponse(account=trading_pb2.Account(account_id=own))

    async def ListTrades(self, request: Any, call: Any) -> account_service_pb2.ListTradesResponse:
        trades = [trade for trade in self.trading_state.trades if trade.strategy_id == request.strategy_id]
        return account_service_pb2.ListTradesResponse(trades=trades[::-1])

    async def ListLedgerEntries(self, request: Any, call: Any) -> account_service_pb2.ListLedgerEntriesResponse:
        entry = trading_pb2.LedgerEntry(
            ledger_account=f"cash:{request.account_id}",
            amount="1000000",
            kind=trading_pb2.LEDGER_ENTRY_KIND_DEPOSIT,
        )
        return account_service_pb2.ListLedgerEntriesResponse(entries=[entry])


class FakePlatform:
    """The fakes of one test, and the fake registry entries that serve them."""

    def __init__(self) -> None:
        self.auth = FakeAuth()
        self.market = FakeMarket()
        self.trading_state = TradingState(self.market)

    def fakes(self) -> dict[str, FakeService]:
        return {
            "auth": FakeService(lambda context: [self.auth]),
            "market": FakeService(lambda context: [self.market]),
            "trading": FakeService(lambda context: [FakeOrders(self.trading_state), FakeAccounts(self.trading_state)]),
        }

    def set_bars(self, closes: Sequence[float]) -> None:
        """One-minute bars that end at START_NS."""
        self.market.bars = []
        for index, close in enumerate(closes):
            bar = market_pb2.Bar(
                symbol=SYMBOL, interval=common.INTERVAL_1M, open=close, high=close + 1, low=close - 1, close=close,
                volume=100,
            )  # fmt: skip
            bar.start_time.FromNanoseconds(START_NS - (len(closes) - index) * 60_000_000_000)
            self.market.bars.append(bar)
