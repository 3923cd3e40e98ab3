"""Busted and late fills of a group: all that filled is protected, never more."""

from redfire.common.v1 import error_reason_pb2 as reasons
from redfire.trading.v1 import order_service_pb2 as order_pb

from tests.trading.conftest import trading
from tests.trading.fakes import SYMBOL
from tests.trading.group_orders import bracket, create, entered, group_of, live, oco, order, sent, shows
from tests.waiting import until


def restatements(trader):
    """The restatements published to the user."""
    events = []

    async def hear(event):
        events.append(event.order_group_restated)

    trader.platform.host.events.subscribe("trading.order_group_restated", hear)
    return events


def bust(trader, reference, trade_id):
    """The venue takes a trade back."""
    made = trader.engine.orders[reference]
    trader.engine.emit(
        trade={
            "gateway_name": "SIM", "order_id": reference, "venue_order_id": made.venue_order_id, "kind": 2,
            "venue_trade_id": trade_id, "symbol": made.symbol,
        }
    )  # fmt: skip


async def reopened(trader, group_id):
    """The exits that a group was given anew: (take profit, stop), ids."""

    async def exits():
        group = await group_of(trader, group_id)
        return [one.order_id for one in group.orders[3:]] if len(group.orders) == 5 else None

    return await until(exits)


async def test_a_busted_entry_fill_shrinks_the_exits_and_trades_no_more(trader):
    events = restatements(trader)
    group = await create(trader, bracket())
    entry, profit, stop = (o.order_id for o in group.orders)
    await trader.becomes(entry, "NEW")
    for trade_id in ("t1", "t2"):
        trader.engine.fill(entry, 1, "4000", trade_id)
    await until(lambda: live(trader, profit) == 2)
    bust(trader, entry, "t1")
    await shows(trader, stop, quantity="1")
    await until(lambda: live(trader, profit) == 1)
    assert (await trader.positions())[0].quantity == "1"
    # One is left of the entry at the venue, and so of the order.
    shown = await shows(trader, entry, quantity="2", cumulative_quantity="1")
    assert shown.leaves_quantity == "1"
    trader.engine.fill(entry, 1, "4000")
    await trader.becomes(entry, "FILLED")
    await shows(trader, stop, quantity="2")
    await until(lambda: live(trader, profit) == 2)
    await until(lambda: events)
    assert (events[0].order_group_id, events[0].cause, events[0].quantity) == (
        group.order_group_id,
        "TRADE_BUSTED",
        "1",
    )
    assert events[0].unprotected_quantity == "0"


async def test_a_busted_entry_ends_exits_that_protect_nothing_any_more(trader):
    group = await create(trader, bracket())
    entry, profit, stop = (o.order_id for o in group.orders)
    await trader.becomes(entry, "NEW")
    trader.engine.fill(entry, 3, "4000", "t1")
    await until(lambda: live(trader, profit) == 3)
    bust(trader, entry, "t1")
    done = await trader.becomes(entry, "CANCELED")
    assert done.reject_reason == reasons.TRADE_BUSTED
    for one in (profit, stop):
        assert (await trader.becomes(one, "CANCELED")).reject_reason == reasons.ORDER_GROUP_ENDED
    assert not await trader.positions() and (await group_of(trader, group.order_group_id)).status == 2


async def test_what_a_busted_exit_had_closed_is_protected_again(trader):
    _, _, profit, stop = await entered(trader)
    trader.engine.fill(profit, 1, "4100", "t1")
    await shows(trader, stop, quantity="2")
    bust(trader, profit, "t1")
    await shows(trader, stop, quantity="3")
    await until(lambda: live(trader, profit) == 3)
    (position,) = await trader.positions()
    assert (position.quantity, position.frozen_quantity) == ("3", "3")


