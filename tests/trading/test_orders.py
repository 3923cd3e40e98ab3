"""Orders over a real loopback server, with a fake venue."""

import asyncio
from decimal import Decimal as D

import grpc
import pytest
from redfire.common.v1 import common_pb2
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as order_pb

from services.kernel.identifiers import new_id
from tests.trading.conftest import Client, refused
from tests.trading.fakes import OTHER, SYMBOL
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("both_databases")


async def test_a_limit_order_is_accepted_sent_filled_and_booked(trader):
    order = await trader.create(quantity=2)
    assert order.status in (1, 2) and order.trace_id
    await trader.becomes(order.order_id, "NEW")
    before = await trader.account()
    assert D(before.frozen) == D("288000") + D("55.2")
    trader.engine.fill(order.order_id, 2, "3999.8")
    done = await trader.becomes(order.order_id, "FILLED")
    assert (done.cumulative_quantity, done.average_price, done.leaves_quantity) == ("2", "3999.8", "0")
    account, (position,), (trade,) = await trader.account(), await trader.positions(), await trader.trades()
    assert (position.quantity, position.today_quantity, position.average_price) == ("2", "2", "3999.8")
    assert D(account.margin) == D("3999.8") * 600 * D("0.12") and D(account.frozen) == 0
    assert D(account.balance) == 1_000_000 - D(trade.commission)
    assert D(account.unrealized_pnl) == D("0.2") * 600
    entries = await trader.entries()
    assert sum(D(e.amount) for e in entries) == 0
    assert sum(D(e.amount) for e in entries if e.ledger_account == f"cash:{account.account_id}") == D(account.balance)


async def test_closing_realises_profit_and_frees_margin(trader):
    order = await trader.create(quantity=2)
    await trader.becomes(order.order_id, "NEW")
    trader.engine.fill(order.order_id, 2, "4000")
    await trader.becomes(order.order_id, "FILLED")
    close = await trader.create("SELL", 1, "MARKET", effect="CLOSE")
    (position,) = await trader.positions()
    assert position.frozen_quantity == "1"
    async with refused("INSUFFICIENT_POSITION"):
        await trader.create("SELL", 2, "MARKET", effect="CLOSE")
    await trader.becomes(close.order_id, "NEW")
    trader.engine.fill(close.order_id, 1, "4010")
    await trader.becomes(close.order_id, "FILLED")
    (position,) = await trader.positions()
    assert (position.quantity, position.frozen_quantity, position.realized_pnl) == ("1", "0", "3000")
    assert (await trader.account()).realized_pnl == "3000"


