"""Order groups: what one order of a group fills, its others lose; nobody closes more than is held."""

import asyncio
from decimal import Decimal as D

import grpc
import pytest
from google.protobuf import duration_pb2, timestamp_pb2
from redfire.common.v1 import common_pb2
from redfire.common.v1 import error_reason_pb2 as reasons
from redfire.reasons import Reason
from redfire.trading.v1 import order_service_pb2 as order_pb
from redfire.trading.v1 import trading_pb2

from services.kernel.clock import ManualClock
from services.kernel.errors import FailedPrecondition
from services.kernel.identifiers import new_id
from tests.trading.conftest import reason_of, refused, trading
from tests.trading.fakes import OTHER, SYMBOL
from tests.waiting import until


def order(side, type="LIMIT", price="", quantity=3, effect="UNSPECIFIED", symbol=SYMBOL, tif="GTC", coid="", **more):
    return order_pb.GroupOrder(
        client_order_id=coid or new_id(), symbol=symbol, side=getattr(common_pb2, f"SIDE_{side}"),
        type=getattr(common_pb2, f"ORDER_TYPE_{type}"), quantity=str(quantity), price=price,
        time_in_force=getattr(common_pb2, f"TIME_IN_FORCE_{tif}"),
        position_effect=getattr(common_pb2, f"POSITION_EFFECT_{effect}"), **more,
    )  # fmt: skip


def bracket(quantity=3, entry=None, profit=None, stop=None, coid=""):
    return order_pb.CreateOrderGroupRequest(
        client_order_group_id=coid or new_id(), kind=trading_pb2.ORDER_GROUP_KIND_BRACKET,
        orders=[
            entry or order("BUY", price="4000", quantity=quantity),
            profit or order("SELL", price="4100", quantity=quantity),
            stop or order("SELL", type="STOP", stop_price="3900", quantity=quantity),
        ],
    )  # fmt: skip


def oco(*orders, coid=""):
    kind = trading_pb2.ORDER_GROUP_KIND_OCO
    return order_pb.CreateOrderGroupRequest(client_order_group_id=coid or new_id(), kind=kind, orders=orders)


async def create(trader, request):
    return (await trader.orders.CreateOrderGroup(request)).order_group


async def group_of(trader, order_group_id):
    return (await trader.orders.GetOrderGroup(order_pb.GetOrderGroupRequest(order_group_id=order_group_id))).order_group


async def shows(trader, order_id, **values):
    """The order once it shows these values."""

    async def found():
        one = await trader.get(order_id)
        return one if all(getattr(one, name) == value for name, value in values.items()) else None

    return await until(found)


def sent(trader, order_id):
    """What of an order was sent: (reference, quantity)."""
    return [(s.order_id, s.quantity) for s in trader.engine.sends if s.order_id.startswith(order_id)]


def live(trader, order_id):
    """What of an order may still trade at the venue."""
    return sum(
        D(o.quantity) - D(o.cumulative_quantity or "0")
        for name, o in trader.engine.orders.items()
        if name.startswith(order_id) and o.status in (1, 2, 3)
    )


async def entered(trader, quantity=3, filled=None, **more):
    """A bracket whose entry is filled."""
    group = await create(trader, bracket(quantity, **more))
    entry, profit, stop = group.orders
    await trader.becomes(entry.order_id, "NEW")
    trader.engine.fill(entry.order_id, filled or quantity, "4000")
    await until(lambda: live(trader, profit.order_id) == (filled or quantity))
    await until(lambda: trader.market.listeners)
    return group.order_group_id, entry.order_id, profit.order_id, stop.order_id


async def test_exits_wait_for_the_entry_and_stand_for_what_it_fills(trader):
    group = await create(trader, bracket())
    entry, profit, stop = group.orders
    assert [o.order_group_id for o in group.orders] == [group.order_group_id] * 3
    assert (profit.status, stop.status, profit.position_effect, stop.position_effect) == (1, 1, 2, 2)
    await trader.becomes(entry.order_id, "NEW")
    assert len(trader.engine.sends) == 1
    trader.engine.fill(entry.order_id, 1, "4000")
    await shows(trader, profit.order_id, quantity="1", status=2)
    await shows(trader, stop.order_id, quantity="1", status=2)
    trader.engine.fill(entry.order_id, 2, "4000")
    await shows(trader, profit.order_id, quantity="3")
    await shows(trader, stop.order_id, quantity="3")
    await until(lambda: live(trader, profit.order_id) == 3)
    # It grows beside what rests already, which keeps its place in the queue.
    assert [q for _, q in sent(trader, profit.order_id)] == ["1", "2"]
    (position,) = await trader.positions()
    assert (position.quantity, position.frozen_quantity) == ("3", "3")


