"""Positions of a LIVE account are its gateway's: from yesterday, by hand, and never booked twice."""

from decimal import Decimal as D

import grpc
import pytest
from redfire.engine.v1 import engine_pb2
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import reconciliation_service_pb2 as pb
from redfire.trading.v1.reconciliation_service_pb2_grpc import ReconciliationServiceStub

from services.kernel.identifiers import new_id
from services.trading.domain import external_booking
from services.trading.venue import position_adjustments
from tests.trading.fakes import SYMBOL, Peers
from tests.trading.live_trader import CLOSE, CLOSE_TODAY, DAY, LONG, OPEN, SELL, live_trader
from tests.waiting import until


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(position_adjustments, "SETTLES_S", 0.2)


async def test_positions_from_before_redfire_are_the_accounts_and_can_be_closed(tmp_path):
    activities = []

    async def hear(event):
        activities.append(event.external_activity)

    async with live_trader(data_dir=tmp_path) as client:
        client.platform.host.events.subscribe("trading.external_activity", hear)
        client.hold(5, yesterday=3, price="3990")
        await client.holds(5)
        assert (await client.held())[LONG] == ("2", "3", "3990")
        trades = await client.booked()
        assert {(t.order_id, t.commission, t.venue_trade_id[:11]) for t in trades} == {("", "0", "adjustment:")}
        assert {t.quantity for t in trades} == {"2", "3"}
        await until(lambda: {one.venue_id for one in activities} >= {t.venue_trade_id for t in trades})
        assert {one.kind for one in activities} == {"position"}
        await client.agrees()
        assert not await client.differences()
        order = await client.create("SELL", 5, effect="CLOSE", account_id=client.account_id, price="4000")
        await client.becomes(order.order_id, "NEW")
    async with live_trader(_peers(client), tmp_path) as client:
        await client.holds(5)
        assert (await client.held())[LONG] == ("2", "3", "3990")
        client.engine.fill(order.order_id, 5, "4000")
        client.engine.positions = []
        await client.becomes(order.order_id, "FILLED")
        await client.holds(0)
        await client.agrees()


def _peers(client):
    peers = Peers()
    peers.engine, peers.market = client.engine, client.market
    return peers


async def test_a_hand_trade_is_the_accounts_at_once_and_once_also_over_a_restart(tmp_path):
    async with live_trader(data_dir=tmp_path) as client:
        for _ in range(2):
            client.report_trade(client.hand_trade("h1", "2"))
        client.hold(2)
        await client.holds(2, reporting=False)
        (trade,) = await client.booked()
        assert (trade.order_id, trade.venue_trade_id, trade.price) == ("", "h1", "4000")
        assert D(trade.commission) == 2 * 4000 * 300 * D("0.000023")
        assert not await client.differences()
        listed = await client.admin.ListExternalTrades(pb.ListExternalTradesRequest())
        assert not listed.external_trades
        listed = await client.admin.ListExternalTrades(pb.ListExternalTradesRequest(include_adopted=True))
        assert [one.venue_trade_id for one in listed.external_trades] == ["h1"]
    # While RedFire is down, another one.
    client.report_trade(client.hand_trade("h2", seconds=1_800_000_000), silent=True)
    client.hold(3)
    async with live_trader(_peers(client), tmp_path) as client:
        await client.holds(3)
        assert sorted(t.venue_trade_id for t in await client.booked()) == ["h1", "h2"]
        await client.agrees()
        client.report_trade(client.hand_trade("h3", "3", SELL, CLOSE))
        client.hold(0)
        await client.holds(0)
        await client.agrees()


@pytest.mark.parametrize("what", ["a hand trade", "a takeover"])
async def test_a_step_that_fails_half_way_is_done_once_from_what_the_database_has(tmp_path, monkeypatch, what):
    real, failures = external_booking.Trade, []

    def fails_once(*args, **kwargs):
        if not failures:
            failures.append(what)
            raise ValueError("a fault in the middle")
        return real(*args, **kwargs)

    async with live_trader(data_dir=tmp_path) as client:
        monkeypatch.setattr(external_booking, "Trade", fails_once)
        if what == "a hand trade":
            client.report_trade(client.hand_trade("h1", "2"))
        client.hold(2, price="3990")

        async def held():
            client.report()
            try:
                return failures and (await client.held()).get(LONG, ("0",))[0] == "2"
            except grpc.aio.AioRpcError as error:  # the books are being read anew
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                return False

        await until(held, 10)
        assert len(await client.trades()) == 1
        await client.agrees()


