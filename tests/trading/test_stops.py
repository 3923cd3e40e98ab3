"""Stops are held by trading: triggered once, persisted, never loosened."""

from decimal import Decimal as D

from sqlalchemy import select

from services.kernel.clock import ManualClock
from services.trading.models import OrderRow
from tests.trading.conftest import refused, trading
from tests.trading.fakes import OTHER, SYMBOL
from tests.waiting import until


async def test_a_stop_waits_holds_its_funds_and_triggers_once(trader):
    order = await trader.create(type="STOP", stop_price="4010")
    assert order.status == 2 and not order.triggered
    assert D((await trader.account()).frozen) > 0 and not trader.engine.sends
    await until(lambda: trader.market.listeners)
    trader.market.price(SYMBOL, 4009.8)
    trader.market.price(SYMBOL, 4010.0)
    trader.market.price(SYMBOL, 4012.0)
    await until(lambda: trader.engine.sends)
    assert trader.engine.sends[0].type == 1
    trader.engine.fill(order.order_id, 1, "4010.2")
    done = await trader.becomes(order.order_id, "FILLED")
    assert done.triggered and len(trader.engine.sends) == 1
    assert D((await trader.account()).frozen) == 0


async def test_a_stop_limit_becomes_a_limit(trader):
    order = await trader.create("SELL", type="STOP_LIMIT", stop_price="3990", price="3989")
    await until(lambda: trader.market.listeners)
    trader.market.price(SYMBOL, 3990.0)
    await until(lambda: trader.engine.sends)
    assert (trader.engine.sends[0].type, trader.engine.sends[0].price) == (2, "3989")
    await trader.becomes(order.order_id, "NEW")


async def test_a_trailing_stop_follows_and_never_loosens(trader):
    order = await trader.create("SELL", type="TRAILING_STOP", trailing_offset="10")
    assert order.stop_price == "3990"
    await until(lambda: trader.market.listeners)
    for price in (4020.0, 4012.0):
        trader.market.price(SYMBOL, price)
    await until(lambda: _stop_price(trader, order.order_id, "4010"))
    assert not trader.engine.sends
    trader.market.price(SYMBOL, 4010.0)
    await until(lambda: trader.engine.sends)


async def _stop_price(trader, order_id, price):
    return (await trader.get(order_id)).stop_price == price


async def test_a_held_stop_is_replaced_and_canceled_here(trader):
    order = await trader.create(type="STOP", stop_price="4010")
    changed = await trader.replace(order.order_id, stop_price="4020", quantity="2")
    assert (changed.stop_price, changed.quantity) == ("4020", "2")
    async with refused("INVALID_FIELD"):
        await trader.replace(order.order_id, price="4020")
    assert (await trader.cancel(order.order_id)).status == 6
    assert D((await trader.account()).frozen) == 0
    later = await trader.create(type="STOP", stop_price="4020")
    trader.market.price(SYMBOL, 4030.0)
    await trader.becomes(later.order_id, "NEW")
    assert [sent.order_id for sent in trader.engine.sends] == [later.order_id]


async def test_a_stop_moved_to_0_is_checked_as_any_other_price_not_left_where_it_is(trader):
    order = await trader.create(type="STOP", stop_price="4010")
    async with refused("INVALID_FIELD"):
        await trader.replace(order.order_id, stop_price="0")


async def test_a_stop_limit_replaced_to_a_price_of_0_holds_what_that_price_needs(trader):
    trader.market.price(SYMBOL, 0.04)  # so low that the day's limits are 0: there are none
    order = await trader.create(type="STOP_LIMIT", stop_price="12", price="10")
    assert D((await trader.account()).frozen) > 0
    assert (await trader.replace(order.order_id, price="0")).price == "0"
    assert D((await trader.account()).frozen) == 0


async def _is_written(trader, order_id, stop_price):
    """Return whether the trigger price is in the database: trails are written once a second."""
    query = select(OrderRow.stop_price).where(OrderRow.order_id == order_id)
    return await trader.platform.rows("trading", query) == [(D(stop_price),)]


