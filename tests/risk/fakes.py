"""Trading and market as risk sees them, played by the test."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf import timestamp_pb2
from redfire.common.v1 import common_pb2 as common
from redfire.engine.v1 import engine_pb2
from redfire.engine.v1.engine_pb2_grpc import EngineServiceServicer
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceServicer
from redfire.trading.v1 import order_service_pb2, trading_pb2
from redfire.trading.v1.account_service_pb2_grpc import AccountServiceServicer
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceServicer

from services.kernel.errors import NotFound, Unavailable
from services.kernel.identifiers import new_id
from tests.harness import FakeService, complete

FINISHED = (4, 6, 8, 9)
SYMBOL = "IF2101.CFFEX"
SIZE = "300"


def now() -> timestamp_pb2.Timestamp:
    stamp = timestamp_pb2.Timestamp()
    stamp.GetCurrentTime()
    return stamp


@complete
class FakeTrading(OrderServiceServicer):
    """Keeps accounts, positions and orders as last sent, and sends them to the watching streams."""

    def __init__(self) -> None:
        self.state: dict[tuple[str, ...], order_service_pb2.WatchTradingResponse] = {}
        self.history: list[order_service_pb2.WatchTradingResponse] = []
        self.trimmed = 0
        self.created: dict[str, timestamp_pb2.Timestamp] = {}
        self.watchers: set[asyncio.Queue[Any]] = set()
        self.sequence = 100
        self.down = False
        self.mute = False
        self.snapshots = 0
        self.resumes: list[int] = []
        self.cancels: list[tuple[str, str]] = []
        self.cancel_requests: list[Any] = []
        self.cancel_fails = 0

    def send_update(self, user_id: str, key: tuple[str, ...], **fields: Any) -> None:
        self.sequence += 1
        response = order_service_pb2.StreamOrdersResponse(sequence=self.sequence, **fields)
        message = order_service_pb2.WatchTradingResponse(user_id=user_id, update=response)
        self.state[key] = message
        self.history.append(message)
        for watcher in self.watchers:
            watcher.put_nowait(message)

    def account(self, user_id: str, account_id: str = "", **fields: Any) -> str:
        account_id = account_id or new_id()
        account = trading_pb2.Account(account_id=account_id, **{"create_time": now(), "balance": "1000000", **fields})
        self.send_update(user_id, ("account", account_id), account=account)
        return account_id

    def position(
        self, user_id: str, account_id: str, quantity: Any, average: Any = 4000, long: bool = True, symbol: str = SYMBOL
    ) -> None:
        side = common.POSITION_SIDE_LONG if long else common.POSITION_SIDE_SHORT
        position = trading_pb2.Position(
            account_id=account_id, symbol=symbol, side=side, quantity=str(quantity), average_price=str(average)
        )
        self.send_update(user_id, ("position", account_id, symbol, str(long)), position=position)

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
        time = values.setdefault("update_time", now())
        values.setdefault("create_time", self.created.setdefault(order_id, time))
        order = trading_pb2.Order(order_id=order_id, account_id=account_id, status=status, **values)
        self.send_update(user_id, ("order", order_id), order=order)
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
            after = request.resume_after_sequence if request.HasField("resume_after_sequence") else None
            if after is not None and after < self.trimmed:
                gap = order_service_pb2.StreamOrdersResponse.Gap()
                update = order_service_pb2.StreamOrdersResponse(sequence=self.sequence, gap=gap)
                yield order_service_pb2.WatchTradingResponse(update=update)
                after = None
            if after is not None:
                self.resumes.append(after)
                if not self.mute:
                    for message in [one for one in self.history if one.update.sequence > after]:
                        yield message
                    beat = order_service_pb2.StreamOrdersResponse.Heartbeat(time=now())
                    update = order_service_pb2.StreamOrdersResponse(sequence=self.sequence, heartbeat=beat)
                    yield order_service_pb2.WatchTradingResponse(update=update)
            else:
                self.snapshots += 1
                for message in list(self.state.values()):
                    if message.update.order.status not in FINISHED:
                        yield message
                done = order_service_pb2.StreamOrdersResponse.SnapshotComplete()
                update = order_service_pb2.StreamOrdersResponse(sequence=self.sequence, snapshot_complete=done)
                yield order_service_pb2.WatchTradingResponse(update=update)
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
        self.cancel_requests.append(request)
        return order_service_pb2.CancelAccountOrdersResponse(count=1)


@complete
class FakeMarket(MarketServiceServicer):
    """Instruments and their ticks."""

    def __init__(self) -> None:
        self.watchers: dict[asyncio.Queue[Any], set[str]] = {}
        self.sizes = {SYMBOL: SIZE}
        self.currencies: dict[str, str] = {}
        self.last: dict[str, market_pb2.Tick] = {}
        self.asked: list[str] = []
        self.sequence = 0
        self.feed_state: market_pb2.StreamTicksResponse.FeedState | None = None

    def state(self, connected: bool, *stale: str) -> None:
        """Market hears the feed or not, and these symbols are silent for too long."""
        self.feed_state = market_pb2.StreamTicksResponse.FeedState(connected=connected, stale_symbols=stale)
        for watcher in self.watchers:
            watcher.put_nowait(market_pb2.StreamTicksResponse(feed_state=self.feed_state))

    def tick(self, price: float, trading_day: int = 20210104, symbol: str = SYMBOL, gateway: str = "") -> None:
        self.sequence += 1
        tick = market_pb2.Tick(
            symbol=symbol,
            last_price=price,
            trading_day=trading_day,
            time_ns=now().ToNanoseconds(),
            gateway=gateway,
            sequence=self.sequence,
        )
        self.last[symbol] = tick
        for watcher, symbols in self.watchers.items():
            if symbol in symbols:
                watcher.put_nowait(market_pb2.StreamTicksResponse(ticks=[tick]))

    def delist(self, symbol: str) -> None:
        """An instrument is gone, and the market with it for a moment."""
        del self.sizes[symbol]
        for watcher in self.watchers:
            watcher.put_nowait(None)

    async def ListInstruments(self, request: Any, call: Any) -> Any:
        instruments = [
            market_pb2.Instrument(symbol=symbol, contract_size=size, currency=self.currencies.get(symbol, ""))
            for symbol, size in self.sizes.items()
        ]
        return market_pb2.ListInstrumentsResponse(instruments=instruments)

    async def GetTick(self, request: Any, call: Any) -> Any:
        self.asked.append(request.symbol)
        if request.symbol not in self.last:
            raise NotFound("tick", request.symbol)
        return market_pb2.GetTickResponse(tick=self.last[request.symbol])

    async def StreamTicks(self, request: Any, call: Any) -> AsyncIterator[Any]:
        for symbol in request.symbols:
            if symbol not in self.sizes:
                raise NotFound("instrument", symbol, symbol=symbol)
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.watchers[queue] = set(request.symbols)
        try:
            yield market_pb2.StreamTicksResponse(started=market_pb2.StreamTicksResponse.Started(epoch="one"))
            if self.feed_state is not None:
                yield market_pb2.StreamTicksResponse(feed_state=self.feed_state)
            ticks = [tick for symbol, tick in self.last.items() if symbol in request.symbols]
            if ticks:
                yield market_pb2.StreamTicksResponse(ticks=ticks)
            while (message := await queue.get()) is not None:
                yield message
            raise Unavailable("cut")
        finally:
            del self.watchers[queue]


@complete
class FakeEngine(EngineServiceServicer):
    """Gateways: SIM is simulated, CTP and TTS are not."""

    async def ListGateways(self, request: Any, call: Any) -> Any:
        gateways = [engine_pb2.Gateway(gateway_name=name, simulated=name == "SIM") for name in ("CTP", "SIM", "TTS")]
        return engine_pb2.ListGatewaysResponse(gateways=gateways)


@complete
class Accounts(AccountServiceServicer):
    """The account service, of which no RPC is played."""


def fakes(trading: Any = None) -> tuple[Any, Any, dict[str, FakeService]]:
    """Trading (the one there was before a restart), the market, and their lines of the registry."""
    trading, market = trading or FakeTrading(), FakeMarket()
    return (
        trading,
        market,
        {
            "engine": FakeService(lambda context: [FakeEngine()]),
            "market": FakeService(lambda context: [market]),
            "trading": FakeService(lambda context: [trading, Accounts()], calls=["risk", "market"]),
        },
    )
