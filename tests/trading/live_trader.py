"""A LIVE account, its gateway, and the hand trades at its broker."""

from contextlib import asynccontextmanager
from decimal import Decimal as D

from google.protobuf import timestamp_pb2
from redfire.engine.v1 import engine_pb2
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import reconciliation_service_pb2 as pb
from redfire.trading.v1.reconciliation_service_pb2_grpc import ReconciliationServiceStub

from tests.trading.conftest import Client, trading
from tests.trading.fakes import SYMBOL, Peers
from tests.waiting import until

DAY = 20260105
OPEN, CLOSE, CLOSE_TODAY = 1, 2, 3
BUY, SELL = 1, 2
LONG, SHORT = 1, 2


class LiveTrader(Client):
    """The owner of a LIVE account, and what happens at the broker."""

    account_id = ""

    def hold(self, quantity, yesterday="0", price="", side=LONG):
        """The venue's position is this."""
        self.engine.positions = [p for p in self.engine.positions if p["side"] != side] + [
            {
                "gateway_name": "SIM", "symbol": SYMBOL, "side": side, "quantity": str(quantity),
                "yesterday_quantity": str(yesterday), "average_price": price,
            }
        ]  # fmt: skip

    def report(self):
        """The gateway reports the account."""
        now = timestamp_pb2.Timestamp()
        now.GetCurrentTime()
        self.engine.emit(
            account={
                "gateway_name": "SIM", "venue_account_id": "888", "balance": "5000000", "available": "4000000",
                "frozen": "0", "time": now,
            }
        )  # fmt: skip

    def hand_trade(self, trade_id, quantity="1", side=BUY, effect=OPEN, price="4000", day=DAY, seconds=0, **more):
        """Trade at the broker's terminal, by hand."""
        return {
            "gateway_name": "SIM", "venue_order_id": f"o-{trade_id}", "venue_trade_id": trade_id, "symbol": SYMBOL,
            "side": side, "position_effect": effect, "price": price, "quantity": quantity, "trading_day": day,
            "time": timestamp_pb2.Timestamp(seconds=seconds or self.now()), **more,
        }  # fmt: skip

    def report_trade(self, trade, silent=False):
        self.engine.trades.append(engine_pb2.TradeUpdate(**trade))
        if not silent:
            self.engine.emit(trade=trade)

    def now(self):
        return int(self.platform.host.clock.now_ns() / 1e9)

    async def held(self):
        answer = await self.accounts.ListPositions(account_pb.ListPositionsRequest(account_id=self.account_id))
        return {p.side: (p.today_quantity, p.yesterday_quantity, p.average_price) for p in answer.positions}

    async def holds(self, quantity, side=LONG, reporting=True):
        """Wait until the account's position is so large."""

        async def reached():
            if reporting:
                self.report()
            today, yesterday, _ = (await self.held()).get(side, ("0", "0", ""))
            return D(today) + D(yesterday) == D(quantity)

        await until(reached)

    async def differences(self):
        answer = await self.admin.ListPositionDifferences(pb.ListPositionDifferencesRequest())
        return list(answer.position_differences)

    async def booked(self, **narrow):
        """Trades that count."""
        return [trade for trade in await self.trades() if not trade.busted]

    async def agrees(self):
        """Positions are the sum of the trades that count, and cash that of the ledger."""
        sums = {}
        for trade in await self.booked():
            opens = trade.position_effect == OPEN
            side = LONG if (trade.side == BUY) == opens else SHORT
            sums[side] = sums.get(side, D(0)) + (D(trade.quantity) if opens else -D(trade.quantity))
        held = {side: D(today) + D(older) for side, (today, older, _) in (await self.held()).items()}
        assert held == {side: quantity for side, quantity in sums.items() if quantity}
        entries = [e for e in await self.entries() if e.ledger_account == f"cash:{self.account_id}"]
        assert D((await self.account(self.account_id)).balance) == sum((D(e.amount) for e in entries), D(0))


@asynccontextmanager
async def live_trader(peers=None, data_dir=None, user_id="u-1", opens=True):
    peers = peers or Peers()
    peers.engine.simulated = False
    peers.engine.listeners.clear()
    async with trading(peers, data_dir, user_id, reconcile_interval_s=0.05) as trader:
        client = LiveTrader(trader.platform, trader.platform.identity(user_id, role="admin"))
        client.engine, client.market = peers.engine, peers.market
        client.admin = client.user.stub(ReconciliationServiceStub)
        if opens:
            request = account_pb.OpenAccountRequest(display_name="x", kind=2, gateway="SIM", request_id="live")
            client.account_id = (await client.accounts.OpenAccount(request)).account.account_id
        client.report()
        yield client