async def test_a_hand_close_of_what_the_books_did_not_have_never_turns_the_position_round(tmp_path):
    async with live_trader(data_dir=tmp_path) as client:
        client.report_trade(client.hand_trade("h1", "1", SELL, CLOSE, "4010"), silent=True)
        client.hold(4, yesterday=4, price="3990")
        await client.holds(4)
        assert (await client.held()).keys() == {LONG}
        await client.agrees()


async def test_what_the_venue_has_no_more_leaves_the_books_and_equity_stays(tmp_path):
    async with live_trader(data_dir=tmp_path) as client:
        client.hold(5, yesterday=5, price="3990")
        await client.holds(5)
        stop = await client.create("SELL", 4, "STOP", stop_price="3900", effect="CLOSE", account_id=client.account_id)
        client.hold(2, yesterday=2, price="3990")
        await client.holds(2)
        assert (await client.held())[LONG] == ("0", "2", "3990")
        closing = [t for t in await client.booked() if t.position_effect != OPEN]
        assert [(t.quantity, t.price) for t in closing] == [("3", "4000")]
        await client.agrees()
        await client.cancel(stop.order_id)


async def test_a_fill_that_is_reported_after_its_quantity_was_taken_over_is_not_booked_twice(tmp_path):
    async with live_trader(data_dir=tmp_path) as client:
        early = client.now() - 60
        order = await client.create("BUY", 3, account_id=client.account_id)
        await client.becomes(order.order_id, "NEW")
        client.hold(5, price="4001")
        await client.holds(5)
    # The reports come after a restart: two of ours and three of a hand trade.
    async with live_trader(_peers(client), tmp_path) as client:
        trade = client.engine.fill(order.order_id, 2, "3999", silent=True)
        trade.time.seconds = early
        client.engine.emit(trade=trade)
        await client.becomes(order.order_id, "PARTIALLY_FILLED")
        assert (await client.held())[LONG][0] == "5"
        client.report_trade(client.hand_trade("h1", "3", price="3998", seconds=early))

        async def replaced():
            return not [t for t in await client.booked() if t.venue_trade_id.startswith("adjustment:")]

        await until(replaced)
        assert (await client.held())[LONG] == ("5", "0", "3998.4")
        await client.agrees()
        # A new trade is booked besides.
        client.report_trade(client.hand_trade("h2", "1", seconds=client.now() + 60))
        client.hold(6)
        await client.holds(6)
        await client.agrees()
        assert not await client.differences()


async def test_a_close_that_is_reported_after_it_was_taken_over_is_not_booked_twice(tmp_path):
    async with live_trader(data_dir=tmp_path) as client:
        early = client.now() - 60
        client.report_trade(client.hand_trade("h1", "3", seconds=early))
        client.hold(3)
        await client.holds(3)
        client.hold(1)
        await client.holds(1)
        client.report_trade(client.hand_trade("h2", "2", SELL, CLOSE_TODAY, "4020", seconds=early))

        async def replaced():
            return {t.venue_trade_id for t in await client.booked()} == {"h1", "h2"}

        await until(replaced)
        assert (await client.held()) == {LONG: ("1", "0", "4000")}
        await client.agrees()


async def test_a_hand_trade_that_turns_out_to_be_an_orders_moves_to_the_order(tmp_path):
    async with live_trader(data_dir=tmp_path) as client:
        order = await client.create("BUY", 2, account_id=client.account_id)
        await client.becomes(order.order_id, "NEW")
        trade = client.hand_trade("t1", "2", venue_order_id="unknown")
        client.report_trade(trade)
        client.hold(2)
        await client.holds(2)
        client.engine.emit(trade={**trade, "order_id": order.order_id})
        done = await client.becomes(order.order_id, "FILLED", "PARTIALLY_FILLED")
        assert done.cumulative_quantity == "2"
        (booked,) = await client.booked()
        assert booked.order_id == order.order_id and (await client.held())[LONG][0] == "2"
        await client.agrees()


async def test_an_administrator_makes_an_order_of_a_hand_close_that_is_booked_already(tmp_path):
    async with live_trader(data_dir=tmp_path) as client:
        client.hold(3, yesterday=3, price="3990")
        await client.holds(3)
        external = engine_pb2.OrderUpdate(
            gateway_name="SIM", venue_order_id="o-h1", symbol=SYMBOL, side=SELL, position_effect=CLOSE, type=2,
            price="4000", quantity="2", cumulative_quantity="1", status=3,
        )  # fmt: skip
        client.engine.orders["o-h1"] = external
        client.engine.emit(order=external)
        client.report_trade(client.hand_trade("h1", "1", SELL, CLOSE))
        client.hold(2, yesterday=2)
        await client.holds(2)
        (listed,) = (await client.admin.ListExternalOrders(pb.ListExternalOrdersRequest())).external_orders
        adopted = await client.admin.AdoptExternalOrder(
            pb.AdoptExternalOrderRequest(external_order_id=listed.external_order_id, account_id=client.account_id)
        )
        assert adopted.order.cumulative_quantity == "1"
        await client.holds(2)
        await client.agrees()