async def test_what_the_take_profit_fills_the_stop_loses(trader):
    group, _, profit, stop = await entered(trader)
    trader.engine.fill(profit, 1, "4100")
    await shows(trader, stop, quantity="2", status=2)
    trader.engine.fill(profit, 2, "4100")
    done = await trader.becomes(stop, "CANCELED")
    assert done.reject_reason == reasons.ORDER_GROUP_ENDED
    await trader.becomes(profit, "FILLED")
    assert not await trader.positions() and (await group_of(trader, group)).status == 2
    assert D((await trader.account()).frozen) == 0


async def test_a_stop_has_the_take_profit_canceled_first_and_closes_what_it_left(trader):
    _, _, profit, stop = await entered(trader)
    trader.engine.fill(profit, 1, "4100")
    await shows(trader, stop, quantity="2")
    trader.engine.auto_cancel = False
    trader.market.price(SYMBOL, 3899.0)
    await until(lambda: profit in trader.engine.cancels)
    assert not sent(trader, stop)
    # It fills once more before the cancel gets there.
    trader.engine.fill(profit, 1, "4100")
    trader.engine.update(profit, "CANCELED")
    await until(lambda: sent(trader, stop))
    assert sent(trader, stop) == [(stop, "1")]
    trader.engine.fill(stop, 1, "3899")
    await trader.becomes(stop, "FILLED")
    done = await trader.becomes(profit, "CANCELED")
    assert done.reject_reason == reasons.ORDER_GROUP_ENDED and not await trader.positions()


async def test_a_take_profit_that_fills_before_its_cancel_leaves_the_stop_nothing(trader):
    _, _, profit, stop = await entered(trader)
    trader.engine.auto_cancel = False
    trader.market.price(SYMBOL, 3899.0)
    await until(lambda: profit in trader.engine.cancels)
    trader.engine.fill(profit, 3, "4100")
    await trader.becomes(profit, "FILLED")
    await trader.becomes(stop, "CANCELED")
    assert not sent(trader, stop) and not await trader.positions()


async def test_a_stop_that_triggers_ends_the_rest_of_the_entry_and_closes_what_that_fills_meanwhile(trader):
    _, entry, profit, stop = await entered(trader, filled=1)
    trader.engine.auto_cancel = False
    trader.market.price(SYMBOL, 3899.0)
    await until(lambda: {entry, profit} <= set(trader.engine.cancels))
    trader.engine.update(profit, "CANCELED")
    await until(lambda: sent(trader, stop))
    assert sent(trader, stop)[0][1] == "1"
    trader.engine.fill(entry, 1, "3899")
    await until(lambda: len(sent(trader, stop)) == 2)
    for name, quantity in sent(trader, stop):
        trader.engine.fill(name, quantity, "3898")
    trader.engine.update(entry, "CANCELED")
    await trader.becomes(entry, "CANCELED")
    await trader.becomes(stop, "FILLED")
    assert not await trader.positions()


async def test_an_exit_that_closed_all_so_far_closes_what_the_entry_fills_later_too(trader):
    _, entry, profit, stop = await entered(trader, filled=1)
    trader.engine.fill(profit, 1, "4100")
    await until(lambda: not live(trader, profit))
    await shows(trader, profit, cumulative_quantity="1", quantity="3")
    trader.market.price(SYMBOL, 3899.0)
    trader.market.price(SYMBOL, 4000.0)
    trader.engine.fill(entry, 2, "4000")
    await until(lambda: live(trader, profit) == 2)
    assert not sent(trader, stop)
    trader.engine.fill(sent(trader, profit)[-1][0], 2, "4100")
    await trader.becomes(profit, "FILLED")
    await trader.becomes(stop, "CANCELED")
    assert not await trader.positions()


