"""Order groups across restarts, cut lines, days that end and refusals of the venue."""

import asyncio

from google.protobuf import duration_pb2, timestamp_pb2
from redfire.common.v1 import common_pb2
from redfire.common.v1 import error_reason_pb2 as reasons
from redfire.reasons import Reason
from redfire.trading.v1 import order_service_pb2 as order_pb

from services.kernel.clock import ManualClock
from services.kernel.errors import FailedPrecondition
from tests.trading.conftest import refused, trading
from tests.trading.fakes import OTHER, SYMBOL
from tests.trading.group_orders import bracket, create, entered, group_of, live, oco, order, sent, shows
from tests.waiting import until


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


async def test_what_the_venue_refuses_of_an_exit_is_not_sent_again_and_again(trader):
    group = await create(trader, bracket())
    entry, profit, stop = group.orders
    await trader.becomes(entry.order_id, "NEW")
    trader.engine.fill(entry.order_id, 1, "4000")
    await until(lambda: live(trader, profit.order_id) == 1)
    tries = []

    async def refuse(request):
        tries.append(request.order_id)
        raise FailedPrecondition("no", reason=Reason.GATEWAY_REJECTED)

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


async def test_a_fill_or_kill_stop_of_a_group_that_needs_two_legs_is_refused_or_waits_for_the_next_day(trader):
    def close(side, tif="GTC", **values):
        return order(side, quantity=2, symbol=OTHER, tif=tif, **values)

    async def begin_day():
        trader.engine.trading_day += 1
        trader.engine.emit(trading_day={"gateway_name": "SIM", "trading_day": trader.engine.trading_day})

    group = await create(
        trader,
        bracket(
            entry=close("BUY", price="3500"), profit=close("SELL", price="3600"),
            stop=close("SELL", "FOK", type="STOP", stop_price="3400"),
        ),
    )  # fmt: skip
    entry, profit, stop = (o.order_id for o in group.orders)
    await trader.becomes(entry, "NEW")
    await begin_day()
    trader.engine.fill(entry, 1, "3500")
    await until(lambda: live(trader, profit) == 1)
    await begin_day()
    trader.engine.fill(entry, 1, "3500")
    await until(lambda: live(trader, profit) == 2)
    await until(lambda: trader.market.listeners)
    trader.market.price(OTHER, 3399.0)
    await shows(trader, stop, hold_reason=reasons.UNSUPPORTED)
    await trader.becomes(profit, "CANCELED")
    # What could be known is refused at once.
    trader.market.price(OTHER, 3500.0)
    await trader.orders.CancelOrderGroup(order_pb.CancelOrderGroupRequest(order_group_id=group.order_group_id))
    await trader.becomes(stop, "CANCELED")
    exits = oco(
        close("SELL", price="3600", effect="CLOSE"),
        close("SELL", "FOK", type="STOP", stop_price="3400", effect="CLOSE"),
    )
    async with refused("UNSUPPORTED") as caught:
        await create(trader, exits)
    assert "orders[1]" in caught.value.details() and "CLOSE_TODAY 1 and CLOSE_YESTERDAY 1" in caught.value.details()
    await begin_day()
    _, stop = (o.order_id for o in (await create(trader, exits)).orders)
    trader.market.price(OTHER, 3399.0)
    await until(lambda: sent(trader, stop))
    assert sent(trader, stop) == [(stop, "2")]


async def _refused_growth(trader, reason):
    """A bracket whose take profit is at the venue with 1 of 3: the rest is refused; the attempts."""
    group = await create(trader, bracket())
    entry, profit, stop = (o.order_id for o in group.orders)
    await trader.becomes(entry, "NEW")
    trader.engine.fill(entry, 1, "4000")
    await until(lambda: live(trader, profit) == 1)
    tries = []

    async def refuse(request):
        tries.append(request.order_id)
        raise FailedPrecondition("later", reason=reason)

    trader.engine.before_send = refuse
    trader.engine.fill(entry, 2, "4000")
    await shows(trader, profit, quantity="3", hold_reason=getattr(reasons, reason))
    return profit, stop, tries


async def test_what_cannot_be_sent_of_an_exit_is_reported_and_tried_again_at_growing_intervals():
    clock = ManualClock()
    async with trading(clock=clock) as trader:
        profit, stop, tries = await _refused_growth(trader, Reason.RATE_LIMITED)
        assert len(tries) == 1
        for pause_s in (0.5, 1.0, 2.0):
            before = len(tries)
            clock.advance(pause_s)
            await until(lambda before=before: len(tries) == before + 1)
            await shows(trader, profit, hold_reason=reasons.RATE_LIMITED)
        # What rests meanwhile keeps its place, and the stop protects all.
        assert (live(trader, profit), (await trader.get(stop)).quantity) == (1, "3")
        trader.engine.before_send = None
        clock.advance(4)
        await until(lambda: live(trader, profit) == 3)
        await shows(trader, profit, hold_reason=0)


async def test_an_exit_whose_rest_waits_to_be_sent_outlives_what_of_it_was_filled(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        profit, stop, _ = await _refused_growth(trader, Reason.GATEWAY_DISCONNECTED)
        trader.engine.fill(profit, 1, "4100")
        await shows(trader, profit, cumulative_quantity="1", hold_reason=reasons.GATEWAY_DISCONNECTED)
        await shows(trader, stop, quantity="2")
    trader.engine.before_send = None
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        await until(lambda: live(trader, profit) == 2)


async def test_a_take_profit_that_cannot_be_sent_when_its_entry_fills_is_tried_again(trader):
    group = await create(trader, bracket())
    entry, profit, stop = (o.order_id for o in group.orders)
    await trader.becomes(entry, "NEW")

    async def refuse(request):
        raise FailedPrecondition("later", reason=Reason.RATE_LIMITED)

    trader.engine.before_send = refuse
    trader.engine.fill(entry, 3, "4000")
    await shows(trader, profit, hold_reason=reasons.RATE_LIMITED)
    await shows(trader, stop, status=common_pb2.ORDER_STATUS_NEW, quantity="3")
    trader.engine.before_send = None
    await until(lambda: live(trader, profit) == 3)