async def test_a_hand_trade_that_the_venue_busts_or_corrects_is_taken_back(tmp_path):
    async with live_trader(data_dir=tmp_path) as client:
        trade = client.hand_trade("h1", "2")
        client.report_trade(trade)
        client.hold(2)
        await client.holds(2)
        client.report_trade({**trade, "kind": 3, "price": "3990"})

        async def corrected():
            return (await client.held()).get(LONG) == ("2", "0", "3990")

        await until(corrected)
        await client.agrees()
        other = client.hand_trade("h2", "1")
        client.report_trade(other)
        await client.holds(3, reporting=False)
        client.report_trade({**other, "kind": 2})
        client.hold(2)
        await client.holds(2)
        await client.agrees()


async def test_nothing_is_taken_over_while_a_fill_is_on_its_way(tmp_path):
    async with live_trader(data_dir=tmp_path) as client:
        order = await client.create("BUY", 2, account_id=client.account_id)
        await client.becomes(order.order_id, "NEW")
        client.hold(2)
        client.engine.update(order.order_id, "FILLED", cumulative_quantity="2")  # its trade comes later
        await until(client.differences)
        queries = client.engine.queries

        async def waited():
            client.report()
            return client.engine.queries > queries + 15

        await until(waited)
        assert not await client.held() and await client.differences()
        client.report_trade({**client.hand_trade("t1", "2"), "order_id": order.order_id})
        await client.becomes(order.order_id, "FILLED")
        await client.holds(2)
        (trade,) = await client.trades()
        assert trade.order_id == order.order_id


async def test_nothing_is_taken_over_before_the_gateway_has_reported_its_account_again(tmp_path):
    async with live_trader(data_dir=tmp_path) as client:
        client.report_trade(client.hand_trade("h1", "2"))
        client.hold(2)
        await client.holds(2)
        client.engine.emit(gateway={"gateway_name": "SIM", "status": 1})
        client.engine.positions = []  # a new line has not reported its positions yet
        client.engine.emit(gateway={"gateway_name": "SIM", "status": 3})
        await until(client.differences)
        queries = client.engine.queries
        await until(lambda: client.engine.queries > queries + 15)
        assert (await client.held())[LONG][0] == "2"
        client.hold(2)

        async def none():
            client.report()
            return not await client.differences()

        await until(none)
        assert (await client.held())[LONG][0] == "2" and len(await client.trades()) == 1


async def test_a_position_shows_how_it_differs_until_it_is_taken_over(tmp_path, monkeypatch):
    async with live_trader(data_dir=tmp_path) as client:
        client.hold(3, price="3990")
        await client.holds(3)
        monkeypatch.setattr(position_adjustments, "SETTLES_S", 1000)
        client.hold(1, price="3990")

        async def shown(difference):
            answer = await client.accounts.ListPositions(account_pb.ListPositionsRequest(account_id=client.account_id))
            return [p.venue_difference for p in answer.positions] == [difference]

        await until(lambda: shown("-2"))
        monkeypatch.setattr(position_adjustments, "SETTLES_S", 0.2)
        await client.holds(1)
        assert await shown("")


async def test_a_paper_gateways_differences_are_an_administrators(trader):
    trader.engine.positions = [{"gateway_name": "SIM", "symbol": SYMBOL, "side": 1, "quantity": "4"}]
    trade = {"gateway_name": "SIM", "venue_order_id": new_id(), "venue_trade_id": "h", "symbol": SYMBOL, "side": 1,
             "position_effect": 1, "price": "1", "quantity": "4", "trading_day": DAY}  # fmt: skip
    trader.engine.emit(trade=trade)
    admin = trader.platform.identity(role="admin").stub(ReconciliationServiceStub)

    async def listed():
        return (await admin.ListExternalTrades(pb.ListExternalTradesRequest())).external_trades

    await until(listed)
    assert not await trader.positions() and not await trader.trades()


async def test_the_margin_is_what_is_neither_available_nor_frozen(tmp_path):
    async with live_trader(data_dir=tmp_path) as client:

        async def reported():
            account = await client.account(client.account_id)
            return account.margin == "1000000" and account.available == "4000000"

        await until(reported)
