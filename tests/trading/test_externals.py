"""External orders and trades: shown, published, and adopted, canceled or closed by administrators."""

import asyncio

import grpc
import pytest
from redfire.common.v1.error_reason_pb2 import OUTCOME_UNKNOWN
from redfire.engine.v1 import engine_pb2
from redfire.trading.v1 import order_service_pb2 as order_pb
from redfire.trading.v1 import reconciliation_service_pb2 as pb
from redfire.trading.v1.reconciliation_service_pb2_grpc import ReconciliationServiceStub

from services.kernel.errors import Unavailable
from services.kernel.identifiers import new_id
from tests.trading.books import D
from tests.trading.conftest import reason_of, refused, trading
from tests.trading.fakes import SYMBOL
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("both_databases")

FILLED, CANCELED, UNKNOWN = 4, 6, 10


def admin_of(trader):
    return trader.platform.identity(role="admin").stub(ReconciliationServiceStub)


def _order(venue_order_id="x1", quantity="3", status=2, cumulative="0", side=1, effect=1, price="4000"):
    return {
        "gateway_name": "SIM", "venue_order_id": venue_order_id, "symbol": SYMBOL, "side": side, "price": price,
        "position_effect": effect, "quantity": quantity, "cumulative_quantity": cumulative, "status": status, "type": 2,
    }  # fmt: skip


def _at_venue(trader, **values):
    """An order that the venue has, reports now, and shows when it is asked."""
    order = engine_pb2.OrderUpdate(**_order(**values))
    trader.engine.orders[order.venue_order_id] = order
    trader.engine.emit(order=order)


def _trade(trade_id, quantity="1", venue_order_id="x1", side=1, effect=1, price="4000"):
    return {
        "gateway_name": "SIM", "venue_order_id": venue_order_id, "venue_trade_id": trade_id, "symbol": SYMBOL,
        "side": side, "position_effect": effect, "price": price, "quantity": quantity, "trading_day": 20260105,
    }  # fmt: skip


async def _externals(admin, **narrow):
    return list((await admin.ListExternalOrders(pb.ListExternalOrdersRequest(**narrow))).external_orders)


async def _external_trades(admin, **narrow):
    return list((await admin.ListExternalTrades(pb.ListExternalTradesRequest(**narrow))).external_trades)


