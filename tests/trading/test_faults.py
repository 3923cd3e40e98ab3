"""Faults that never cause an order twice, a fill lost or twice, or books that disagree."""

import asyncio
from decimal import Decimal as D

import grpc
import pytest
from redfire.common.v1.error_reason_pb2 import OUTCOME_UNKNOWN
from redfire.engine.v1 import engine_pb2
from redfire.trading.v1 import order_service_pb2 as order_pb
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.errors import Unavailable
from services.trading.venue import report_handler
from tests.harness import platform
from tests.trading.commits import ANSWER_LOST, NOTHING_DONE, tables
from tests.trading.conftest import FAST, Client, reason_of, refused, trading
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("both_databases")
FILLED, PENDING_CANCEL, UNKNOWN = 4, 5, 10


async def _fail(request):
    raise Unavailable("the engine died")


async def test_a_send_that_fails_before_the_engine_got_it_ends_as_not_sent(trader):
    trader.engine.before_send = _fail
    order = await trader.create()
    await trader.becomes(order.order_id, "UNKNOWN")
    done = await trader.becomes(order.order_id, "REJECTED")
    assert done.reject_reason == 41 and D((await trader.account()).frozen) == 0
    assert not trader.engine.sends


async def test_a_send_whose_answer_is_lost_is_recognised_and_not_sent_twice(trader):
    trader.engine.after_send = _fail
    trader.engine.ack = False
    order = await trader.create(quantity=2)
    await until(lambda: trader.engine.sends)
    trader.engine.update(order.order_id, "NEW", silent=True)
    trader.engine.fill(order.order_id, 1, "4000", silent=True)
    done = await trader.becomes(order.order_id, "PARTIALLY_FILLED")
    assert done.cumulative_quantity == "1" and len(trader.engine.sends) == 1


async def test_an_order_given_up_that_lives_after_all_is_canceled_and_its_fill_booked(trader):
    trader.engine.before_send = _fail
    order = await trader.create(quantity=2)
    await trader.becomes(order.order_id, "REJECTED")
    trader.engine.orders[order.order_id] = engine_pb2.OrderUpdate(
        gateway_name="SIM", order_id=order.order_id, venue_order_id="late", symbol=order.symbol, side=1,
        position_effect=1, quantity="2", price="4000", cumulative_quantity="0",
    )  # fmt: skip
    trader.engine.update(order.order_id, "NEW")
    trader.engine.fill(order.order_id, 1, "4000")
    await until(lambda: trader.engine.cancels)
    (position,) = await until(trader.positions)
    assert position.quantity == "1" and len(await trader.trades()) == 1


async def test_events_that_a_broken_stream_lost_are_made_good_once(trader):
    order = await trader.create(quantity=3)
    await trader.becomes(order.order_id, "NEW")
    trader.engine.fill(order.order_id, 1, "4000", "t1")
    await trader.becomes(order.order_id, "PARTIALLY_FILLED")
    trader.engine.fill(order.order_id, 1, "4000", "t2", silent=True)
    trader.engine.epoch = "another life"
    trader.engine.drop_streams()
    await until(lambda: _cumulative(trader, order.order_id, "2"))
    for trade in trader.engine.trades:
        trader.engine.emit(trade=trade)
    trader.engine.fill(order.order_id, 1, "4000", "t3")
    await trader.becomes(order.order_id, "FILLED")
    assert len(await trader.trades()) == 3 and (await trader.positions())[0].quantity == "3"


async def _cumulative(trader, order_id, quantity):
    return (await trader.get(order_id)).cumulative_quantity == quantity


async def test_unknown_orders_are_left_alone(trader):
    trader.engine.emit(
        order={"gateway_name": "SIM", "venue_order_id": "x", "symbol": "IF2606.CFFEX", "quantity": "1", "status": 2}
    )
    trader.engine.emit(
        trade={"gateway_name": "SIM", "order_id": "0" * 36, "venue_trade_id": "x", "price": "1", "quantity": "1"}
    )
    order = await trader.create()
    await trader.becomes(order.order_id, "NEW")
    assert not await trader.trades()


