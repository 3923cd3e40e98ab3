"""Trading and market as risk sees them, played by the test."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf import timestamp_pb2
from redfire.common.v1 import common_pb2 as common
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceServicer
from redfire.trading.v1 import order_service_pb2, trading_pb2
from redfire.trading.v1.account_service_pb2_grpc import AccountServiceServicer
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceServicer

from services.kernel.errors import Unavailable
from services.kernel.identifiers import new_id
from tests.harness import FakeService

SYMBOL = "IF2101.CFFEX"
SIZE = "300"


def complete(servicer: Any) -> Any:
    """An instance of a servicer class whose other RPCs are there, since the server insists, and fail."""
    base = servicer.__mro__[1]

    async def missing(self: Any, request: Any, call: Any) -> Any:
        raise Unavailable("not played")

    rpcs = {name: missing for name in vars(base) if name[0].isupper() and name not in vars(servicer)}
    return type(servicer.__name__, (servicer,), rpcs)


def now() -> timestamp_pb2.Timestamp:
    stamp = timestamp_pb2.Timestamp()
    stamp.GetCurrentTime()
    return stamp


class FakeTrading(OrderServiceServicer):
    """Keeps accounts, positions and orders as last told, and tells them to whoever watches."""

    def __init__(self) -> None:
        self.state: dict[tuple[str, ...], order_service_pb2.WatchTradingResponse] = {}
        self.watchers: set[asyncio.Queue[Any]] = set()
        self.sequence = 100
        self.down = False
        self.mute = False
        self.snapshots = 0
        self.resumes: list[int] = []
        self.cancels: list[tuple[str, str]] = []
        self.cancel_fails = 0

    def tell(self, user_id: str, key: tuple[str, ...], **news: Any) -> None:
        self.sequence += 1
        response = order_service_pb2.StreamOrdersResponse(sequence=self.sequence, **news)
        message = order_service_pb2.WatchTradingResponse(user_id=user_id, news=response)
        self.state[key] = message
        for watcher in self.watchers:
            watcher.put_nowait(message)

    def account(self, user_id: str, account_id: str = "", **fields: Any) -> str:
        account_id = account_id or new_id()
        account = trading_pb2.Account(account_id=account_id, **{"create_time": now(), "balance": "1000000", **fields})
        self.tell(user_id, ("account", account_id), account=account)
        return account_id

    def position(self, user_id: str, account_id: str, quantity: Any, average: Any = 4000, long: bool = True) -> None:
        side = common.POSITION_SIDE_LONG if long else common.POSITION_SIDE_SHORT
        position = trading_pb2.Position(
            account_id=account_id, symbol=SYMBOL, side=side, quantity=str(quantity), average_price=str(average)
        )
        self.tell(user_id, ("position", account_id, str(long)), position=position)

    def order(self, user_id: str, account_id: str, order_id: str = "", status: int = 2, **fields: Any) -> str:
        order_id = order_id or new_id()
        values = {
            "symbol": SYMBOL,
            "side": 1,
            "type": 2,
            "quantity": "1",
            "price": "4000",
            "position_effect": 1,
            **fields,
        }
        values.setdefault("leaves_quantity", values["quantity"])
        order = trading_pb2.Order(order_id=order_id, account_id=account_id, status=status, update_time=now(), **values)
        self.tell(user_id, ("order", order_id), order=order)
        return order_id

    def cut(self) -> None:
        for watcher in self.watchers:
            watcher.put_nowait(None)

    async def WatchTrading(self, request: Any, call: Any) -> AsyncIterator[Any]:
        if self.down:
            raise Unavailable("trading is down")
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.watchers.add(queue)
        try:
            if request.HasField("resume_after_sequence"):
                self.resumes.append(request.resume_after_sequence)
                if not self.mute:
                    beat = order_service_pb2.StreamOrdersResponse.Heartbeat(time=now())
                    news = order_service_pb2.StreamOrdersResponse(sequence=self.sequence, heartbeat=beat)
                    yield order_service_pb2.WatchTradingResponse(news=news)
            else:
                self.snapshots += 1
                for message in list(self.state.values()):
                    yield message
                done = order_service_pb2.StreamOrdersResponse.SnapshotComplete()
                news = order_service_pb2.StreamOrdersResponse(sequence=self.sequence, snapshot_complete=done)
                yield order_service_pb2.WatchTradingResponse(news=news)
            while (message := await queue.get()) is not None:
                yield message
            raise Unavailable("cut")
        finally:
            self.watchers.discard(queue)

    async def CancelAccountOrders(self, request: Any, call: Any) -> Any:
        if self.cancel_fails:
            self.cancel_fails -= 1
            raise Unavailable("not now")
        self.cancels.append((request.user_id, request.account_id))
        return order_service_pb2.CancelAccountOrdersResponse(count=1)


class FakeMarket(MarketServiceServicer):
    """One instrument and its ticks."""

    def __init__(self) -> None:
        self.watchers: set[asyncio.Queue[Any]] = set()
        self.last: market_pb2.Tick | None = None

    def tick(self, price: float, trading_day: int = 20210104) -> None:
        stamp = now().ToNanoseconds()
        self.last = market_pb2.Tick(symbol=SYMBOL, last_price=price, trading_day=trading_day, time_ns=stamp)
        for watcher in self.watchers:
            watcher.put_nowait(self.last)

    async def ListInstruments(self, request: Any, call: Any) -> Any:
        instrument = market_pb2.Instrument(symbol=SYMBOL, contract_size=SIZE)
        return market_pb2.ListInstrumentsResponse(instruments=[instrument])

    async def StreamTicks(self, request: Any, call: Any) -> AsyncIterator[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.watchers.add(queue)
        try:
            if self.last is not None:
                yield market_pb2.StreamTicksResponse(ticks=[self.last])
            while True:
                yield market_pb2.StreamTicksResponse(ticks=[await queue.get()])
        finally:
            self.watchers.discard(queue)


class Accounts(AccountServiceServicer):
    """Not played."""


def fakes() -> tuple[Any, Any, dict[str, FakeService]]:
    """Trading, the market, and their lines of the registry."""
    trading, market = complete(FakeTrading)(), complete(FakeMarket)()
    return (
        trading,
        market,
        {
            "market": FakeService(lambda process: [market]),
            "trading": FakeService(lambda process: [trading, complete(Accounts)()], calls=["risk", "market"]),
        },
    )
