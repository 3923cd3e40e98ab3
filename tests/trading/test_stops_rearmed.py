"""Triggered stops that cannot be sent: those that protect stay armed, opening ones are checked again."""

import asyncio

from redfire.common.v1 import error_reason_pb2 as reasons
from redfire.reasons import Reason

from services.kernel.errors import FailedPrecondition, Unavailable
from tests.trading.conftest import refused, trading
from tests.trading.fakes import SYMBOL
from tests.waiting import until


async def long(trader, quantity=1):
    order = await trader.create(quantity=quantity)
    await trader.becomes(order.order_id, "NEW")
    trader.engine.fill(order.order_id, quantity, "4000")
    await trader.becomes(order.order_id, "FILLED")
    await until(lambda: trader.market.listeners)


async def held_for(trader, order_id, reason):
    async def held():
        order = await trader.get(order_id)
        return order if order.hold_reason == reasons.ErrorReason.Value(reason) else None

    return await until(held)


def cut(reason):
    async def refuse(request):
        raise FailedPrecondition("not now", reason=reason)

    return refuse


async def test_a_protective_stop_that_cannot_be_sent_stays_armed_and_is_sent_when_the_line_is_back(trader):
    await long(trader)
    events = []

    async def hear(event):
        events.append(event.stop_rearmed)

    trader.platform.host.events.subscribe("trading.stop_rearmed", hear)
    stop = await trader.create("SELL", effect="CLOSE", type="STOP", stop_price="3900")
    trader.engine.before_send = cut(Reason.GATEWAY_DISCONNECTED)
    trader.market.price(SYMBOL, 3899.0)
    held = await held_for(trader, stop.order_id, "GATEWAY_DISCONNECTED")
    assert held.status == 2 and held.triggered
    await until(lambda: events)
    assert (events[0].order_id, events[0].reason) == (stop.order_id, "GATEWAY_DISCONNECTED")
    trader.engine.before_send = None
    # The price has gone back: what has triggered to protect a position is sent all the same.
    trader.market.price(SYMBOL, 3950.0)
    trader.engine.emit(gateway={"gateway_name": "SIM", "status": 3, "simulated": True})
    await until(lambda: len(trader.engine.sends) == 2)
    sent = trader.engine.sends[1]
    trader.engine.fill(sent.order_id, 1, "3899")
    done = await trader.becomes(stop.order_id, "FILLED")
    assert not done.hold_reason and not await trader.positions()
    assert len(events) == 1


async def test_a_stop_is_tried_again_by_itself_and_only_once_at_the_venue(trader):
    await long(trader)
    stop = await trader.create("SELL", effect="CLOSE", type="STOP", stop_price="3900")
    trader.engine.before_send = cut(Reason.MARKET_CLOSED)
    trader.market.price(SYMBOL, 3899.0)
    await held_for(trader, stop.order_id, "MARKET_CLOSED")
    trader.engine.before_send = None
    await until(lambda: len(trader.engine.sends) == 2)
    await trader.becomes(stop.order_id, "NEW")
    assert not (await trader.get(stop.order_id)).hold_reason


async def test_a_stop_that_triggers_while_the_engine_restarts_is_sent_once(trader):
    stop = await trader.create(type="STOP", stop_price="4100")
    await until(lambda: trader.market.listeners)

    async def dead(request):
        raise Unavailable("the engine restarts")

    trader.engine.before_send = dead
    trader.market.price(SYMBOL, 4101.0)
    await trader.becomes(stop.order_id, "UNKNOWN")
    trader.engine.before_send = None
    await until(lambda: trader.engine.sends)
    trader.engine.fill(trader.engine.sends[0].order_id, 1, "4101")
    await trader.becomes(stop.order_id, "FILLED")
    assert len(trader.engine.sends) == 1