async def test_a_database_that_cannot_be_written_refuses_and_comes_back(commits, trader):
    first = await trader.create(quantity=2)
    await trader.becomes(first.order_id, "NEW")
    commits.fault = lambda group: NOTHING_DONE
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await trader.create(coid="again")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE and reason_of(caught.value) == "UNAVAILABLE"
    trader.engine.fill(first.order_id, 1, "4000")
    commits.fault = lambda group: None
    done = await until(lambda: _known(trader, first.order_id, "1"))
    assert done.quantity == "2" and len(await trader.trades()) == 1
    await until(lambda: not trader.platform.host.lifecycle.waiting_for("trading"))
    order = await trader.create(coid="again")
    await trader.becomes(order.order_id, "NEW")
    assert [s.order_id for s in trader.engine.sends] == [first.order_id, order.order_id]
    account = await trader.account()
    assert D(account.balance) == 1_000_000 - D(account.commission)


async def test_streams_are_sent_what_was_written_though_the_answer_was_lost(commits, trader):
    """The commit happened, and the database was gone before it said so: memory is read anew, and followers go on."""
    order = await trader.create(quantity=2)
    await trader.becomes(order.order_id, "NEW")
    updates: list[order_pb.StreamOrdersResponse] = []
    watched: list[order_pb.StreamOrdersResponse] = []
    risk = OrderServiceStub(trader.platform.host.resources.channels.to("trading", "risk"))

    async def follow(stream, into):
        async for message in stream:
            into.append(getattr(message, "update", message))

    followers = [
        asyncio.ensure_future(follow(trader.orders.StreamOrders(order_pb.StreamOrdersRequest()), updates)),
        asyncio.ensure_future(follow(risk.WatchTrading(order_pb.WatchTradingRequest()), watched)),
    ]
    for kept in (updates, watched):
        await until(lambda kept=kept: any(m.HasField("snapshot_complete") for m in kept))
    lost = []

    def fault(group):
        if lost or "trades" not in tables(group):
            return None
        lost.append(group)
        return ANSWER_LOST

    commits.fault = fault
    trader.engine.fill(order.order_id, 2, "4000")
    await until(lambda: _known(trader, order.order_id, "2"))
    assert lost
    for kept in (updates, watched):
        await until(lambda kept=kept: [m.trade.quantity for m in kept if m.HasField("trade")] == ["2"])
        await until(lambda kept=kept: any(m.order.status == FILLED for m in kept))
        sequences = [m.sequence for m in kept if m.WhichOneof("event") in ("order", "trade", "position")]
        assert sequences == sorted(sequences)
    for follower in followers:
        follower.cancel()
    await asyncio.gather(*followers, return_exceptions=True)


async def _known(trader, order_id, cumulative):
    try:
        order = await trader.get(order_id)
    except grpc.aio.AioRpcError:
        return None
    return order if order.cumulative_quantity == cumulative else None


