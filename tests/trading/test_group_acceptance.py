"""Order groups are accepted as one, once, or leave nothing."""

import asyncio
from decimal import Decimal as D

import grpc
import pytest
from redfire.common.v1 import common_pb2
from redfire.common.v1.error_reason_pb2 import ErrorReason
from redfire.trading.v1 import order_service_pb2 as order_pb

from services.trading.repository import TradingRepository
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
    calls = [create(trader, request) for request in (*requests, *requests)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    # Whichever comes first.
    for asked, answer in zip((*requests, *requests), answers, strict=True):
        if isinstance(answer, grpc.aio.AioRpcError):
            assert reason_of(answer) == "CLIENT_ORDER_ID_REUSED"
        else:
            assert [o.client_order_id for o in answer.orders] == [o.client_order_id for o in asked.orders]
    assert sum(isinstance(answer, grpc.aio.AioRpcError) for answer in answers) == 2
    assert len(await trader.open()) == 3


async def test_a_repeated_group_gets_the_first_one_while_another_body_that_was_looked_up_before_is_refused(
    trader, monkeypatch
):
    looked_up, accepted, asked = asyncio.Event(), asyncio.Event(), asyncio.Event()
    find = TradingRepository.find_order_group_by_client

    async def find_slowly(self, account_id, client_order_group_id):
        group = await find(self, account_id, client_order_group_id)
        if not looked_up.is_set():
            looked_up.set()
            await accepted.wait()
        return group

    monkeypatch.setattr(TradingRepository, "find_order_group_by_client", find_slowly)
    other = asyncio.create_task(create(trader, bracket(quantity=2, coid="g")))
    await looked_up.wait()
    request = bracket(coid="g")
    first = await create(trader, request)
    trader.risk.hold = asked.wait
    accepted.set()
    await until(lambda: other.done() or len(trader.risk.checks) > len(request.orders))
    assert (await create(trader, request)).order_group_id == first.order_group_id
    asked.set()
    async with refused("CLIENT_ORDER_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS):
        await other


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


async def preview(trader, request):
    """The answer to a preview, and the reasons against the group, then against each of its orders."""
    asked = order_pb.PreviewOrderGroupRequest.FromString(request.SerializeToString())
    answer = await trader.orders.PreviewOrderGroup(asked)
    return answer, [
        [ErrorReason.Name(violation.reason) for violation in one.violations] for one in (answer, *answer.orders)
    ]


async def test_a_preview_of_a_bracket_reserves_for_its_entry_alone_and_changes_nothing(trader):
    request = bracket(2)
    answer, reasons = await preview(trader, request)
    assert answer.would_accept and not any(reasons)
    entry, profit, stop = answer.orders
    assert D(entry.margin) == D("4000") * 2 * 300 * D("0.12") and (profit.margin, stop.margin) == ("0", "0")
    assert D(profit.commission) == D("4100") * 2 * 300 * D("0.000023")
    assert D(answer.reserved_funds) == D(entry.margin) + D(entry.commission) and answer.closing_quantity == "0"
    assert not await trader.open() and D((await trader.account()).frozen) == 0
    # It is what the group then reserves; and the most that is returned is the most that is accepted.
    await create(trader, request)
    assert D((await trader.account()).frozen) == D(answer.reserved_funds)
    most = (await preview(trader, bracket(1)))[0].max_quantity
    assert (await preview(trader, bracket(int(most))))[0].would_accept
    _, reasons = await preview(trader, bracket(int(most) + 1))
    assert reasons == [["INSUFFICIENT_FUNDS"], [], [], []]
    async with refused("INSUFFICIENT_FUNDS"):
        await create(trader, bracket(int(most) + 1))
    await create(trader, bracket(int(most)))


async def test_a_preview_counts_the_closing_quantity_of_an_oco_once_and_the_margin_of_each_opening_order(trader):
    closing = oco(
        order("SELL", price="4100", effect="CLOSE"), order("SELL", type="STOP", stop_price="3900", effect="CLOSE")
    )
    assert (await preview(trader, closing))[1] == [["INSUFFICIENT_POSITION"], [], []]
    held = await trader.create(quantity=3)
    await trader.becomes(held.order_id, "NEW")
    trader.engine.fill(held.order_id, 3, "4000")
    await trader.becomes(held.order_id, "FILLED")
    answer, _ = await preview(trader, closing)
    assert answer.would_accept and (answer.closing_quantity, answer.max_quantity) == ("3", "3")
    assert answer.reserved_funds == "0"
    await create(trader, closing)
    opening = oco(order("BUY", price="3990", quantity=1), order("BUY", price="3980", quantity=1))
    answer, _ = await preview(trader, opening)
    await create(trader, opening)
    assert answer.would_accept and D(answer.reserved_funds) == D((await trader.account()).frozen)


async def test_a_preview_returns_every_reason_at_its_order_and_refuses_what_is_no_group(trader):
    trader.risk.refuse, trader.risk.refused_types = "RISK_LIMIT_MAX_ORDER_QUANTITY", (common_pb2.ORDER_TYPE_STOP,)
    answer, reasons = await preview(trader, bracket(profit=order("SELL", price="4100.1")))
    assert not answer.would_accept
    assert reasons == [[], [], ["PRICE_OFF_TICK"], ["RISK_LIMIT_MAX_ORDER_QUANTITY"]]
    assert [one.would_accept for one in answer.orders] == [True, False, False]
    async with refused("INVALID_FIELD"):
        await preview(trader, bracket(profit=order("BUY", price="4100")))
    lost = oco(
        order("SELL", price="1", effect="CLOSE", symbol="no9999.SHFE"),
        order("SELL", type="STOP", stop_price="1", effect="CLOSE", symbol="no9999.SHFE"),
    )
    assert (await preview(trader, lost))[1] == [[], ["UNKNOWN_SYMBOL"], ["UNKNOWN_SYMBOL"]]


def reducing():
    return oco(
        order("SELL", price="4100", reduce_only=True),
        order("SELL", type="STOP", stop_price="3900", reduce_only=True),
    )


async def holding(trader, quantity):
    held = await trader.create(quantity=quantity)
    await trader.becomes(held.order_id, "NEW")
    trader.engine.fill(held.order_id, quantity, "4000")
    await trader.becomes(held.order_id, "FILLED")


async def test_a_preview_of_reduce_only_orders_returns_what_is_left_of_them(trader):
    assert (await preview(trader, reducing()))[1] == [["REDUCE_ONLY"], [], []]
    await holding(trader, 2)
    answer, _ = await preview(trader, reducing())
    assert answer.would_accept and answer.closing_quantity == "2"


async def test_risk_is_asked_about_what_is_left_of_reduce_only_orders(trader):
    await holding(trader, 2)
    trader.risk.checks.clear()
    assert {one.quantity for one in (await create(trader, reducing())).orders} == {"2"}
    assert [check.quantity for check in trader.risk.checks] == ["2", "2"]
