"""Order groups: what one order of a group fills, its others lose; nobody closes more than is held."""

from decimal import Decimal as D

import pytest
from redfire.common.v1 import error_reason_pb2 as reasons
from redfire.trading.v1 import order_service_pb2 as order_pb

from tests.trading.conftest import refused
from tests.trading.fakes import SYMBOL
from tests.trading.group_orders import bracket, create, entered, group_of, live, oco, order, sent, shows
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("both_databases")


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


async def test_a_stop_that_stands_for_a_later_fill_triggers_by_the_price_that_came_before_it(trader):
    _, entry, profit, stop = await entered(trader, filled=1)
    trader.engine.fill(profit, 1, "4100")
    await until(lambda: not live(trader, profit))
    await shows(trader, profit, cumulative_quantity="1", quantity="3")
    other = await trader.create("SELL", type="STOP", stop_price="3899")
    trader.market.price(SYMBOL, 3899.0)
    await until(lambda: sent(trader, other.order_id))  # the price has come
    assert not sent(trader, stop)
    trader.engine.fill(entry, 2, "4000")
    await until(lambda: sent(trader, stop))
    assert sent(trader, stop) == [(stop, "2")]


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
    other = trader.platform.identity()
    async with refused("NOT_FOUND"):
        await other.stub(type(trader.orders)).GetOrderGroup(order_pb.GetOrderGroupRequest(order_group_id=group_id))


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


async def test_a_bracket_whose_entry_is_a_stop_or_a_market_order_works_the_same(trader):
    group = await create(trader, bracket(entry=order("BUY", type="STOP", stop_price="4010")))
    entry, profit, _ = (o.order_id for o in group.orders)
    await until(lambda: trader.market.listeners)
    trader.market.price(SYMBOL, 4011.0)
    await until(lambda: sent(trader, entry))
    trader.engine.fill(entry, 3, "4011")
    await until(lambda: live(trader, profit) == 3)
