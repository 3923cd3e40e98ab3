"""Protective stops and market orders at CTP: what its front and its exchanges refuse for now, or for good."""

import pytest
from redfire.common.v1 import common_pb2 as common
from redfire.common.v1.error_reason_pb2 import MARKET_CLOSED, NO_LIQUIDITY, NOT_SENT
from redfire.trading.v1 import order_service_pb2 as order_pb

from services.kernel.identifiers import new_id
from tests.engine import ctp_fields as ctp
from tests.engine.ctp_fields import RB, M
from tests.waiting import until

pytestmark = pytest.mark.slow


async def long(ctp_platform, instrument, quantity=2, bid=3100.0):
    """A position at the front and in the books."""
    await ctp_platform.go("2026-11-26 20:50")
    await ctp_platform.open_account()
    await ctp_platform.go("2026-11-26 21:05")
    await ctp_platform.quote(instrument, bid, bid + 1)
    await ctp_platform.becomes(await ctp_platform.create("BUY", quantity, bid + 1, instrument=instrument), "FILLED")
    await ctp_platform.agree()


async def stop(ctp_platform, instrument, quantity, trigger):
    request = order_pb.CreateOrderRequest(
        client_order_id=new_id(), account_id=ctp_platform.account_id,
        symbol=instrument.vt_symbol, side=common.SIDE_SELL,
        type=common.ORDER_TYPE_STOP, quantity=str(quantity), stop_price=str(trigger),
        time_in_force=common.TIME_IN_FORCE_DAY, position_effect=common.POSITION_EFFECT_CLOSE,
    )  # fmt: skip
    return (await ctp_platform.orders.CreateOrder(request)).order


async def waits_for(ctp_platform, order, reason):
    async def waits():
        now = await ctp_platform.order(order.order_id)
        assert now.status not in (common.ORDER_STATUS_REJECTED, common.ORDER_STATUS_CANCELED), now
        return now.hold_reason == reason

    await until(waits, 10)


@pytest.mark.parametrize("instrument", [RB, M], ids=["SHFE", "DCE"])
async def test_a_stop_that_the_fronts_flow_control_keeps_back_stays_armed_and_is_sent_then(ctp_platform, instrument):
    async with ctp_platform.open():
        await long(ctp_platform, instrument)
        order = await stop(ctp_platform, instrument, 2, 3090)
        ctp_platform.clock.advance(2)
        ctp_platform.front.orders_per_second = -1  # nobody may send anything
        await ctp_platform.quote(instrument, 3080.0, 3081.0)
        await waits_for(ctp_platform, order, NOT_SENT)
        ctp_platform.front.orders_per_second = 0
        ctp_platform.clock.advance(60)
        await ctp_platform.becomes(order, "FILLED", 2)
        await ctp_platform.agree()
        assert not await ctp_platform.positions()


async def test_what_is_to_trade_at_once_goes_at_the_days_limit_where_the_exchange_takes_no_market_orders(ctp_platform):
    async with ctp_platform.open():
        await long(ctp_platform, RB, 3)
        order = await stop(ctp_platform, RB, 2, 3090)
        await ctp_platform.quote(RB, 3080.0, 3081.0)
        await ctp_platform.becomes(order, "FILLED", 2)
        sent = ctp_platform.front.find((await ctp_platform.order(order.order_id)).venue_order_id)
        assert (sent.price_type, sent.price, sent.offset) == (ctp.LIMIT_PRICE, 2772.0, ctp.CLOSE_TODAY)
        await ctp_platform.agree()
        request = order_pb.CreateOrderRequest(
            client_order_id=new_id(), account_id=ctp_platform.account_id, symbol=RB.vt_symbol, side=common.SIDE_BUY,
            type=common.ORDER_TYPE_MARKET, quantity="1",
        )  # fmt: skip
        bought = (await ctp_platform.orders.CreateOrder(request)).order
        await ctp_platform.becomes(bought, "FILLED", 1)
        assert (await ctp_platform.trades())[0].price == "3081"
        await ctp_platform.agree()


async def test_a_stop_that_triggers_in_a_break_is_sent_again_when_the_market_opens(ctp_platform):
    async with ctp_platform.open():
        await long(ctp_platform, RB)
        order = await stop(ctp_platform, RB, 2, 3090)
        await ctp_platform.go("2026-11-27 10:20")
        await ctp_platform.quote(RB, 3080.0, 3081.0)
        await waits_for(ctp_platform, order, MARKET_CLOSED)
        inserts = ctp_platform.front.inserts
        ctp_platform.clock.advance(60)
        await ctp_platform.quote(RB, 3079.0, 3080.0)
        assert ctp_platform.front.inserts == inserts  # nothing is sent into the closed market again and again
        await ctp_platform.go("2026-11-27 10:30")
        await ctp_platform.quote(RB, 3080.0, 3081.0)
        ctp_platform.clock.advance(2)
        await ctp_platform.becomes(order, "FILLED", 2)
        await ctp_platform.agree()


async def test_what_the_exchange_cancels_of_a_stop_for_want_of_the_other_side_is_sent_again(ctp_platform):
    async with ctp_platform.open():
        await long(ctp_platform, M)
        order = await stop(ctp_platform, M, 2, 3090)
        await ctp_platform.quote(M, 3080.0, 3081.0, 1)
        await waits_for(ctp_platform, order, NO_LIQUIDITY)
        ctp_platform.clock.advance(60)
        await ctp_platform.quote(M, 3080.0, 3081.0, 5)
        await ctp_platform.becomes(order, "FILLED", 2)
        await ctp_platform.agree()
        fills = [trade for trade in await ctp_platform.trades() if trade.order_id == order.order_id]
        assert [(fill.quantity, fill.price) for fill in fills] == [("1", "3080"), ("1", "3080")]
        assert await ctp_platform.positions() == {}
