"""Orders and cancels on their way: no gateway and no caller holds up another, and all belongs to the order's trace."""

import asyncio
import time

from redfire.common.v1.error_reason_pb2 import ErrorReason
from redfire.engine.v1 import engine_pb2
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as pb

from services.kernel.errors import Unavailable
from services.kernel.rpc.call import new_traceparent
from tests.trading.conftest import trading
from tests.trading.fakes import OTHER, SYMBOL, Peers
from tests.waiting import until


async def test_a_cancel_does_not_wait_for_orders_that_hang_at_its_gateway():
    async with trading(senders=4) as trader:
        resting = await trader.create()
        await trader.becomes(resting.order_id, "NEW")
        hangs = asyncio.Event()

        async def hang(request):
            await hangs.wait()

        trader.engine.before_send = hang
        for _ in range(8):
            await trader.create(symbol=OTHER, price="3500")
        await trader.cancel(resting.order_id)
        await trader.becomes(resting.order_id, "CANCELED")
        assert [sent.symbol for sent in trader.engine.sends] == [SYMBOL]  # the others hang still
        hangs.set()


async def test_an_order_whose_request_was_lost_is_over_once_the_engine_refuses_it_from_then_on():
    async with trading(unknown_grace_s=600) as trader:

        async def lose(request):
            raise Unavailable("the line is cut")

        trader.engine.before_send, trader.engine.refuses_given_up = lose, True
        lost = await trader.create()
        await trader.becomes(lost.order_id, "REJECTED")


async def test_a_gateway_that_hangs_holds_up_no_other_one():
    peers = Peers()
    peers.engine.gateways, peers.market.gateway = ["SIM", "SIM2"], ""  # both trade it
    async with trading(peers, senders=2) as trader:
        await trader.account()  # the first one is at SIM
        answer = await trader.accounts.OpenAccount(account_pb.OpenAccountRequest(display_name="2", gateway="SIM2"))
        other = answer.account.account_id
        hangs = asyncio.Event()

        async def hang(request):
            if request.gateway_name == "SIM":
                await hangs.wait()

        trader.engine.before_send = hang
        for _ in range(4):
            await trader.create()
        order = await trader.create(account_id=other)
        await until(lambda: any(send.order_id == order.order_id for send in trader.engine.sends))
        assert len(trader.engine.sends) == 1
        hangs.set()
        await until(lambda: len(trader.engine.sends) == 5)


async def test_an_engine_that_hangs_on_a_live_connection_takes_no_orders_until_it_is_heard_again(monkeypatch):
    monkeypatch.setattr("services.trading.peers.engine_client.SILENCE_S", 0.5)
    monkeypatch.setattr("tests.trading.fakes.HEARTBEAT_S", 0.1)
    async with trading() as trader:
        order = await trader.create()
        await trader.becomes(order.order_id, "NEW")
        trader.engine.hangs = True

        async def is_refused():
            preview = pb.PreviewOrderRequest.FromString(trader.request().SerializeToString())
            violations = (await trader.orders.PreviewOrder(preview)).violations
            return [ErrorReason.Name(violation.reason) for violation in violations] == ["GATEWAY_DISCONNECTED"]

        await until(is_refused)
        trader.engine.hangs = False

        async def is_accepted():
            return not await is_refused()

        await until(is_accepted)
        await trader.becomes((await trader.create()).order_id, "NEW")


async def test_a_gateway_that_does_not_answer_what_it_has_holds_up_no_other_ones_reconciliation(monkeypatch):
    monkeypatch.setattr("services.trading.venue.reconciliation.PATIENCE_S", 0.05)
    peers = Peers()
    peers.engine.gateways, peers.market.gateway = ["SIM", "SIM2"], ""
    async with trading(peers, reconcile_interval_s=0.1) as trader:
        await trader.account()
        await trader.accounts.OpenAccount(account_pb.OpenAccountRequest(display_name="2", gateway="SIM2"))
        order = await trader.create(quantity=2)
        await trader.becomes(order.order_id, "NEW")
        hangs, hanging = asyncio.Event(), []

        async def hang(request):
            if request.gateway_name == "SIM2":
                hanging.append(request)
                await hangs.wait()

        trader.engine.before_query = hang
        await until(lambda: hanging)
        trader.engine.fill(order.order_id, 2, "4000", silent=True)
        await trader.becomes(order.order_id, "FILLED")
        hangs.set()


