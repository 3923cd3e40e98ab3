"""A platform that trades at the scripted CTP front: engine, market, risk and trading in one process, and its trader."""

from contextlib import asynccontextmanager
from decimal import Decimal

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
from tests.engine import ctp_fields as ctp
from tests.engine.ctp_fields import RB, at
from tests.engine.ctp_front import CtpFront
from tests.engine.ctp_gateway import FRONTS
from tests.harness import platform
from tests.waiting import until

CLOSED = ("FILLED", "CANCELED", "REJECTED", "EXPIRED")


class CtpPlatform:
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
            self.engine = running.service_stub(EngineServiceStub)
            await until(self.ready, 15)
            if self.account_id:
                await self.funded()
            yield self

    async def open_account(self):
        """The LIVE account, with the gateway's money."""
        request = account_pb.OpenAccountRequest(
            display_name="futures", kind=trading_pb.ACCOUNT_KIND_LIVE, gateway="CTP"
        )
        self.account_id = (await self.accounts.OpenAccount(request)).account.account_id
        await self.funded()

    async def ready(self):
        self.clock.advance(1)  # one query a second
        return (await self.engine.QueryState(pb.QueryStateRequest(gateway_name="CTP"))).complete

    async def account(self):
        return (await self.accounts.GetAccount(account_pb.GetAccountRequest(account_id=self.account_id))).account

    async def funded(self):
        """The gateway has reported the account."""

        async def reported():
            self.clock.advance(1)
            return Decimal((await self.account()).available or "0") > 0

        await until(reported, 15)

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
        positions = {}
        for position in (await self.accounts.ListPositions(account_pb.ListPositionsRequest())).positions:
            if Decimal(position.quantity):
                positions[position.symbol, position.side] = (
                    Decimal(position.today_quantity), Decimal(position.yesterday_quantity)
                )  # fmt: skip
        return positions

    async def agree(self):
        """The venue's trades are ours, and its positions too."""

        async def agrees():
            ours = {(t.symbol, t.venue_trade_id.split(":")[2]) for t in await self.trades()}
            theirs = {(f"{t.symbol}.{t.exchange}", t.trade_id.strip()) for t in self.front.history}
            held = {
                (self.front.instruments[symbol].vt_symbol, direction): (h.today, h.yesterday)
                for (symbol, direction), h in self.front.books.holdings.items()
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
