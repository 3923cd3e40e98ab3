"""Order groups are accepted as one, once, or leave nothing."""

import asyncio

import grpc
import pytest
from redfire.common.v1 import common_pb2
from redfire.trading.v1 import order_service_pb2 as order_pb

from tests.trading.conftest import reason_of, refused
from tests.trading.fakes import OTHER
from tests.trading.group_orders import bracket, create, oco, order
from tests.waiting import until


async def test_the_same_group_is_answered_again_and_another_body_is_refused(trader):
    request = bracket(coid="g-1")
    first = await create(trader, request)
    assert (await create(trader, request)).order_group_id == first.order_group_id
    other = bracket(coid="g-1")
    async with refused("CLIENT_ORDER_ID_REUSED"):
        await create(trader, other)
    await trader.orders.CancelOrderGroup(order_pb.CancelOrderGroupRequest(order_group_id=first.order_group_id))
    await trader.becomes(first.orders[0].order_id, "CANCELED")
    assert (await create(trader, request)).order_group_id == first.order_group_id


async def test_one_bad_order_leaves_nothing(trader):
    taken = await trader.create(coid="taken")
    bad = {
        "CLIENT_ORDER_ID_REUSED": bracket(stop=order("SELL", type="STOP", stop_price="3900", coid="taken")),
        "PRICE_OFF_TICK": bracket(profit=order("SELL", price="4100.1")),
        "PRICE_OUTSIDE_LIMITS": bracket(profit=order("SELL", price="9000")),
        "INSUFFICIENT_FUNDS": bracket(100),
        "INSUFFICIENT_POSITION": oco(
            order("SELL", price="4100", effect="CLOSE"), order("SELL", type="STOP", stop_price="3900", effect="CLOSE")
        ),
    }
    for reason, request in bad.items():
        async with refused(reason):
            await create(trader, request)
    trader.risk.refuse = "RISK_LIMIT_MAX_ORDER_QUANTITY"
    async with refused("RISK_LIMIT_MAX_ORDER_QUANTITY"):
        await create(trader, bracket())
    assert [o.order_id for o in await trader.open()] == [taken.order_id]
    trader.risk.refuse = None
    again = bracket(coid="again")
    await create(trader, again)


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("orders", oco(order("BUY", price="3990"))),
        (
            "orders",
            order_pb.CreateOrderGroupRequest(
                client_order_group_id="g", kind=2, orders=[order("BUY", price="1"), order("SELL", price="2")]
            ),
        ),
        ("orders[1].quantity", bracket(profit=order("SELL", price="4100", quantity=2))),
        ("orders[1].symbol", bracket(profit=order("SELL", price="4100", symbol=OTHER))),
        ("orders[1].side", bracket(profit=order("BUY", price="4100"))),
        ("orders[2].type", bracket(stop=order("SELL", price="3900"))),
        ("orders[1].type", bracket(profit=order("SELL", type="STOP", stop_price="3900"))),
        ("orders[2].stop_price", bracket(stop=order("SELL", type="STOP", stop_price="4200"))),
        ("orders[1].position_effect", bracket(profit=order("SELL", price="4100", effect="OPEN"))),
        ("orders[1].position_effect", bracket(profit=order("SELL", price="4100", effect="CLOSE_YESTERDAY"))),
        ("orders[1].time_in_force", bracket(profit=order("SELL", price="4100", tif="IOC"))),
        ("orders[0].time_in_force", oco(order("BUY", price="3990", tif="FOK"), order("BUY", price="3980"))),
        ("orders[0].position_effect", bracket(entry=order("BUY", price="4000", effect="CLOSE"))),
        ("orders[1].client_order_id", oco(order("BUY", price="3990", coid="a"), order("BUY", price="3980", coid="a"))),
        (
            "orders[1].type",
            oco(order("SELL", price="4100", effect="CLOSE"), order("SELL", price="4000", effect="CLOSE")),
        ),
    ],
)
async def test_a_group_of_the_wrong_shape_is_refused_by_the_fields_name(trader, field, request_):
    async with refused("INVALID_FIELD") as caught:
        await create(trader, request_)
    assert field in caught.value.details()


async def test_groups_of_one_id_at_the_same_moment_are_one_and_another_body_is_refused(trader):
    requests = [bracket(coid="g"), bracket(quantity=2, coid="g")]
    wanted = [create(trader, request) for request in (*requests, *requests)]
    answers = await asyncio.gather(*wanted, return_exceptions=True)
    # Whichever comes first.
    for asked, answer in zip((*requests, *requests), answers, strict=True):
        if isinstance(answer, grpc.aio.AioRpcError):
            assert reason_of(answer) == "CLIENT_ORDER_ID_REUSED"
        else:
            assert [o.client_order_id for o in answer.orders] == [o.client_order_id for o in asked.orders]
    assert sum(isinstance(answer, grpc.aio.AioRpcError) for answer in answers) == 2
    assert len(await trader.open()) == 3


async def test_a_group_that_is_refused_at_a_later_order_leaves_nothing_in_risk(trader):
    trader.risk.refuse, trader.risk.refused_types = "RISK_LIMIT_MAX_ORDER_QUANTITY", (common_pb2.ORDER_TYPE_STOP,)
    async with refused("RISK_LIMIT_MAX_ORDER_QUANTITY"):
        await create(trader, bracket())
    checked = {check.order_id for check in trader.risk.checks}
    assert len(checked) == 3 and checked == set(trader.risk.released)


async def test_a_group_for_which_the_money_went_while_risk_was_asked_leaves_nothing_in_risk(trader):
    release = asyncio.Event()

    async def hold():
        if len(trader.risk.checks) == 1:
            await release.wait()

    trader.risk.hold = hold
    asked = asyncio.create_task(create(trader, bracket(4)))
    await until(lambda: trader.risk.checks)
    await trader.create(quantity=4)
    release.set()
    async with refused("INSUFFICIENT_FUNDS"):
        await asked
    assert len(trader.risk.released) == 3
    # An order on its own is taken back the same way.
    assert not {o.order_id for o in await trader.open()} & set(trader.risk.released)