async def test_stops_and_trails_survive_a_restart(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        stop = await trader.create(type="STOP", stop_price="4100")
        trail = await trader.create("SELL", type="TRAILING_STOP", trailing_offset="10")
        await until(lambda: trader.market.listeners)
        trader.market.price(SYMBOL, 4050.0)
        await until(lambda: _stop_price(trader, trail.order_id, "4040"))
        await until(lambda: _is_written(trader, trail.order_id, "4040"))
        frozen = (await trader.account()).frozen
    trader.market.prices[SYMBOL] = 4045.0
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        assert (await trader.account()).frozen == frozen
        assert (await trader.get(trail.order_id)).stop_price == "4040"
        await until(lambda: trader.market.listeners)
        trader.market.price(SYMBOL, 4039.0)
        await until(lambda: trader.engine.sends)
        trader.market.price(SYMBOL, 4100.0)
        await until(lambda: len(trader.engine.sends) == 2)
        assert {s.order_id for s in trader.engine.sends} == {stop.order_id, trail.order_id}


async def test_a_stop_good_till_a_time_ends_with_it(trader):
    request = trader.request(type="STOP", stop_price="4100", tif="GTD")
    request.expire_time.FromNanoseconds(trader.platform.host.clock.now_ns() + 300_000_000)
    order = (await trader.orders.CreateOrder(request)).order
    done = await trader.becomes(order.order_id, "EXPIRED")
    assert done.reject_reason == 54
    request.expire_time.FromSeconds(1)
    request.client_order_id = "other"
    async with refused("INVALID_FIELD"):
        await trader.orders.CreateOrder(request)


async def test_a_new_trading_day_ends_day_stops_and_makes_positions_yesterdays(trader):
    order = await trader.create(quantity=2)
    await trader.becomes(order.order_id, "NEW")
    trader.engine.fill(order.order_id, 2, "4000")
    await trader.becomes(order.order_id, "FILLED")
    stop = await trader.create(type="STOP", stop_price="4100", tif="DAY")
    kept = await trader.create(type="STOP", stop_price="4100")
    trader.engine.trading_day = 20260106
    trader.engine.emit(trading_day={"gateway_name": "SIM", "trading_day": 20260106})
    await trader.becomes(stop.order_id, "EXPIRED")
    assert (await trader.get(kept.order_id)).status == 2
    (position,) = await trader.positions()
    assert (position.today_quantity, position.yesterday_quantity) == ("0", "2")
    async with refused("INSUFFICIENT_POSITION"):
        await trader.create("SELL", effect="CLOSE_TODAY")
    await trader.create("SELL", effect="CLOSE_YESTERDAY")


async def test_the_venues_id_of_a_stop_is_written_though_the_answer_came_before_the_report(trader):
    trader.engine.ack = False
    order = await trader.create(type="STOP_LIMIT", price="4000", stop_price="4010")
    await until(lambda: trader.market.listeners)
    trader.market.price(SYMBOL, 4012.0)
    await until(lambda: trader.engine.sends)
    await trader.create(symbol=OTHER, price="3500")
    await until(lambda: len(trader.engine.sends) == 2)  # the answer of the first one has come
    trader.engine.update(order.order_id, "NEW")

    async def written():
        listed = {one.order_id: one for one in await trader.open()}
        return listed[order.order_id].venue_order_id == "v0"

    await until(written)


async def test_a_stop_that_an_old_price_did_not_trigger_is_triggered_by_the_same_price_once_it_is_published_again():
    clock = ManualClock()
    async with trading(clock=clock, max_quote_age_s=60) as trader:
        first = await trader.create(type="STOP", stop_price="4011")
        await until(lambda: trader.market.listeners)
        trader.market.price(SYMBOL, 4012.0)
        await until(lambda: _triggered(trader, first.order_id))
        clock.advance(61)
        order = await trader.create(type="STOP", stop_price="4010")
        assert not order.triggered
        trader.market.price(SYMBOL, 4012.0)
        await until(lambda: _triggered(trader, order.order_id))


async def _triggered(trader, order_id):
    return (await trader.get(order_id)).triggered