async def test_an_entry_that_ends_without_a_fill_ends_its_exits(trader):
    group = await create(trader, bracket())
    entry, *exits = group.orders
    await trader.becomes(entry.order_id, "NEW")
    await trader.cancel(entry.order_id)
    for one in exits:
        done = await trader.becomes(one.order_id, "CANCELED")
        assert done.reject_reason == reasons.ORDER_GROUP_ENDED
    assert (await group_of(trader, group.order_group_id)).status == 2


async def test_an_entry_that_ends_after_a_fill_leaves_exits_for_that(trader):
    _, entry, profit, stop = await entered(trader, filled=1)
    await trader.cancel(entry)
    await trader.becomes(entry, "CANCELED")
    assert (await trader.get(profit)).quantity == (await trader.get(stop)).quantity == "1"
    trader.engine.fill(profit, 1, "4100")
    await trader.becomes(profit, "FILLED")
    await trader.becomes(stop, "CANCELED")


async def test_the_orders_of_an_oco_share_one_closing_quantity(trader):
    first = await trader.create(quantity=3)
    await trader.becomes(first.order_id, "NEW")
    trader.engine.fill(first.order_id, 3, "4000")
    await trader.becomes(first.order_id, "FILLED")
    group = await create(
        trader,
        oco(order("SELL", price="4100", effect="CLOSE"),
            order("SELL", type="STOP", stop_price="3900", effect="CLOSE")),
    )  # fmt: skip
    profit, stop = group.orders
    (position,) = await trader.positions()
    assert position.frozen_quantity == "3"
    async with refused("INSUFFICIENT_POSITION"):
        await trader.create("SELL", effect="CLOSE")
    await trader.becomes(profit.order_id, "NEW")
    trader.engine.fill(profit.order_id, 2, "4100")
    await shows(trader, stop.order_id, quantity="1")
    trader.market.price(SYMBOL, 3899.0)
    await until(lambda: sent(trader, stop.order_id))
    assert sent(trader, stop.order_id)[0][1] == "1"


async def test_an_opening_oco_cancels_the_resting_order_before_the_stop_is_sent(trader):
    group = await create(
        trader,
        oco(order("BUY", price="3900", quantity=2), order("BUY", type="STOP", stop_price="4100", quantity=2)),
    )
    limit, stop = (o.order_id for o in group.orders)
    await trader.becomes(limit, "NEW")
    trader.engine.fill(limit, 1, "3900")
    await shows(trader, stop, quantity="1")
    await until(lambda: trader.market.listeners)
    trader.market.price(SYMBOL, 4101.0)
    await until(lambda: sent(trader, stop))
    await trader.becomes(limit, "CANCELED")
    assert sent(trader, stop) == [(stop, "1")]


async def test_two_resting_orders_of_an_oco_lose_what_the_other_fills(trader):
    group = await create(trader, oco(order("BUY", price="3990"), order("BUY", price="3980")))
    first, second = (o.order_id for o in group.orders)
    await trader.becomes(second, "NEW")
    await trader.becomes(first, "NEW")
    trader.engine.fill(first, 1, "3990")
    await until(lambda: live(trader, second) == 2)
    trader.engine.fill(first, 2, "3990")
    done = await trader.becomes(second, "CANCELED")
    assert done.reject_reason == reasons.ORDER_GROUP_ENDED
    await trader.becomes(first, "FILLED")


async def test_an_order_canceled_by_itself_leaves_the_others(trader):
    _, _, profit, stop = await entered(trader)
    await trader.cancel(profit)
    await trader.becomes(profit, "CANCELED")
    assert (await trader.get(stop)).status == 2
    (position,) = await trader.positions()
    assert position.frozen_quantity == "3"
    trader.market.price(SYMBOL, 3899.0)
    await until(lambda: sent(trader, stop))


async def test_a_group_is_canceled_as_one(trader):
    group_id, _, profit, stop = await entered(trader)
    await trader.orders.CancelOrderGroup(order_pb.CancelOrderGroupRequest(order_group_id=group_id))
    for one in (profit, stop):
        done = await trader.becomes(one, "CANCELED")
        assert not done.reject_reason
    again = await trader.orders.CancelOrderGroup(order_pb.CancelOrderGroupRequest(order_group_id=group_id))
    assert again.order_group.status == 2
    stranger = trader.platform.identity()
    async with refused("NOT_FOUND"):
        await stranger.stub(type(trader.orders)).GetOrderGroup(order_pb.GetOrderGroupRequest(order_group_id=group_id))


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


