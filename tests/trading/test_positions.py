"""Positions from outside: what they realised, and what they hold back."""

from tests.trading.conftest import trading


async def _traded(trader, side, effect, price):
    order = await trader.create(side, effect=effect)
    await trader.becomes(order.order_id, "NEW")
    trader.engine.fill(order.order_id, 1, price)
    await trader.becomes(order.order_id, "FILLED")


async def test_what_a_position_realised_survives_its_being_flat_and_a_restart(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        await _traded(trader, "BUY", "OPEN", "4000")
        await _traded(trader, "SELL", "CLOSE", "4010")
        await _traded(trader, "BUY", "OPEN", "4000")
        assert [position.realized_pnl for position in await trader.positions()] == ["3000"]
        await _traded(trader, "SELL", "CLOSE", "3990")
    async with trading(peers=trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        await _traded(trader, "BUY", "OPEN", "4000")
        await _traded(trader, "BUY", "OPEN", "4020")
        await _traded(trader, "SELL", "CLOSE", "4011")
        assert [position.realized_pnl for position in await trader.positions()] == ["300"]
        assert (await trader.account()).realized_pnl == "300"


async def test_orders_of_a_position_that_the_venue_closed_beyond_them_hold_nothing_that_is_not_there(trader):
    for _ in range(2):
        await _traded(trader, "BUY", "OPEN", "4000")
    resting = await trader.create("SELL", 1, effect="CLOSE", price="4300")
    over = await trader.create("SELL", 1, effect="CLOSE", price="4300")
    for order in (resting, over):
        await trader.becomes(order.order_id, "NEW")
    trader.engine.fill(over.order_id, 2, "4300")
    await trader.becomes(over.order_id, "FILLED")
    await _traded(trader, "BUY", "OPEN", "4000")
    await trader.cancel(resting.order_id)
    await trader.becomes(resting.order_id, "CANCELED")
    (position,) = await trader.positions()
    assert (position.quantity, position.frozen_quantity) == ("1", "0")
