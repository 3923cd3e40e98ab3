"""Cancels: risk has a word on a user's, none on the platform's."""

import asyncio

from redfire.common.v1 import error_reason_pb2 as reasons
from redfire.reasons import Reason
from redfire.trading.v1 import order_service_pb2 as order_pb
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.errors import FailedPrecondition
from tests.trading.conftest import refused, trading
from tests.trading.fakes import Peers
from tests.waiting import until


async def working(trader, **values):
    order = await trader.create(**values)
    await trader.becomes(order.order_id, "NEW")
    return order.order_id


async def test_risk_may_refuse_a_users_cancel_but_is_not_asked_for_what_is_not_at_the_venue(trader):
    order = await working(trader)
    trader.risk.keep = order
    async with refused("RISK_LIMIT_MAX_CANCELS_PER_DAY"):
        await trader.cancel(order)
    assert (await trader.get(order)).status == 2
    stop = await trader.create(type="STOP", stop_price="4100")
    trader.risk.keep = "all"
    assert (await trader.cancel(stop.order_id)).status == 6
    assert trader.risk.cancel_checks == [order]


async def test_cancel_all_cancels_what_risk_lets_and_is_refused_when_that_is_nothing(trader):
    kept, gone = await working(trader), await working(trader)
    trader.risk.keep = kept
    answer = await trader.orders.CancelAllOrders(order_pb.CancelAllOrdersRequest())
    assert [order.order_id for order in answer.orders] == [gone]
    async with refused("RISK_LIMIT_MAX_CANCELS_PER_DAY"):
        await trader.orders.CancelAllOrders(order_pb.CancelAllOrdersRequest())


async def test_the_platforms_own_cancels_ask_nobody_and_may_leave_closing_orders(trader):
    first = await working(trader, quantity=2)
    trader.engine.fill(first, 2, "4000")
    await trader.becomes(first, "FILLED")
    opening, stop = await working(trader, price="3990"), await trader.create(type="STOP", stop_price="4100")
    closing = await working(trader, side="SELL", effect="CLOSE", price="4010")
    trader.risk.keep = "all"
    service = trader.platform.service_stub(OrderServiceStub, "risk")
    answer = await service.CancelAccountOrders(
        order_pb.CancelAccountOrdersRequest(
            user_id=trader.user.user_id, opening_only=True, reason=reasons.RISK_LIMIT_MAX_DAILY_LOSS
        )
    )
    assert answer.count == 2 and not trader.risk.cancel_checks
    for order_id in (opening, stop.order_id):
        done = await trader.becomes(order_id, "CANCELED")
        assert done.reject_reason == reasons.RISK_LIMIT_MAX_DAILY_LOSS
    assert (await trader.get(closing)).status == 2


async def test_a_cancel_that_the_venue_refuses_is_asked_again_from_time_to_time_until_it_does(monkeypatch):
    peers = Peers()
    tries, cancel, closed = [], peers.engine.CancelOrder, True

    async def refuse(request, call):
        tries.append(asyncio.get_running_loop().time())
        if closed:
            raise FailedPrecondition("no cancels in an auction", reason=Reason.MARKET_CLOSED)
        return await cancel(request, call)

    peers.engine.CancelOrder = refuse
    monkeypatch.setattr("services.trading.venue.reconciliation.RETRY_S", 0.1)
    async with trading(peers) as trader:
        order = await working(trader)
        assert (await trader.cancel(order)).status == 5
        await until(lambda: len(tries) >= 5)
        # The second at once, as it may be over by now; then after pauses, which grow.
        assert tries[4] - tries[1] >= 0.3
        closed = False
        await trader.becomes(order, "CANCELED")