async def test_an_armed_stop_outlives_a_restart_of_the_platform(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        await long(trader)
        stop = await trader.create("SELL", effect="CLOSE", type="STOP", stop_price="3900")
        trader.engine.before_send = cut(Reason.GATEWAY_DISCONNECTED)
        trader.market.price(SYMBOL, 3899.0)
        await held_for(trader, stop.order_id, "GATEWAY_DISCONNECTED")
    trader.engine.before_send = None
    trader.market.prices[SYMBOL] = 3990.0
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        await until(lambda: len(trader.engine.sends) == 2)
        await trader.becomes(stop.order_id, "NEW")


async def test_what_the_venue_refuses_of_the_order_itself_ends_it(trader):
    await long(trader)
    stop = await trader.create("SELL", effect="CLOSE", type="STOP_LIMIT", stop_price="3900", price="3899")
    trader.engine.before_send = cut(Reason.PRICE_OUTSIDE_LIMITS)
    trader.market.price(SYMBOL, 3899.0)
    done = await trader.becomes(stop.order_id, "REJECTED")
    assert done.reject_reason == reasons.PRICE_OUTSIDE_LIMITS


async def test_an_armed_stop_can_be_canceled(trader):
    await long(trader)
    stop = await trader.create("SELL", effect="CLOSE", type="STOP", stop_price="3900")
    trader.engine.before_send = cut(Reason.GATEWAY_DISCONNECTED)
    trader.market.price(SYMBOL, 3899.0)
    await held_for(trader, stop.order_id, "GATEWAY_DISCONNECTED")
    assert (await trader.cancel(stop.order_id)).status == 6
    (position,) = await trader.positions()
    assert position.frozen_quantity == "0"


async def test_an_opening_stop_is_checked_by_risk_again_when_it_triggers(trader):
    stop = await trader.create(type="STOP", stop_price="4100")
    await until(lambda: trader.market.listeners)
    trader.risk.refuse = "REDUCE_ONLY"
    trader.market.price(SYMBOL, 4101.0)
    done = await trader.becomes(stop.order_id, "REJECTED")
    assert done.reject_reason == reasons.REDUCE_ONLY and not trader.engine.sends
    check = trader.risk.checks[-1]
    assert check.triggered and check.stop_price == "4100" and check.gateway == "SIM"


async def test_without_risk_an_opening_stop_waits_and_a_closing_one_is_sent(trader):
    await long(trader)
    opening = await trader.create(type="STOP", stop_price="4100")
    closing = await trader.create("SELL", effect="CLOSE", type="STOP", stop_price="3900")
    trader.risk.down = True
    trader.market.price(SYMBOL, 4101.0)
    await held_for(trader, opening.order_id, "RISK_UNAVAILABLE")
    # The price is back below its trigger: it waits for that again.
    trader.market.price(SYMBOL, 4000.0)

    async def armed():
        order = await trader.get(opening.order_id)
        return not order.hold_reason and not order.triggered

    await until(armed)
    trader.market.price(SYMBOL, 3899.0)
    await until(lambda: trader.engine.sends[-1].order_id == closing.order_id)
    trader.risk.down = False
    trader.market.price(SYMBOL, 4102.0)
    await until(lambda: trader.engine.sends[-1].order_id == opening.order_id)


async def test_an_opening_stop_without_its_margin_when_it_triggers_ends(trader):
    stop = await trader.create(quantity=5, type="STOP", stop_price="4100")
    await until(lambda: trader.market.listeners)
    trader.market.price(SYMBOL, 6000.0)
    done = await trader.becomes(stop.order_id, "REJECTED")
    assert done.reject_reason == reasons.INSUFFICIENT_FUNDS


async def test_a_reduce_only_stop_leaves_the_position_to_others_and_closes_what_is_left(trader):
    await long(trader, 3)
    stop = await trader.create(
        "SELL", quantity=3, effect="UNSPECIFIED", type="STOP", stop_price="3900", reduce_only=True
    )
    close = await trader.create("SELL", quantity=2, effect="CLOSE", price="4010")
    await trader.becomes(close.order_id, "NEW")
    trader.engine.fill(close.order_id, 2, "4010")
    await trader.becomes(close.order_id, "FILLED")

    async def trimmed():
        return (await trader.get(stop.order_id)).quantity == "1"

    await until(trimmed)
    trader.market.price(SYMBOL, 3899.0)
    await until(lambda: len(trader.engine.sends) == 3)
    assert trader.engine.sends[2].quantity == "1"


async def test_a_reduce_only_stop_ends_when_the_position_is_gone(trader):
    await long(trader)
    stop = await trader.create("SELL", effect="UNSPECIFIED", type="STOP", stop_price="3900", reduce_only=True)
    close = await trader.create("SELL", effect="CLOSE", price="4010")
    await trader.becomes(close.order_id, "NEW")
    trader.engine.fill(close.order_id, 1, "4010")
    done = await trader.becomes(stop.order_id, "CANCELED")
    assert done.reject_reason == reasons.REDUCE_ONLY


async def test_a_reduce_only_stop_that_could_not_be_sent_keeps_what_it_took(trader):
    await long(trader, 2)
    stop = await trader.create(
        "SELL", quantity=2, effect="UNSPECIFIED", type="STOP", stop_price="3900", reduce_only=True
    )
    trader.engine.before_send = cut(Reason.GATEWAY_DISCONNECTED)
    trader.market.price(SYMBOL, 3899.0)
    await held_for(trader, stop.order_id, "GATEWAY_DISCONNECTED")
    trader.engine.before_send = None
    await until(lambda: len(trader.engine.sends) == 2)
    assert trader.engine.sends[1].quantity == "2"


async def test_an_armed_stop_of_the_day_ends_with_it(trader):
    await long(trader)
    stop = await trader.create("SELL", effect="CLOSE", type="STOP", stop_price="3900", tif="DAY")
    trader.engine.before_send = cut(Reason.MARKET_CLOSED)
    trader.market.price(SYMBOL, 3899.0)
    await held_for(trader, stop.order_id, "MARKET_CLOSED")
    trader.engine.trading_day = 20260106
    trader.engine.emit(trading_day={"gateway_name": "SIM", "trading_day": 20260106})
    ended = await trader.becomes(stop.order_id, "EXPIRED")
    assert not ended.hold_reason and len(trader.engine.sends) == 1  # the one that opened


async def test_the_trigger_of_a_stop_that_has_triggered_is_not_moved(trader):
    await long(trader)
    stop = await trader.create("SELL", type="STOP", stop_price="3900", effect="CLOSE")
    trader.engine.before_send = cut(Reason.MARKET_CLOSED)
    trader.market.price(SYMBOL, 3890.0)
    await held_for(trader, stop.order_id, "MARKET_CLOSED")
    async with refused("INVALID_FIELD"):
        await trader.replace(stop.order_id, stop_price="3800")
    assert (await trader.get(stop.order_id)).stop_price == "3900"


async def test_an_opening_stop_whose_trigger_is_moved_while_risk_is_asked_waits_for_it(trader):
    stop = await trader.create(type="STOP", stop_price="4100")
    await until(lambda: trader.market.listeners)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hold():
        if not asked.is_set():
            asked.set()
            await answer.wait()

    trader.risk.hold = hold
    trader.market.price(SYMBOL, 4101.0)
    await asked.wait()
    await trader.replace(stop.order_id, stop_price="4200")
    answer.set()
    trader.market.price(SYMBOL, 4150.0)
    trader.market.price(SYMBOL, 4201.0)
    await until(lambda: trader.engine.sends)
    assert [check.stop_price for check in trader.risk.checks if check.triggered] == ["4100", "4200"]


async def test_a_stop_that_is_canceled_while_it_cannot_be_sent_waits_for_nothing_any_more(trader):
    await long(trader)
    stop = await trader.create("SELL", type="STOP", stop_price="3900", effect="CLOSE")
    trader.engine.before_send = cut(Reason.MARKET_CLOSED)
    trader.market.price(SYMBOL, 3890.0)
    await held_for(trader, stop.order_id, "MARKET_CLOSED")
    assert not (await trader.cancel(stop.order_id)).hold_reason


async def test_an_opening_stop_that_was_to_be_filled_at_once_or_not_at_all_is_sent_once(trader):
    await trader.create()
    stop = await trader.create(type="STOP_LIMIT", stop_price="4100", price="4100", tif="IOC")
    await until(lambda: trader.market.listeners)
    trader.market.price(SYMBOL, 4101.0)
    await until(lambda: len(trader.engine.sends) == 2)
    trader.engine.update(stop.order_id, "CANCELED", reason=reasons.NO_LIQUIDITY)
    done = await trader.becomes(stop.order_id, "CANCELED")
    assert done.reject_reason == reasons.NO_LIQUIDITY and len(trader.engine.sends) == 2
