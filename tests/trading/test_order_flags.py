"""Reduce-only and post-only orders, and what market's prices decide: of their own gateway, and not too old."""

import pytest
from google.protobuf import timestamp_pb2
from redfire.common.v1 import error_reason_pb2
from redfire.trading.v1 import order_service_pb2 as order_pb

from services.kernel.clock import ManualClock
from tests.trading.conftest import refused, trading
from tests.trading.fakes import OTHER, SYMBOL, Peers
from tests.waiting import until


async def long(trader, quantity):
    order = await trader.create(quantity=quantity)
    await trader.becomes(order.order_id, "NEW")
    trader.engine.fill(order.order_id, quantity, "4000")
    await trader.becomes(order.order_id, "FILLED")


async def test_reduce_only_closes_at_most_what_is_held_and_is_refused_without_a_position(trader):
    async with refused("REDUCE_ONLY"):
        await trader.create("SELL", effect="UNSPECIFIED", reduce_only=True)
    async with refused("INVALID_FIELD"):
        await trader.create("SELL", reduce_only=True)
    await long(trader, 2)
    async with refused("REDUCE_ONLY"):
        await trader.create("BUY", effect="UNSPECIFIED", reduce_only=True)
    order = await trader.create("SELL", quantity=5, effect="UNSPECIFIED", price="4010", reduce_only=True)
    assert (order.quantity, order.position_effect, order.reduce_only) == ("2", 2, True)
    (position,) = await trader.positions()
    assert position.frozen_quantity == "2"
    async with refused("REDUCE_ONLY"):
        await trader.create("SELL", effect="UNSPECIFIED", reduce_only=True)


async def test_post_only_reaches_the_venue_and_is_refused_where_it_would_trade(trader):
    trader.market.quote(SYMBOL, bid=3999.8, ask=4000.2)
    async with refused("POST_ONLY_WOULD_TRADE"):
        await trader.create(price="4000.2", post_only=True)
    async with refused("POST_ONLY_WOULD_TRADE"):
        await trader.create("SELL", price="3999.8", post_only=True)
    order = await trader.create(price="4000", post_only=True)
    await until(lambda: trader.engine.sends)
    assert order.post_only and trader.engine.sends[0].post_only


async def test_post_only_is_refused_before_it_is_sent_where_the_gateway_cannot(trader):
    trader.engine.simulated = False
    trader.engine.drop_streams()
    await until(lambda: len(trader.engine.listeners) == 1)

    async def unsupported():
        request = trader.request(price="3990", post_only=True).SerializeToString()
        preview = await trader.orders.PreviewOrder(order_pb.PreviewOrderRequest.FromString(request))
        return error_reason_pb2.UNSUPPORTED in {violation.reason for violation in preview.violations}

    await until(unsupported)


async def test_an_order_in_a_symbol_of_another_gateway_is_refused():
    peers = Peers()
    peers.market.gateway = "CTP"
    async with trading(peers) as trader:
        async with refused("SYMBOL_AT_OTHER_GATEWAY"):
            await trader.create()
        assert not trader.engine.sends


async def test_a_stop_does_not_hear_the_prices_of_another_gateway(trader):
    stop = await trader.create(type="STOP", stop_price="4100")
    await until(lambda: trader.market.listeners)
    trader.market.tick_gateway = "CTP"
    trader.market.price(SYMBOL, 4200.0)
    # The next tick of its own gateway comes after the other's on the same stream.
    trader.market.tick_gateway = "SIM"
    trader.market.price(SYMBOL, 4001.0)
    await until(lambda: _last(trader, 4001.0))
    assert not trader.engine.sends and (await trader.get(stop.order_id)).status == 2


async def _last(trader, price):
    answer = await trader.orders.PreviewOrder(_preview(trader))
    return answer.reference_price.startswith(str(int(price * 1.02)))


def _preview(trader):
    request = trader.request(type="MARKET")
    return order_pb.PreviewOrderRequest(
        client_order_id=request.client_order_id, symbol=request.symbol, side=request.side, type=request.type,
        quantity=request.quantity, time_in_force=request.time_in_force,
    )  # fmt: skip


async def test_a_market_order_is_not_valued_at_a_price_that_is_too_old():
    clock = ManualClock()
    async with trading(clock=clock, max_quote_age_s=60) as trader:
        await trader.create(type="MARKET")
        clock.advance(61)
        async with refused("STALE_PRICE"):
            await trader.create(type="MARKET")
        await trader.create(price="3990")
        await until(lambda: trader.market.listeners)
        trader.market.price(SYMBOL, 4000.2)

        async def fresh():
            return (await trader.orders.PreviewOrder(_preview(trader))).would_accept

        await until(fresh)
        await trader.create(type="MARKET")


async def test_a_preview_refuses_a_time_that_is_over_as_create_order_does(trader):
    request = trader.request(tif="GTD", expire_time=timestamp_pb2.Timestamp(seconds=1))
    async with refused("INVALID_FIELD"):
        await trader.orders.CreateOrder(request)
    preview = order_pb.PreviewOrderRequest.FromString(request.SerializeToString())
    assert not (await trader.orders.PreviewOrder(preview)).would_accept


async def test_a_reduce_only_stop_is_never_replaced_to_more_than_is_held(trader):
    await long(trader, 2)
    stop = await trader.create(
        "SELL", quantity=1, type="STOP", stop_price="3900", effect="UNSPECIFIED", reduce_only=True
    )
    assert (await trader.replace(stop.order_id, quantity="5")).quantity == "2"
    assert (await trader.replace(stop.order_id, stop_price="3910")).quantity == "2"


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "TRAILING_STOP", "trailing_offset": "999999999999999998"},
        {"type": "STOP", "stop_price": "999999999999999998"},
    ],
)
async def test_a_trigger_that_no_amount_can_hold_is_refused(trader, fields):
    short = await trader.create("SELL")
    await trader.becomes(short.order_id, "NEW")
    trader.engine.fill(short.order_id, 1, "4000")
    await trader.becomes(short.order_id, "FILLED")
    async with refused("INVALID_FIELD"):
        await trader.create("BUY", effect="CLOSE", **fields)


async def test_a_position_is_valued_by_the_prices_of_its_own_gateway_alone(trader):
    order = await trader.create(quantity=1)
    await trader.becomes(order.order_id, "NEW")
    trader.engine.fill(order.order_id, 1, "4000")
    await trader.becomes(order.order_id, "FILLED")
    await until(lambda: trader.market.listeners)
    trader.market.price(SYMBOL, 4010.0)
    await until(lambda: _worth(trader, "3000"))
    other = _preview(trader)
    other.symbol = OTHER
    await trader.orders.PreviewOrder(other)
    await until(lambda: any(OTHER in symbols for _, symbols in trader.market.listeners))
    # A real gateway serves the symbol from now on.
    trader.market.tick_gateway = "CTP"
    trader.market.price(SYMBOL, 9000.0)
    trader.market.tick_gateway = "SIM"
    trader.market.price(OTHER, 3600.0)  # comes after it

    async def received():
        return (await trader.orders.PreviewOrder(other)).reference_price == "3672"

    await until(received)
    (position,) = await trader.positions()
    assert (position.last_price, position.unrealized_pnl) == ("4010", "3000")


async def _worth(trader, amount):
    return (await trader.account()).unrealized_pnl == amount