async def test_a_bust_after_the_end_gives_what_is_open_again_new_exits(trader):
    events = restatements(trader)
    group_id, _, profit, stop = await entered(trader)
    trader.engine.fill(profit, 1, "4100", "t1")
    trader.engine.fill(profit, 2, "4100", "t2")
    await trader.becomes(stop, "CANCELED")
    bust(trader, profit, "t2")
    new_profit, new_stop = await reopened(trader, group_id)
    assert (await trader.becomes(profit, "CANCELED")).reject_reason == reasons.TRADE_BUSTED
    await until(lambda: live(trader, new_profit) == 2)
    shown = await shows(trader, new_stop, quantity="2", status=2)
    assert shown.stop_price == "3900" and shown.client_order_id != (await trader.get(stop)).client_order_id
    assert (await group_of(trader, group_id)).status == 1 and (await trader.positions())[0].frozen_quantity == "2"
    await until(lambda: events)
    restated = events[0]
    assert (restated.cause, restated.quantity, restated.unprotected_quantity) == ("TRADE_BUSTED", "2", "0")
    trader.market.price(SYMBOL, 3899.0)
    await until(lambda: sent(trader, new_stop))
    assert sent(trader, new_stop) == [(new_stop, "2")] and not live(trader, new_profit)
    trader.engine.fill(new_stop, 2, "3899")
    await trader.becomes(new_stop, "FILLED")
    assert not await trader.positions() and (await group_of(trader, group_id)).status == 2


async def test_a_busted_stop_is_armed_again_by_its_price(trader):
    group_id, _, _, stop = await entered(trader)
    trader.market.price(SYMBOL, 3899.0)
    await until(lambda: sent(trader, stop))
    trader.engine.fill(stop, 3, "3899", "t1")
    await trader.becomes(stop, "FILLED")
    trader.market.price(SYMBOL, 3950.0)
    # By the next tick that trading shows the price has come back.
    await until(lambda: trader.market.listeners)
    bust(trader, stop, "t1")
    _, new_stop = await reopened(trader, group_id)
    await shows(trader, new_stop, status=2, quantity="3")
    trader.market.price(SYMBOL, 3898.0)
    await until(lambda: sent(trader, new_stop))


async def test_a_late_fill_of_an_entry_gives_it_new_exits_across_a_restart(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        group = await create(trader, bracket())
        entry, _, stop = (o.order_id for o in group.orders)
        await trader.becomes(entry, "NEW")
        await trader.cancel(entry)
        await trader.becomes(stop, "CANCELED")
    trader.engine.fill(entry, 1, "4000", silent=True)
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        new_profit, new_stop = await reopened(trader, group.order_group_id)
        await until(lambda: live(trader, new_profit) == 1)
        await shows(trader, new_stop, status=2, quantity="1")
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        # Reported again, it is the same fill.
        assert len((await group_of(trader, group.order_group_id)).orders) == 5
        trader.engine.fill(new_profit, 1, "4100")
        await trader.becomes(new_profit, "FILLED")
        await trader.becomes(new_stop, "CANCELED")
        assert not await trader.positions()


async def test_exits_that_their_owner_canceled_are_not_opened_again_and_an_event_reports_it(trader):
    events = restatements(trader)
    group = await create(trader, bracket())
    entry, profit, stop = (o.order_id for o in group.orders)
    await trader.becomes(entry, "NEW")
    await trader.orders.CancelOrderGroup(order_pb.CancelOrderGroupRequest(order_group_id=group.order_group_id))
    await trader.becomes(entry, "CANCELED")
    trader.engine.fill(entry, 2, "4000")
    await until(lambda: events)
    assert (events[0].cause, events[0].quantity, events[0].unprotected_quantity) == ("LATE_FILL", "0", "2")
    shown = await group_of(trader, group.order_group_id)
    assert (len(shown.orders), shown.status, shown.unprotected_quantity) == (3, 2, "2")
    assert not sent(trader, profit) and not sent(trader, stop)


async def test_what_is_busted_of_an_opening_oco_is_not_opened_by_another_of_its_orders(trader):
    group = await create(trader, oco(order("BUY", price="3990"), order("BUY", price="3980")))
    first, second = (o.order_id for o in group.orders)
    await trader.becomes(second, "NEW")
    await trader.becomes(first, "NEW")
    trader.engine.fill(first, 1, "3990", "t1")
    await until(lambda: live(trader, second) == 2)
    bust(trader, first, "t1")
    await shows(trader, first, quantity="2", cumulative_quantity="0")
    assert (live(trader, first), live(trader, second)) == (2, 2)
    trader.engine.fill(first, 2, "3990")
    await trader.becomes(first, "FILLED")
    await trader.becomes(second, "CANCELED")
    assert (await trader.positions())[0].quantity == "2"
