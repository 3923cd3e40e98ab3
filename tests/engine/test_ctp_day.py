"""Two trading days at CTP through the whole order path: engine, market, risk and trading in one process."""

from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from redfire.common.v1 import common_pb2 as common
from redfire.engine.v1 import engine_pb2 as pb
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as order_pb
from redfire.trading.v1 import trading_pb2 as trading_pb
from redfire.trading.v1.account_service_pb2_grpc import AccountServiceStub
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.clock import ManualClock
from services.kernel.identifiers import new_id
from services.market import upstream
from tests.engine import ctp_front as ctp
from tests.engine.ctp_front import RB, CtpFront, M, at
from tests.engine.ctp_gateway import FRONTS
from tests.harness import platform
from tests.waiting import until

CLOSED = ("FILLED", "CANCELED", "REJECTED", "EXPIRED")


class Shop:
    """A platform that trades at the front, and its trader."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.clock = ManualClock(at("2026-11-26 20:45"))
        self.front = FRONTS["tcp://front"] = CtpFront(self.clock)
        self.front.enforce_hours = True
        self.user_id, self.account_id = new_id(), ""
        monkeypatch.setattr(upstream, "REFRESH_S", 0.2)

    @asynccontextmanager
    async def open(self):
        settings = {
            "engine": {
                "gateways": {
                    "CTP": {
                        "module": "tests.engine.ctp_gateway",
                        "class": "CtpGateway",
                        "setting": {"front": "tcp://front"},
                    }
                },
                "settle_s": 0.1,
            },
            "trading": {"reconcile_interval_s": 0.3, "unknown_grace_s": 0.3},
        }
        names = ("engine", "market", "risk", "trading")
        async with platform(*names, settings=settings, data_dir=self.folder, clock=self.clock) as running:
            self.platform = running
            user = running.identity(self.user_id, role="admin")
            self.orders, self.accounts = user.stub(OrderServiceStub), user.stub(AccountServiceStub)
            self.engine = running.service_stub(EngineServiceStub, "trading")
            await until(self.ready, 15)
            if self.account_id:
                await self.funded()
            yield self

    async def ready(self):
        self.clock.advance(1)  # one query a second
        return (await self.engine.QueryState(pb.QueryStateRequest(gateway_name="CTP"))).complete

    async def account(self):
        return (await self.accounts.GetAccount(account_pb.GetAccountRequest(account_id=self.account_id))).account

    async def funded(self):
        """The gateway has told of the account."""

        async def told():
            self.clock.advance(1)
            return Decimal((await self.account()).available or "0") > 0

        await until(told, 15)

    async def go(self, text: str):
        """Time passes until then."""
        self.clock.advance((at(text) - self.clock.now()).total_seconds())

    async def quote(self, instrument, bid, ask, volume=10):
        """The market moves, and the platform has seen it."""
        stub = self.platform.service_stub

        async def seen():
            self.front.quote(instrument.symbol, bid, ask, volume)
            from redfire.market.v1 import market_pb2
            from redfire.market.v1.market_pb2_grpc import MarketServiceStub

            try:
                answer = await stub(MarketServiceStub, "trading").GetTick(
                    market_pb2.GetTickRequest(symbol=instrument.vt_symbol)
                )
            except Exception:
                return False
            return answer.tick.gateway == "CTP" and answer.tick.last_price == bid

        await until(seen, 10)

    async def create(self, side, quantity, price, effect="OPEN", tif="DAY", instrument=RB):
        request = order_pb.CreateOrderRequest(
            client_order_id=new_id(), account_id=self.account_id, symbol=instrument.vt_symbol,
            side=common.Side.Value(f"SIDE_{side}"), type=common.ORDER_TYPE_LIMIT, quantity=str(quantity),
            price=str(price), time_in_force=common.TimeInForce.Value(f"TIME_IN_FORCE_{tif}"),
            position_effect=common.PositionEffect.Value(f"POSITION_EFFECT_{effect}"),
        )  # fmt: skip
        return (await self.orders.CreateOrder(request)).order

    async def order(self, order_id):
        return (await self.orders.GetOrder(order_pb.GetOrderRequest(order_id=order_id))).order

    async def becomes(self, order, status, filled=None, timeout_s=10.0):
        async def reached():
            now = await self.order(order.order_id)
            done = now.status == common.OrderStatus.Value(f"ORDER_STATUS_{status}")
            return now if done and (filled is None or now.cumulative_quantity == str(filled)) else None

        return await until(reached, timeout_s)

    async def at_front(self, order, place=-1):
        """The front's order of ours."""
        now = await self.order(order.order_id)
        assert now.venue_order_id
        return self.front.find(now.venue_order_id)

    async def trades(self):
        return list((await self.accounts.ListTrades(account_pb.ListTradesRequest(page_size=1000))).trades)

    async def positions(self):
        found = {}
        for position in (await self.accounts.ListPositions(account_pb.ListPositionsRequest())).positions:
            if Decimal(position.quantity):
                found[position.symbol, position.side] = (
                    Decimal(position.today_quantity), Decimal(position.yesterday_quantity)
                )  # fmt: skip
        return found

    async def agree(self):
        """The venue's trades are ours, and its positions too."""

        async def agrees():
            ours = {(t.symbol, t.venue_trade_id.split(":")[2]) for t in await self.trades()}
            theirs = {(f"{t.symbol}.{t.exchange}", t.trade_id.strip()) for t in self.front.history}
            held = {
                (self.front.instruments[symbol].vt_symbol, direction): (h.today, h.yesterday)
                for (symbol, direction), h in self.front.holdings.items()
                if h.today + h.yesterday
            }
            sides = {ctp.BUY: common.POSITION_SIDE_LONG, ctp.SELL: common.POSITION_SIDE_SHORT}
            held = {(symbol, sides[d]): value for (symbol, d), value in held.items()}
            self.seen = (ours, theirs, await self.positions(), held)
            return ours == theirs and len(await self.trades()) == len(self.front.history) and self.seen[2] == held

        try:
            await until(agrees, 10)
        except AssertionError:
            raise AssertionError(f"venue and books differ: {self.seen}") from None

    async def nothing_unknown(self, besides=frozenset()):
        listed = (await self.orders.ListOrders(order_pb.ListOrdersRequest(page_size=1000))).orders
        over = [order for order in listed if order.order_id not in besides]
        names = [common.OrderStatus.Name(order.status).removeprefix("ORDER_STATUS_") for order in over]
        assert set(names) <= set(CLOSED), names