async def test_nothing_is_lost_or_doubled_by_a_restart(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        resting = await trader.create(quantity=3)
        await trader.becomes(resting.order_id, "NEW")
        trader.engine.fill(resting.order_id, 1, "4000", "t1")
        await trader.becomes(resting.order_id, "PARTIALLY_FILLED")
        sending = asyncio.Event()

        async def never(request):
            sending.set()
            await asyncio.Event().wait()

        trader.engine.before_send = never
        unsent = await trader.create()
        await sending.wait()
        before = await trader.account()
    peers = trader.peers
    peers.engine.before_send = None
    peers.engine.listeners.clear()
    peers.engine.fill(resting.order_id, 1, "4001", "t2")
    async with trading(peers, data_dir=tmp_path, user_id="u-1") as trader:
        done = await trader.becomes(unsent.order_id, "REJECTED")
        assert done.reject_reason == 41
        await until(lambda: _cumulative(trader, resting.order_id, "2"))
        assert (await trader.positions())[0].quantity == "2" and len(await trader.trades()) == 2
        account = await trader.account()
        assert account.account_id == before.account_id and D(account.frozen) < D(before.frozen)
        assert len(peers.engine.sends) == 1
        trader.engine.fill(resting.order_id, 1, "4002", "t3")
        await trader.becomes(resting.order_id, "FILLED")
        assert D((await trader.account()).frozen) == 0
        async with refused("CLIENT_ORDER_ID_REUSED"):
            await trader.create(coid=resting.client_order_id, quantity=9)


async def test_a_lost_cancel_is_asked_again(trader):
    order = await trader.create()
    await trader.becomes(order.order_id, "NEW")
    trader.engine.auto_cancel = False
    await trader.cancel(order.order_id)
    await until(lambda: len(trader.engine.cancels) == 1)
    trader.engine.auto_cancel = True
    trader.engine.epoch = "another life"
    trader.engine.drop_streams()
    await trader.becomes(order.order_id, "CANCELED")
    assert len(trader.engine.cancels) == 2


async def test_an_order_that_the_venue_shows_no_more_stays_unknown_until_it_does(monkeypatch):
    monkeypatch.setattr("services.trading.venue.reconciliation.FORGOTTEN_S", 0.2)
    async with trading(reconcile_interval_s=0.15) as trader:
        order = await trader.create(quantity=2)
        await trader.becomes(order.order_id, "NEW")
        forgotten = trader.engine.orders.pop(order.order_id)
        doubtful = await trader.becomes(order.order_id, "UNKNOWN")
        assert doubtful.hold_reason == OUTCOME_UNKNOWN and D((await trader.account()).frozen) > 0
        trader.engine.orders[order.order_id] = forgotten
        assert not (await trader.becomes(order.order_id, "NEW")).hold_reason
        trader.engine.fill(order.order_id, 2, "4000")
        await trader.becomes(order.order_id, "FILLED")


async def test_a_fill_of_an_order_that_was_in_doubt_ends_the_doubt(trader):
    async def hide(request):
        trader.engine.hidden.add(request.order_id)
        await _fail(request)

    trader.engine.ack, trader.engine.after_send = False, hide
    order = await trader.create(quantity=2)
    await until(lambda: _doubtful(trader, order.order_id))
    trader.engine.before_query = _never
    trader.engine.emit(trade=trader.engine.fill(order.order_id, 1, "4000", silent=True))
    assert not (await trader.becomes(order.order_id, "PARTIALLY_FILLED")).hold_reason
    trader.engine.emit(trade=trader.engine.fill(order.order_id, 1, "4000", silent=True))
    assert not (await trader.becomes(order.order_id, "FILLED")).hold_reason


async def test_what_was_sent_before_a_restart_is_never_ended_by_our_own_hand(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        trader.engine.ack = False
        trader.engine.after_send = _never  # the engine has it, and the answer does not come
        order = await trader.create(quantity=2)
        await until(lambda: trader.engine.sends)
    peers = trader.peers
    peers.engine.after_send = None
    peers.engine.listeners.clear()
    peers.engine.connected = False  # as real gateways do, it needs a moment to connect
    peers.engine.fill(order.order_id, 2, "4000", "t1", silent=True)
    async with platform("trading", fakes=peers.fakes(), settings={"trading": FAST}, data_dir=tmp_path) as running:
        trader = Client(running, running.identity("u-1"))
        await until(lambda: running.host.lifecycle.started)
        assert (await trader.cancel(order.order_id)).status == PENDING_CANCEL  # asked of the venue
        peers.engine.connected = True
        peers.engine.emit(gateway={"gateway_name": "SIM", "status": 3})
        done = await trader.becomes(order.order_id, "FILLED")
        assert done.cumulative_quantity == "2" and len(await trader.trades()) == 1
        assert (await trader.positions())[0].quantity == "2" and len(peers.engine.sends) == 1


async def _never(request):
    await asyncio.Event().wait()


async def test_an_order_that_the_gateway_may_have_stays_unknown_and_its_cancel_asks_the_venue(trader):
    trader.engine.before_send = _fail
    order = await trader.create(quantity=2)
    trader.engine.hidden.add(order.order_id)
    doubtful = await until(lambda: _doubtful(trader, order.order_id))
    assert doubtful.status == UNKNOWN
    assert (await trader.cancel(order.order_id)).status == PENDING_CANCEL
    await until(lambda: order.order_id in trader.engine.cancels)
    assert (await trader.get(order.order_id)).status == PENDING_CANCEL
    trader.engine.hidden.clear()  # it never was there after all
    assert (await trader.becomes(order.order_id, "CANCELED")).reject_reason == 41


async def _doubtful(trader, order_id):
    order = await trader.get(order_id)
    return order if order.hold_reason == OUTCOME_UNKNOWN else None


async def test_fills_of_orders_that_finished_while_trading_was_away_are_booked(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        canceled = await trader.create(quantity=2)
        await trader.becomes(canceled.order_id, "NEW")
        await trader.cancel(canceled.order_id)
        await trader.becomes(canceled.order_id, "CANCELED")
        trader.engine.before_send = _fail
        refused_one = await trader.create(quantity=1, coid="given-up")
        await trader.becomes(refused_one.order_id, "REJECTED")
    peers = trader.peers
    peers.engine.before_send = None
    peers.engine.listeners.clear()
    peers.engine.fill(canceled.order_id, 2, "4000", "late", silent=True)
    peers.engine.update(canceled.order_id, "FILLED", silent=True)
    peers.engine.orders[refused_one.order_id] = engine_pb2.OrderUpdate(
        gateway_name="SIM", order_id=refused_one.order_id, venue_order_id="late", symbol="IF2606.CFFEX", side=1,
        position_effect=1, quantity="1", price="4000", cumulative_quantity="0",
    )  # fmt: skip
    peers.engine.fill(refused_one.order_id, 1, "4001", "t2", silent=True)
    peers.engine.trades_at_once = 1
    async with trading(peers, data_dir=tmp_path, user_id="u-1", kept_finished_orders=0) as trader:
        for order in (canceled, refused_one):
            done = await trader.becomes(order.order_id, "FILLED")
            assert done.cumulative_quantity == done.quantity and not done.reject_reason
        assert len(await trader.trades()) == 2 and (await trader.positions())[0].quantity == "3"
        account = await trader.account()
        assert D(account.balance) == 1_000_000 - D(account.commission) and D(account.frozen) == 0


async def test_a_trade_whose_numbers_are_none_is_refused_and_the_next_one_booked(trader, caplog):
    order = await trader.create(quantity=2)
    await trader.becomes(order.order_id, "NEW")
    for number, price in enumerate(("NaN", "Infinity", "x", "1e30", "")):
        trader.engine.emit(
            trade={
                "gateway_name": "SIM", "order_id": order.order_id, "venue_trade_id": f"bad{number}", "price": price,
                "quantity": "1", "symbol": order.symbol,
            }
        )  # fmt: skip
    trader.engine.emit(order={"gateway_name": "SIM", "order_id": order.order_id, "quantity": "NaN", "status": 2})
    trader.engine.fill(order.order_id, 1, "4000")
    done = await trader.becomes(order.order_id, "PARTIALLY_FILLED")
    assert done.cumulative_quantity == "1" and len(await trader.trades()) == 1
    assert caplog.text.count("cannot be booked") == 6


async def test_a_report_that_cannot_be_booked_does_not_hold_up_those_behind_it(trader, monkeypatch, caplog):
    order = await trader.create(quantity=2)
    await trader.becomes(order.order_id, "NEW")
    book = report_handler.apply_trade_report

    def poisoned(books, order, report, changes, *more):
        booked = book(books, order, report, changes, *more)
        if report.venue_trade_id == "poison":
            raise ZeroDivisionError
        return booked

    monkeypatch.setattr(report_handler, "apply_trade_report", poisoned)
    trader.engine.fill(order.order_id, 1, "4000", "poison")
    trader.engine.fill(order.order_id, 1, "4000", "good")

    async def booked():
        try:
            return [trade.venue_trade_id for trade in await trader.trades()] == ["good"]
        except grpc.aio.AioRpcError:
            return False  # the books are being read

    await until(booked, 10)
    assert "cannot be booked" in caplog.text
    assert (await trader.positions())[0].quantity == "1"


async def test_a_gateway_whose_return_was_not_reported_is_used_again():
    async with trading(reconcile_interval_s=0.1) as trader:
        trader.engine.connected = False
        trader.engine.emit(gateway={"gateway_name": "SIM", "status": 1})

        async def refused_for_now():
            try:
                await trader.create()
            except grpc.aio.AioRpcError as error:
                return reason_of(error) == "GATEWAY_DISCONNECTED"

        await until(refused_for_now)
        trader.engine.connected = True  # without an event

        async def accepted():
            try:
                return await trader.create(coid="again")
            except grpc.aio.AioRpcError:
                return None

        order = await until(accepted)
        await trader.becomes(order.order_id, "NEW")