async def test_the_same_key_and_body_is_the_first_order_also_at_once(trader):
    request = trader.request(coid="key-1")
    answers = await asyncio.gather(*(trader.orders.CreateOrder(request) for _ in range(10)))
    assert len({a.order.order_id for a in answers}) == 1
    await until(lambda: trader.engine.sends)
    assert len(trader.engine.sends) == 1
    request.price = "4000.0"
    assert (await trader.orders.CreateOrder(request)).order.order_id == answers[0].order.order_id
    request.quantity = "2"
    async with refused("CLIENT_ORDER_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS):
        await trader.orders.CreateOrder(request)


async def test_what_is_refused_leaves_nothing_and_its_key_may_be_used_again(trader):
    cases = [
        ({"symbol": "NOPE1.CFFEX"}, "UNKNOWN_SYMBOL"),
        ({"price": "4000.1"}, "PRICE_OFF_TICK"),
        ({"quantity": "0.5"}, "QUANTITY_OFF_STEP"),
        ({"price": "5000"}, "PRICE_OUTSIDE_LIMITS"),
        ({"quantity": "999999999"}, "INSUFFICIENT_FUNDS"),
        ({"quantity": "999999999999999999"}, "INSUFFICIENT_FUNDS"),
        ({"side": "SELL", "effect": "CLOSE"}, "INSUFFICIENT_POSITION"),
        ({"quantity": "-1"}, "INVALID_FIELD"),
    ]
    for over, reason in cases:
        async with refused(reason):
            await trader.create(coid="again", **over)
    trader.risk.refuse = "RISK_LIMIT_MAX_ORDER_QUANTITY"
    async with refused("RISK_LIMIT_MAX_ORDER_QUANTITY", grpc.StatusCode.FAILED_PRECONDITION):
        await trader.create(coid="again")
    trader.risk.refuse = None
    assert not (await trader.orders.ListOrders(order_pb.ListOrdersRequest())).orders
    assert D((await trader.account()).frozen) == 0
    await trader.create(coid="again")


async def test_without_risk_only_reducing_orders_pass(trader):
    order = await trader.create()
    await trader.becomes(order.order_id, "NEW")
    trader.engine.fill(order.order_id, 1, "4000")
    await trader.becomes(order.order_id, "FILLED")
    trader.risk.down = True
    # No word on the order: what was refused so may be tried again, and a late try of it may be accepted.
    async with refused("RISK_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE):
        await trader.create()
    closing = await trader.create("SELL", 1, "MARKET", effect="CLOSE")
    await trader.becomes(closing.order_id, "NEW")
    assert [sent.order_id for sent in trader.engine.sends] == [order.order_id, closing.order_id]


async def test_a_disconnected_gateway_refuses_orders(trader):
    trader.engine.emit(gateway={"gateway_name": "SIM", "status": 1})
    await until(lambda: _is_refused(trader, "GATEWAY_DISCONNECTED"))
    trader.engine.emit(gateway={"gateway_name": "SIM", "status": 3})
    await until(lambda: _is_accepted(trader))


async def _is_refused(trader, reason):
    preview = await trader.orders.PreviewOrder(_preview(trader.request()))
    return reason in [common_name(v.reason) for v in preview.violations]


async def _is_accepted(trader):
    return (await trader.orders.PreviewOrder(_preview(trader.request()))).would_accept


def common_name(reason):
    from redfire.common.v1 import error_reason_pb2

    return error_reason_pb2.ErrorReason.Name(reason)


def _preview(request):
    return order_pb.PreviewOrderRequest.FromString(request.SerializeToString())


async def test_preview_returns_everything_and_changes_nothing(trader):
    answer = await trader.orders.PreviewOrder(_preview(trader.request(quantity=2)))
    assert answer.would_accept and D(answer.margin) == 288000 and D(answer.commission) == D("55.2")
    assert answer.max_quantity == "6" and answer.reference_price == "4000"
    trader.risk.refuse = "TRADING_HALTED"
    answer = await trader.orders.PreviewOrder(_preview(trader.request(quantity="70.5", price="9000.1")))
    assert [common_name(v.reason) for v in answer.violations] == [
        "QUANTITY_OFF_STEP", "PRICE_OFF_TICK", "PRICE_OUTSIDE_LIMITS", "INSUFFICIENT_FUNDS", "TRADING_HALTED"
    ]  # fmt: skip
    assert trader.risk.checks[-1].dry_run
    assert not (await trader.orders.ListOrders(order_pb.ListOrdersRequest())).orders


async def test_cancel_is_idempotent_and_a_finished_order_is_not_open(trader):
    order = await trader.create()
    await trader.becomes(order.order_id, "NEW")
    held = D((await trader.account()).frozen)
    assert held > 0
    await trader.cancel(order.order_id)
    await trader.becomes(order.order_id, "CANCELED")
    assert (await trader.cancel(order.order_id)).status == common_pb2.ORDER_STATUS_CANCELED
    assert D((await trader.account()).frozen) == 0
    filled = await trader.create()
    await trader.becomes(filled.order_id, "NEW")
    trader.engine.fill(filled.order_id, 1, "4000")
    await trader.becomes(filled.order_id, "FILLED")
    async with refused("ORDER_NOT_OPEN", grpc.StatusCode.FAILED_PRECONDITION):
        await trader.cancel(filled.order_id)


async def test_a_cancel_while_the_send_is_running_is_done_after_it(trader):
    gate = asyncio.Event()

    async def wait(request):
        await gate.wait()

    trader.engine.before_send = wait
    order = await trader.create()
    assert (await trader.cancel(order.order_id)).status == common_pb2.ORDER_STATUS_PENDING_CANCEL
    gate.set()
    await trader.becomes(order.order_id, "CANCELED")
    assert trader.engine.cancels == [order.order_id]


async def test_cancel_all_cancels_everything_of_a_symbol_or_of_all(trader):
    ids = [(await trader.create()).order_id for _ in range(2)]
    other = (await trader.create(symbol=OTHER, price="3500")).order_id
    stop = (await trader.create(type="STOP", stop_price="4100")).order_id
    for order_id in [*ids, other]:
        await trader.becomes(order_id, "NEW")
    answer = await trader.orders.CancelAllOrders(order_pb.CancelAllOrdersRequest(symbol=OTHER))
    assert [o.order_id for o in answer.orders] == [other]
    await trader.orders.CancelAllOrders(order_pb.CancelAllOrdersRequest())
    for order_id in [*ids, other, stop]:
        await trader.becomes(order_id, "CANCELED")


async def test_replace_in_place_and_again_changes_nothing(trader):
    order = await trader.create(quantity=2)
    await trader.becomes(order.order_id, "NEW")
    await trader.replace(order.order_id, price="3999", quantity="3")
    done = await until(lambda: _working(trader, order.order_id))
    assert (done.price, done.quantity) == ("3999", "3")
    assert D((await trader.account()).frozen) == D("3999") * 900 * D("0.12") + D("3999") * 900 * D("0.000023")
    again = await trader.replace(order.order_id, price="3999", quantity="3")
    assert again.update_time == done.update_time
    async with refused("PRICE_OFF_TICK"):
        await trader.replace(order.order_id, price="3999.1")
    async with refused("INSUFFICIENT_FUNDS"):
        await trader.replace(order.order_id, quantity="300")


async def _working(trader, order_id):
    order = await trader.get(order_id)
    return order if order.status in (2, 3) else None


async def test_replace_by_cancel_never_has_two_live(trader):
    trader.engine.can_amend = trader.engine.auto_cancel = False
    order = await trader.create(quantity=4)
    await trader.becomes(order.order_id, "NEW")
    await trader.replace(order.order_id, quantity="5", price="3999.8")
    await until(lambda: trader.engine.cancels)
    trader.engine.fill(order.order_id, 1, "4000")
    assert len(trader.engine.sends) == 1
    trader.engine.update(order.order_id, "CANCELED")
    await until(lambda: len(trader.engine.sends) == 2)
    second = trader.engine.sends[1]
    assert (second.order_id, second.quantity, second.price) == (f"{order.order_id}-1", "4", "3999.8")
    done = await trader.becomes(order.order_id, "PARTIALLY_FILLED")
    assert (done.quantity, done.cumulative_quantity, done.price) == ("5", "1", "3999.8")
    trader.engine.fill(second.order_id, 4, "3999.8")
    done = await trader.becomes(order.order_id, "FILLED")
    assert done.cumulative_quantity == "5" and len(await trader.trades()) == 2


async def test_a_venue_refusal_is_an_order_that_is_rejected(trader):
    trader.engine.ack = False
    order = await trader.create()
    await until(lambda: trader.engine.sends)
    trader.engine.update(order.order_id, "REJECTED", reason=36, message="no margin at the exchange")
    done = await trader.becomes(order.order_id, "REJECTED")
    assert common_name(done.reject_reason) == "GATEWAY_REJECTED" and done.reject_message
    assert D((await trader.account()).frozen) == 0


async def test_somebody_elses_orders_and_accounts_are_not_found(trader):
    mallory = Client(trader.platform, trader.platform.identity())
    order = await trader.create()
    mine = await trader.account()
    for call in (
        mallory.get(order.order_id),
        mallory.cancel(order.order_id),
        mallory.replace(order.order_id, price="3999"),
        mallory.account(mine.account_id),
        mallory.create(account_id=mine.account_id),
        mallory.orders.LookupOrder(
            order_pb.LookupOrderRequest(client_order_id=order.client_order_id, account_id=mine.account_id)
        ),
        mallory.accounts.GetSnapshot(account_pb.GetSnapshotRequest(account_id=mine.account_id)),
    ):
        async with refused("NOT_FOUND", grpc.StatusCode.NOT_FOUND):
            await call
    assert not (await mallory.orders.ListOrders(order_pb.ListOrdersRequest(account_id=mine.account_id))).orders
    assert not (await mallory.orders.CancelAllOrders(order_pb.CancelAllOrdersRequest())).orders
    assert (await mallory.account()).account_id != mine.account_id


async def test_lists_page_and_filter(trader):
    ids = [(await trader.create()).order_id for _ in range(5)]
    seen, token = [], ""
    while True:
        answer = await trader.orders.ListOrders(order_pb.ListOrdersRequest(page_size=2, page_token=token))
        seen += [o.order_id for o in answer.orders]
        token = answer.next_page_token
        if not token:
            break
    assert seen == ids[::-1]
    async with refused("INVALID_PAGE_TOKEN"):
        first = await trader.orders.ListOrders(order_pb.ListOrdersRequest(page_size=2))
        await trader.accounts.ListTrades(account_pb.ListTradesRequest(page_token=first.next_page_token))
    answer = await trader.orders.LookupOrder(
        order_pb.LookupOrderRequest(client_order_id=(await trader.get(ids[0])).client_order_id)
    )
    assert answer.order.order_id == ids[0]


async def test_close_position_closes_all_that_is_free(trader):
    async with refused("INSUFFICIENT_POSITION"):
        await trader.accounts.ClosePosition(account_pb.ClosePositionRequest(symbol=SYMBOL, client_order_id="c0"))
    order = await trader.create(quantity=3)
    await trader.becomes(order.order_id, "NEW")
    trader.engine.fill(order.order_id, 3, "4000")
    await trader.becomes(order.order_id, "FILLED")
    request = account_pb.ClosePositionRequest(symbol=SYMBOL, client_order_id="c1")
    close = (await trader.accounts.ClosePosition(request)).order
    assert close.quantity == "3" and close.type == common_pb2.ORDER_TYPE_MARKET
    await trader.becomes(close.order_id, "NEW")
    trader.engine.fill(close.order_id, 3, "3990")
    await trader.becomes(close.order_id, "FILLED")
    assert not await trader.positions()
    assert (await trader.accounts.ClosePosition(request)).order.order_id == close.order_id
    request.quantity = "1"
    async with refused("CLIENT_ORDER_ID_REUSED"):
        await trader.accounts.ClosePosition(request)


async def test_accounts_are_opened_once_per_request_and_live_ones_by_administrators_only(trader):
    first = await trader.account()
    request = account_pb.OpenAccountRequest(display_name="second", request_id="r1")
    opened = {(await trader.accounts.OpenAccount(request)).account.account_id for _ in range(2)}
    assert len(opened) == 1 and first.account_id not in opened
    assert (await trader.account()).account_id == first.account_id
    trader.engine.simulated = False
    request = account_pb.OpenAccountRequest(display_name="live", kind=2, gateway="SIM")
    async with refused("PERMISSION_DENIED", grpc.StatusCode.PERMISSION_DENIED):
        await trader.accounts.OpenAccount(request)
    admin = Client(trader.platform, trader.platform.identity(role="admin"))
    live = (await admin.accounts.OpenAccount(request)).account
    assert live.balance == "0" and live.gateway == "SIM"
    assert len((await trader.accounts.ListAccounts(account_pb.ListAccountsRequest())).accounts) == 2


async def test_an_order_of_long_ago_still_answers_for_its_key():
    from tests.trading.conftest import trading

    async with trading(kept_finished_orders=0) as trader:
        order = await trader.create(coid="old")
        await trader.becomes(order.order_id, "NEW")
        await trader.cancel(order.order_id)
        await trader.becomes(order.order_id, "CANCELED")
        assert (await trader.create(coid="old")).order_id == order.order_id
        async with refused("CLIENT_ORDER_ID_REUSED"):
            await trader.create(coid="old", quantity=2)
        async with refused("CLIENT_ORDER_ID_REUSED"):
            await trader.create(coid="old", quantity=999)
        assert D((await trader.account()).frozen) == 0 and len(trader.engine.sends) == 1
        assert (await trader.create(coid=new_id())).order_id != order.order_id