async def test_groups_go_on_after_a_restart_at_any_moment(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        group, entry, profit, stop = await entered(trader, filled=1)
        trader.engine.fill(profit, 1, "4100")
        await until(lambda: not live(trader, profit))
    # The entry fills on while trading is away.
    trader.engine.fill(entry, 2, "4000", silent=True)
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        await until(lambda: live(trader, profit) == 2)
        await shows(trader, stop, quantity="2", status=2)
        await until(lambda: trader.market.listeners)
        trader.engine.auto_cancel = False
        trader.market.price(SYMBOL, 3899.0)
        await until(lambda: len(trader.engine.cancels) > 0)
    for name, _ in sent(trader, profit):
        if trader.engine.orders[name].status in (1, 2, 3):
            trader.engine.update(name, "CANCELED", silent=True)
    trader.engine.auto_cancel = True
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        await until(lambda: sent(trader, stop))
        assert sent(trader, stop) == [(stop, "2")]
        trader.engine.fill(stop, 2, "3899")
        await trader.becomes(stop, "FILLED")
        assert not await trader.positions()
        assert (await group_of(trader, group)).status == 2


async def test_an_exit_is_replaced_in_price_but_not_in_quantity(trader):
    trader.engine.can_amend = False
    _, _, profit, stop = await entered(trader)
    async with refused("INVALID_FIELD"):
        await trader.replace(profit, quantity="2")
    await trader.replace(profit, price="4110")
    await until(lambda: len(sent(trader, profit)) == 2)
    changed = await trader.replace(stop, stop_price="3950")
    assert changed.stop_price == "3950"
    trader.market.price(SYMBOL, 3949.0)
    await until(lambda: sent(trader, stop))


async def test_a_stop_of_a_group_stays_armed_while_the_line_is_cut(trader):
    _, _, profit, stop = await entered(trader)

    async def cut(request):
        raise FailedPrecondition("cut", reason=Reason.GATEWAY_DISCONNECTED)

    trader.engine.before_send = cut
    trader.market.price(SYMBOL, 3899.0)
    await shows(trader, stop, hold_reason=reasons.GATEWAY_DISCONNECTED)
    await trader.becomes(profit, "CANCELED")
    trader.engine.before_send = None
    await until(lambda: sent(trader, stop))
    assert sent(trader, stop)[0][1] == "3"


async def test_the_stream_shows_groups_in_its_snapshot_and_when_they_begin_and_end(trader):
    group_id, _, profit, _ = await entered(trader)
    stream = trader.orders.StreamOrders(order_pb.StreamOrdersRequest(), timeout=None)
    seen = []

    async def next_group():
        async for message in stream:
            if message.WhichOneof("event") == "order_group":
                return message.order_group
        raise AssertionError("the stream ended")

    seen.append(await next_group())
    trader.engine.fill(profit, 3, "4100")
    seen.append(await next_group())
    assert [(g.order_group_id, g.status) for g in seen] == [(group_id, 1), (group_id, 2)]
    assert [o.status for o in seen[1].orders] == [4, 4, 6]


async def test_a_bracket_whose_entry_is_a_stop_or_a_market_order_works_the_same(trader):
    group = await create(trader, bracket(entry=order("BUY", type="STOP", stop_price="4010")))
    entry, profit, _ = (o.order_id for o in group.orders)
    await until(lambda: trader.market.listeners)
    trader.market.price(SYMBOL, 4011.0)
    await until(lambda: sent(trader, entry))
    trader.engine.fill(entry, 3, "4011")
    await until(lambda: live(trader, profit) == 3)


async def test_an_exit_that_was_written_and_never_sent_is_sent_after_the_restart(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        group = await create(trader, bracket())
        entry, profit, stop = (o.order_id for o in group.orders)
        await trader.becomes(entry, "NEW")

        async def never(request):
            await asyncio.Event().wait()

        trader.engine.before_send = never
        trader.engine.fill(entry, 3, "4000")
        await shows(trader, profit, quantity="3")
    trader.engine.before_send = None
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        await until(lambda: live(trader, profit) == 3)
        await shows(trader, stop, status=2)


async def test_a_lease_leaves_the_stop_of_what_a_bracket_has_entered(trader):
    _, entry, profit, stop = await entered(trader, filled=1)
    lease = order_pb.StreamOrdersRequest(cancel_on_disconnect=duration_pb2.Duration(seconds=1))
    stream = trader.orders.StreamOrders(lease, timeout=None)
    async for message in stream:
        if message.WhichOneof("event") == "lease":
            break
    stream.cancel()
    for order_id in (entry, profit):
        done = await trader.becomes(order_id, "CANCELED")
        assert done.reject_reason == reasons.CANCEL_ON_DISCONNECT
    assert (await trader.get(stop)).status == 2
    trader.market.price(SYMBOL, 3899.0)
    await until(lambda: sent(trader, stop))
    assert sent(trader, stop)[0][1] == "1"


async def test_day_exits_of_a_good_till_canceled_entry_begin_their_day_when_it_fills(trader):
    group = await create(
        trader,
        bracket(profit=order("SELL", price="4100", tif="DAY"),
                stop=order("SELL", type="STOP", stop_price="3900", tif="DAY")),
    )  # fmt: skip
    entry, profit, stop = (o.order_id for o in group.orders)
    await trader.becomes(entry, "NEW")
    marker = await trader.create("SELL", type="STOP", stop_price="3900", tif="DAY")
    trader.engine.trading_day = 20260106
    trader.engine.emit(trading_day={"gateway_name": "SIM", "trading_day": 20260106})
    await trader.becomes(marker.order_id, "EXPIRED")
    trader.engine.fill(entry, 3, "4000")
    await until(lambda: live(trader, profit) == 3)
    await shows(trader, stop, status=2, quantity="3")
    # Written, too: else a restart would end them as yesterday's.
    listed = {listed.order_id: listed.trading_day for listed in await trader.open()}
    assert listed == {profit: 20260106, stop: 20260106}
    await until(lambda: trader.market.listeners)
    trader.market.price(SYMBOL, 3899.0)
    await until(lambda: sent(trader, stop))


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


async def test_what_the_venue_refuses_of_an_exit_is_not_sent_again_and_again(trader):
    group = await create(trader, bracket())
    entry, profit, stop = group.orders
    await trader.becomes(entry.order_id, "NEW")
    trader.engine.fill(entry.order_id, 1, "4000")
    await until(lambda: live(trader, profit.order_id) == 1)
    tries = []

    async def refuse(request):
        tries.append(request.order_id)
        raise FailedPrecondition("slowly", reason=Reason.RATE_LIMITED)

    trader.engine.before_send = refuse
    trader.engine.fill(entry.order_id, 2, "4000")
    await shows(trader, stop.order_id, quantity="3")
    await until(lambda: tries)
    trader.engine.before_send = None
    # What is at the venue stays there, and the stop protects all.
    trader.engine.fill(profit.order_id, 1, "4100")
    await trader.becomes(profit.order_id, "CANCELED")
    await shows(trader, stop.order_id, quantity="2")
    assert tries == [f"{profit.order_id}-1"] and len(sent(trader, profit.order_id)) == 1


async def test_an_exit_whose_time_is_over_before_its_entry_fills_is_never_sent():
    clock = ManualClock()
    async with trading(clock=clock) as trader:
        time = timestamp_pb2.Timestamp()
        time.FromNanoseconds(clock.now_ns() + 60_000_000_000)
        group = await create(
            trader, bracket(profit=order("SELL", price="4100", quantity=3, tif="GTD", expire_time=time))
        )
        entry, profit, stop = group.orders
        await trader.becomes(entry.order_id, "NEW")
        clock.advance(60)
        trader.engine.fill(entry.order_id, 3, "4000")
        await trader.becomes(profit.order_id, "EXPIRED")
        await shows(trader, stop.order_id, quantity="3", status=common_pb2.ORDER_STATUS_NEW)
        assert not sent(trader, profit.order_id)
        # What the stop may close is the group's still.
        assert (await trader.positions())[0].frozen_quantity == "3"