@pytest.fixture
def shop(tmp_path, monkeypatch):
    made = Shop(tmp_path, monkeypatch)
    yield made
    made.front.gate.set()
    del FRONTS["tcp://front"]


async def test_two_trading_days(shop):
    front = shop.front
    async with shop.open():
        opened = await shop.accounts.OpenAccount(
            account_pb.OpenAccountRequest(display_name="futures", kind=trading_pb.ACCOUNT_KIND_LIVE, gateway="CTP")
        )
        shop.account_id = opened.account.account_id
        await shop.go("2026-11-26 20:50")
        await shop.funded()
        assert Decimal((await shop.account()).balance) == 10_000_000  # the account's money is the gateway's word
        # Auction: an order rests, and nothing is matched.
        await shop.go("2026-11-26 20:56")
        await shop.quote(RB, 3100.0, 3101.0)
        await shop.quote(M, 2900.0, 2901.0)
        early = await shop.create("BUY", 2, 3101)
        await shop.becomes(early, "NEW")
        # Night: continuous trading, of the next trading day.
        await shop.go("2026-11-26 21:05")
        await shop.quote(RB, 3100.0, 3101.0)
        await shop.becomes(early, "FILLED", 2)
        parts = await shop.create("BUY", 5, 3090)
        await shop.becomes(parts, "NEW")
        front.fill(await shop.at_front(parts), 2)
        await shop.becomes(parts, "PARTIALLY_FILLED", 2)
        # A disconnect, and fills that nobody hears of.
        front.disconnect()
        front.fill(await shop.at_front(parts), 1)
        front.reconnect()
        await shop.becomes(parts, "PARTIALLY_FILLED", 3)
        # DCE writes tomorrow's date on tonight's trades.
        await shop.quote(M, 2900.0, 2901.0)
        soy = await shop.create("BUY", 1, 2901, instrument=M)
        await shop.becomes(soy, "FILLED", 1)
        await shop.agree()
        assert {trade.trading_day for trade in await shop.trades()} == {20261127}
        # An order that the engine was sending when it ended.
        front.gate.clear()
        in_flight = await shop.create("BUY", 3, 3080)
        await shop.becomes(in_flight, "PENDING_NEW")
        await until(lambda: front.waiting)
    front.gate.set()
    await until(lambda: [order for order in front.orders.values() if order.price == 3080])
    sent = next(order for order in front.orders.values() if order.price == 3080)
    front.fill(sent, 1)
    async with shop.open():
        await shop.becomes(in_flight, "PARTIALLY_FILLED", 1)
        front.fill(sent, 2)
        await shop.becomes(in_flight, "FILLED", 3)
        assert len([order for order in front.orders.values() if order.price == 3080]) == 1
        # Day: the same trading day.
        await shop.go("2026-11-27 09:05")
        await shop.quote(RB, 3095.0, 3096.0)
        day = await shop.create("BUY", 1, 3050)
        await shop.becomes(day, "NEW")
        gtc = await shop.create("BUY", 1, 3060, tif="GTC")
        await shop.becomes(gtc, "NEW")
        closing = await shop.create("SELL", 2, 3095, effect="CLOSE")  # today's, though it says CLOSE
        await shop.becomes(closing, "FILLED", 2)
        await shop.agree()
        # The afternoon's end, and with it that of the trading day and of DAY orders.
        await shop.go("2026-11-27 15:20")
        await shop.go("2026-11-27 17:05")
        front.settle()
        await shop.becomes(day, "EXPIRED", timeout_s=15)
        await shop.becomes(parts, "EXPIRED", 3)
        await shop.nothing_unknown(besides={gtc.order_id})
    async with shop.open():  # Friday's night belongs to Monday
        await shop.go("2026-11-27 21:05")
        await until(shop.ready)
        await shop.quote(RB, 3110.0, 3111.0)
        assert (await shop.positions())[RB.vt_symbol, common.POSITION_SIDE_LONG] == (0, 6)
        again = await shop.create("BUY", 2, 3111)
        await shop.becomes(again, "FILLED", 2)
        await until(lambda: [order for order in front.orders.values() if order.price == 3060], 10)
        sent_again = [order for order in front.orders.values() if order.price == 3060]
        front.fill(sent_again[0], 1)
        await shop.becomes(gtc, "FILLED", 1)
        assert len(sent_again) == 1
        split = await shop.create("SELL", 8, 3110, effect="CLOSE")
        await shop.becomes(split, "FILLED", 8)
        offsets = {(o.offset, o.volume) for o in front.orders.values() if o.direction == ctp.SELL}
        assert {offset for offset, _ in offsets} == {ctp.CLOSE_TODAY, ctp.CLOSE_YESTERDAY} or len(offsets) == 2
        await shop.agree()
        assert {trade.trading_day for trade in await shop.trades()} == {20261127, 20261130}
        # Flat in the end: the account's cash is the venue's, to the cent.
        await shop.quote(M, 2910.0, 2911.0)
        for instrument, price in ((RB, 3110), (M, 2910)):
            last = await shop.create("SELL", 1, price, effect="CLOSE", instrument=instrument)
            await shop.becomes(last, "FILLED", 1)
        await shop.agree()
        assert not await shop.positions()

        async def settled():
            shop.clock.advance(1)
            return Decimal((await shop.account()).balance) == round(Decimal(str(front.account()["Balance"])), 4)

        await until(settled, 20)
        await shop.nothing_unknown()