async def test_a_gateway_that_takes_long_to_say_what_it_has_is_not_asked_again_for_that(monkeypatch):
    # With thousands of open orders every answer takes longer than the others are kept waiting for it.
    monkeypatch.setattr("services.trading.venue.reconciliation.PATIENCE_S", 0.02)
    monkeypatch.setattr("services.trading.venue.reconciliation.RETRY_S", 0.02)
    async with trading() as trader:
        order = await trader.create()
        await trader.becomes(order.order_id, "NEW")
        release, asked = asyncio.Event(), []

        async def take_long(request):
            asked.append(request)
            await release.wait()

        trader.engine.before_query = take_long
        trader.engine.emit(gateway={"gateway_name": "SIM", "status": engine_pb2.GATEWAY_STATUS_CONNECTED})
        await until(lambda: asked)
        due = time.monotonic() + 0.3  # several times as long as others wait for it
        await until(lambda: time.monotonic() > due)
        release.set()
        later = await trader.create()
        await trader.becomes(later.order_id, "NEW")
        assert len(asked) == 1
        trader.engine.emit(gateway={"gateway_name": "SIM", "status": engine_pb2.GATEWAY_STATUS_CONNECTED})
        await until(lambda: len(asked) == 2)


async def test_a_gateway_that_could_not_say_what_it_has_is_asked_again(monkeypatch):
    # Over as soon as the question is out.
    monkeypatch.setattr("services.trading.venue.reconciliation.PATIENCE_S", 0)
    monkeypatch.setattr("services.trading.venue.reconciliation.RETRY_S", 0.02)
    async with trading() as trader:
        release, asked = asyncio.Event(), []

        async def fail_late(request):
            asked.append(request)
            await release.wait()
            if len(asked) == 1:
                raise Unavailable("the gateway does not answer")

        trader.engine.before_query = fail_late
        trader.engine.emit(gateway={"gateway_name": "SIM", "status": engine_pb2.GATEWAY_STATUS_CONNECTED})
        await until(lambda: asked)
        release.set()
        await until(lambda: len(asked) == 2)


async def test_the_callers_deadline_bounds_the_wait_and_not_what_is_sent(trader):
    release = asyncio.Event()

    async def slow(request):
        await release.wait()

    trader.engine.before_send = slow
    request = trader.request()
    due = time.monotonic() + 0.5
    order = (await trader.orders.CreateOrder(request, timeout=0.5)).order
    await until(lambda: time.monotonic() > due)
    release.set()
    await trader.becomes(order.order_id, "NEW")
    again = await trader.create()
    await trader.becomes(again.order_id, "NEW")


async def test_what_is_sent_and_filled_belongs_to_the_orders_trace(tmp_path):
    traceparent = new_traceparent()
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        answer = await trader.orders.CreateOrder(trader.request(quantity=2), metadata=(("traceparent", traceparent),))
        order = answer.order
        assert order.trace_id == traceparent[3:35]
        await trader.becomes(order.order_id, "NEW")
        (send,) = trader.engine.sends
        assert send.traceparent[3:35] == order.trace_id
        assert trader.engine.traces == [order.trace_id]
    trader.peers.engine.listeners.clear()
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        trader.engine.fill(order.order_id, 1, "4000")
        (trade,) = await until(trader.trades)
        assert trade.trace_id == order.trace_id
        await trader.orders.CancelOrder(pb.CancelOrderRequest(order_id=order.order_id))
        await trader.becomes(order.order_id, "CANCELED")