async def test_external_orders_and_trades_are_listed_once_and_the_books_do_not_change(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        admin = admin_of(trader)
        for _ in range(2):
            trader.engine.emit(order=_order())
            trader.engine.emit(trade=_trade("t1"))
            trader.engine.emit(trade=_trade("t9", venue_order_id="x9"))
        trader.engine.emit(order=_order(status=3, cumulative="1"))
        trades = await until(lambda: _both(admin))
        assert {trade.venue_trade_id for trade in trades} == {"t1", "t9"}

        async def partly():
            externals = {one.venue_order_id: one for one in await _externals(admin)}
            return externals if externals["x1"].cumulative_quantity == "1" else None

        externals = await until(partly)
        assert externals["x9"].status == UNKNOWN and externals["x9"].quantity == "1"
        assert not await trader.positions() and not await trader.trades()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await trader.user.stub(ReconciliationServiceStub).ListExternalOrders(pb.ListExternalOrdersRequest())
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    trader.peers.engine.listeners.clear()
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        admin = admin_of(trader)
        trader.engine.emit(trade=_trade("t1"))
        order = await trader.create()
        await trader.becomes(order.order_id, "NEW")
        assert len(await _external_trades(admin)) == 2
        page = await admin.ListExternalTrades(pb.ListExternalTradesRequest(page_size=1))
        rest = await admin.ListExternalTrades(
            pb.ListExternalTradesRequest(page_size=1, page_token=page.next_page_token)
        )
        assert page.external_trades[0] != rest.external_trades[0] and not rest.next_page_token


async def test_external_activity_and_uncertain_orders_are_published_as_events(trader):
    async def fail(request):
        raise Unavailable("the engine died")

    events = []

    async def hear(event):
        events.append(event)

    for key in ("trading.external_activity", "trading.order_uncertain"):
        trader.platform.host.events.subscribe(key, hear)
    for _ in range(2):
        trader.engine.emit(order=_order())
        trader.engine.emit(trade=_trade("t1", "2"))
    await until(lambda: len(events) == 2)
    assert [(e.external_activity.kind, e.external_activity.venue_id) for e in events] == [
        ("order", "x1"),
        ("trade", "t1"),
    ]
    assert {(e.external_activity.gateway, e.external_activity.symbol) for e in events} == {("SIM", SYMBOL)}
    assert [e.external_activity.quantity for e in events] == ["3", "2"]
    trader.engine.before_send = fail
    order = await trader.create()
    trader.engine.hidden.add(order.order_id)
    await until(lambda: len(events) == 3)
    assert events[2].order_uncertain.order_id == order.order_id


async def _both(admin):
    trades = await _external_trades(admin)
    return trades if len(trades) == 2 else None


async def test_an_adopted_order_is_booked_to_its_account_with_all_that_follows(trader):
    admin = admin_of(trader)
    _at_venue(trader, status=3, cumulative="1")
    trader.engine.emit(trade=_trade("t1"))
    await until(lambda: _external_trades(admin))
    (external,) = await _externals(admin)
    account = await trader.account()
    request = pb.AdoptExternalOrderRequest(external_order_id=external.external_order_id, account_id=account.account_id)
    answer = await admin.AdoptExternalOrder(request)
    assert answer.external_order.order_id == answer.order.order_id and answer.order.cumulative_quantity == "1"
    again = await admin.AdoptExternalOrder(request)
    assert again.order.order_id == answer.order.order_id and len(await trader.trades()) == 1
    trader.engine.emit(trade=_trade("t2", "2"))
    trader.engine.emit(order=_order(status=4, cumulative="3"))
    done = await trader.becomes(answer.order.order_id, "FILLED")
    assert done.cumulative_quantity == "3" and (await trader.positions())[0].quantity == "3"
    assert not await _externals(admin) and len(await _externals(admin, include_adopted=True)) == 1
    other = pb.AdoptExternalOrderRequest(external_order_id=external.external_order_id, order_id=new_id())
    async with refused("EXTERNAL_ACTIVITY", grpc.StatusCode.ALREADY_EXISTS):
        await admin.AdoptExternalOrder(other)
    account = await trader.account()
    assert D(account.balance) == 1_000_000 - D(account.commission)


async def test_what_the_venue_took_back_before_an_order_was_adopted_is_not_booked(trader):
    admin = admin_of(trader)
    _at_venue(trader, status=3, cumulative="1")
    fill = _trade("t1")
    trader.engine.emit(trade=fill)
    trader.engine.emit(trade={**fill, "kind": 2})
    trader.engine.trades += [engine_pb2.TradeUpdate(**fill), engine_pb2.TradeUpdate(**{**fill, "kind": 2})]
    await until(lambda: _both(admin))
    (external,) = await _externals(admin)
    account_id = (await trader.account()).account_id
    await admin.AdoptExternalOrder(
        pb.AdoptExternalOrderRequest(external_order_id=external.external_order_id, account_id=account_id)
    )

    async def taken_back():
        return [(trade.venue_trade_id, trade.busted) for trade in await trader.trades()] == [("t1", True)]

    await until(taken_back)
    assert not await trader.positions() and (await trader.account()).balance == "1000000"


async def test_an_adopted_order_is_canceled_by_its_owner_at_the_venue(trader):
    admin = admin_of(trader)
    _at_venue(trader)
    (external,) = await until(lambda: _externals(admin))
    account_id = (await trader.account()).account_id
    adopted = await admin.AdoptExternalOrder(
        pb.AdoptExternalOrderRequest(external_order_id=external.external_order_id, account_id=account_id)
    )
    await trader.cancel(adopted.order.order_id)
    await until(lambda: adopted.order.order_id in trader.engine.cancels)
    trader.engine.emit(order=_order(status=6))
    await trader.becomes(adopted.order.order_id, "CANCELED")
    assert (await trader.account()).frozen == "0"


async def test_an_external_order_is_linked_to_the_uncertain_order_that_it_is(trader):
    async def fail(request):
        raise Unavailable("the engine died")

    admin = admin_of(trader)
    trader.engine.before_send = fail
    order = await trader.create(quantity=3)
    trader.engine.hidden.add(order.order_id)

    async def uncertain():
        return list((await admin.ListUncertainOrders(pb.ListUncertainOrdersRequest())).orders)

    (listed,) = await until(uncertain)
    assert listed.order_id == order.order_id
    _at_venue(trader, status=3, cumulative="1")
    trader.engine.emit(trade=_trade("t1"))
    await until(lambda: _external_trades(admin))
    (external,) = await _externals(admin)
    answer = await admin.AdoptExternalOrder(
        pb.AdoptExternalOrderRequest(external_order_id=external.external_order_id, order_id=order.order_id)
    )
    assert answer.order.order_id == order.order_id
    done = await trader.becomes(order.order_id, "PARTIALLY_FILLED")
    assert done.cumulative_quantity == "1" and not done.hold_reason and done.venue_order_id == "x1"
    trader.engine.emit(trade=_trade("t2", "2"))
    await trader.becomes(order.order_id, "FILLED")
    assert not await uncertain()


async def test_an_external_order_that_the_gateway_finds_to_be_ours_is_external_no_more(trader):
    admin = admin_of(trader)
    order = await trader.create(quantity=3)
    await trader.becomes(order.order_id, "NEW")
    venue_order_id = trader.engine.orders[order.order_id].venue_order_id
    for number in range(2):
        trader.engine.emit(trade=_trade(f"t{number}", venue_order_id=venue_order_id))
    (external,) = await until(lambda: _traded(admin, "2"))
    for number in range(2):
        trader.engine.emit(trade={**_trade(f"t{number}", venue_order_id=venue_order_id), "order_id": order.order_id})
    assert (await trader.becomes(order.order_id, "PARTIALLY_FILLED")).cumulative_quantity in ("1", "2")

    async def claimed():
        return not await _externals(admin) and not await _external_trades(admin)

    await until(claimed)
    (external,) = await _externals(admin, include_adopted=True)
    assert external.order_id == order.order_id


async def _traded(admin, quantity):
    return [one for one in await _externals(admin) if one.quantity == one.cumulative_quantity == quantity]


async def test_an_uncertain_order_is_ended_by_an_administrator_and_a_later_fill_still_counts(trader):
    async def fail(request):
        raise Unavailable("the engine died")

    admin = admin_of(trader)
    trader.engine.before_send = fail
    order = await trader.create(quantity=2)
    trader.engine.hidden.add(order.order_id)
    await trader.becomes(order.order_id, "UNKNOWN")
    request = pb.ResolveUncertainOrderRequest(order_id=order.order_id, status=CANCELED, reason="the broker says so")
    done = (await admin.ResolveUncertainOrder(request)).order
    assert (done.status, done.reject_reason, done.reject_message) == (CANCELED, OUTCOME_UNKNOWN, "the broker says so")
    assert (await admin.ResolveUncertainOrder(request)).order.status == CANCELED
    assert (await trader.account()).frozen == "0"
    trader.engine.emit(trade={**_trade("t1", "2", "v7"), "order_id": order.order_id})
    await trader.becomes(order.order_id, "FILLED")
    live = await trader.create(coid="live")
    trader.engine.before_send = None
    async with refused("EXTERNAL_ACTIVITY"):
        trader.engine.hidden.discard(live.order_id)
        known = await trader.create(coid="known")
        await trader.becomes(known.order_id, "NEW")
        await admin.ResolveUncertainOrder(
            pb.ResolveUncertainOrderRequest(order_id=known.order_id, status=CANCELED, reason="no")
        )


async def test_an_external_order_is_canceled_at_the_venue(trader):
    admin = admin_of(trader)
    _at_venue(trader)
    (external,) = await until(lambda: _externals(admin))
    request = pb.CancelExternalOrderRequest(external_order_id=external.external_order_id)
    assert (await admin.CancelExternalOrder(request)).external_order.status == 2
    assert trader.engine.cancels == ["x1"]

    async def over():
        return not await _externals(admin, open_only=True)

    await until(over)
    assert (await admin.CancelExternalOrder(request)).external_order.status == CANCELED


async def test_a_position_difference_is_shown_and_booked_to_an_account(monkeypatch):
    async with trading(reconcile_interval_s=0.1) as trader:
        admin = admin_of(trader)
        order = await trader.create(quantity=1)
        await trader.becomes(order.order_id, "NEW")
        trader.engine.fill(order.order_id, 1, "4000")
        await trader.becomes(order.order_id, "FILLED")
        trader.engine.positions = [{"gateway_name": "SIM", "symbol": SYMBOL, "side": 1, "quantity": "4"}]

        async def differences():
            answer = await admin.ListPositionDifferences(pb.ListPositionDifferencesRequest())
            return list(answer.position_differences)

        (difference,) = await until(differences)
        assert (difference.venue_quantity, difference.book_quantity, difference.quantity) == ("4", "1", "3")
        request = pb.ClosePositionDifferenceRequest(
            client_order_id="fix-1", gateway="SIM", symbol=SYMBOL, side=1, price="4010",
            account_id=(await trader.account()).account_id, quantity="2",
        )  # fmt: skip
        async with refused("EXTERNAL_ACTIVITY", grpc.StatusCode.ABORTED):
            await admin.ClosePositionDifference(request)
        request.quantity = "3"
        booked = (await admin.ClosePositionDifference(request)).order
        assert booked.status == FILLED and booked.average_price == "4010"
        again = (await admin.ClosePositionDifference(request)).order
        assert again.order_id == booked.order_id
        assert (await trader.positions())[0].quantity == "4"
        trader.engine.positions[0]["quantity"] = "1"

        async def fewer():
            shown = await differences()
            return shown and shown[0].quantity == "-3"

        await until(fewer)
        closing = pb.ClosePositionDifferenceRequest(
            client_order_id="fix-2", gateway="SIM", symbol=SYMBOL, side=1, price="4020", quantity="-3",
            account_id=request.account_id,
        )  # fmt: skip
        await admin.ClosePositionDifference(closing)

        async def none():
            return not await differences()

        await until(none)
        assert (await trader.positions())[0].quantity == "1"
        answer = await trader.orders.LookupOrder(order_pb.LookupOrderRequest(client_order_id="fix-2"))
        assert answer.order.status == FILLED


async def test_a_position_difference_is_booked_once_though_two_administrators_ask_at_once():
    async with trading(reconcile_interval_s=0.1) as trader:
        admin = admin_of(trader)
        trader.engine.positions = [{"gateway_name": "SIM", "symbol": SYMBOL, "side": 1, "quantity": "3"}]
        await until(lambda: _differences(admin))
        account_id = (await trader.account()).account_id
        same, other = (
            pb.ClosePositionDifferenceRequest(
                client_order_id=name, gateway="SIM", symbol=SYMBOL, side=1, price="4010", account_id=account_id,
                quantity="3",
            )
            for name in ("fix-1", "fix-2")
        )  # fmt: skip
        answers = await asyncio.gather(
            *(admin.ClosePositionDifference(request) for request in (same, same, other, other)), return_exceptions=True
        )
        booked = {answer.order.order_id for answer in answers if not isinstance(answer, Exception)}
        refusals = {reason_of(answer) for answer in answers if isinstance(answer, Exception)}
        assert len(booked) == 1 and refusals == {"EXTERNAL_ACTIVITY"}
        assert [position.quantity for position in await trader.positions()] == ["3"]
        assert len(await trader.trades()) == 1


async def _differences(admin):
    return list((await admin.ListPositionDifferences(pb.ListPositionDifferencesRequest())).position_differences)


async def test_an_order_whose_id_a_client_has_taken_is_not_adopted_and_trading_goes_on(trader):
    admin = admin_of(trader)
    _at_venue(trader, status=3, cumulative="1")
    trader.engine.emit(trade=_trade("t1"))
    await until(lambda: _external_trades(admin))
    (external,) = await _externals(admin)
    await trader.create(coid=f"external:{external.external_order_id}")
    account = await trader.account()
    request = pb.AdoptExternalOrderRequest(external_order_id=external.external_order_id, account_id=account.account_id)
    async with refused("CLIENT_ORDER_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS):
        await admin.AdoptExternalOrder(request)
    assert await trader.positions() == []
    await trader.create()
