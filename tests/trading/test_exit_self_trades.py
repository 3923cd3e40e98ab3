"""Self-trade prevention for what a group sends by itself: its exits do not meet resting orders of their owner."""

import pytest
from redfire.common.v1 import error_reason_pb2 as reasons

from tests.trading.conftest import trading
from tests.trading.fakes import SYMBOL
from tests.trading.group_orders import bracket, create, live, sent, shows
from tests.waiting import until


async def _met(trader, price, named=True):
    """A bracket whose entry rests, and an order of the same owner that its exits would meet."""
    group = await create(trader, bracket())
    entry, profit, stop = (o.order_id for o in group.orders)
    await trader.becomes(entry, "NEW")
    resting = (await trader.create(price=price)).order_id
    await trader.becomes(resting, "NEW")
    await until(lambda: trader.market.listeners)
    trader.engine.auto_cancel = False
    trader.risk.cancel_first = [resting] if named else []
    trader.risk.checks.clear()
    return entry, profit, stop, resting


async def test_a_take_profit_is_sent_when_the_order_that_it_would_meet_is_gone(trader):
    entry, profit, stop, resting = await _met(trader, "4110")
    trader.engine.fill(entry, 3, "4000")
    await shows(trader, profit, hold_reason=reasons.SELF_TRADE, quantity="3")
    await shows(trader, stop, status=2, quantity="3")
    await until(lambda: resting in trader.engine.cancels)
    assert not sent(trader, profit)
    assert [(check.order_id, check.triggered) for check in trader.risk.checks] == [(profit, True)]
    trader.engine.update(resting, "CANCELED")
    await until(lambda: sent(trader, profit))
    assert sent(trader, profit) == [(profit, "3")]
    await shows(trader, profit, hold_reason=0)
    assert (await trader.becomes(resting, "CANCELED")).reject_reason == reasons.SELF_TRADE


async def test_a_stop_that_triggers_is_sent_when_the_orders_that_it_would_meet_are_gone(trader):
    entry, profit, stop, resting = await _met(trader, "3880")
    trader.engine.fill(entry, 3, "4000")
    await until(lambda: live(trader, profit) == 3)
    trader.market.price(SYMBOL, 3899.0)
    await until(lambda: {profit, resting} <= set(trader.engine.cancels))
    trader.engine.update(profit, "CANCELED")
    await shows(trader, stop, hold_reason=reasons.SELF_TRADE)
    assert not sent(trader, stop)
    trader.engine.update(resting, "CANCELED")
    await until(lambda: sent(trader, stop))
    assert sent(trader, stop) == [(stop, "3")]


async def test_what_an_exit_grows_by_waits_and_what_rests_of_it_stays(trader):
    entry, profit, _, resting = await _met(trader, "3880")
    trader.engine.fill(entry, 1, "4000")
    await until(lambda: live(trader, profit) == 1)
    trader.risk.cancel_first = []
    second = (await trader.create(price="4110")).order_id
    await trader.becomes(second, "NEW")
    trader.risk.cancel_first = [second]
    trader.engine.fill(entry, 2, "4000")
    await shows(trader, profit, hold_reason=reasons.SELF_TRADE)
    assert live(trader, profit) == 1
    trader.engine.update(second, "CANCELED")
    await until(lambda: live(trader, profit) == 3)
    assert resting not in trader.engine.cancels


@pytest.mark.parametrize("down", [False, True])
async def test_where_nothing_is_prevented_or_risk_does_not_answer_the_exit_is_sent(trader, down):
    entry, profit, _, resting = await _met(trader, "4110", named=False)
    trader.risk.down = down
    trader.engine.fill(entry, 1, "4000")
    await until(lambda: live(trader, profit) == 1)
    trader.engine.fill(entry, 2, "4000")
    await until(lambda: live(trader, profit) == 3)
    assert not trader.engine.cancels and (await trader.get(resting)).status == 2
    # It is asked once about the same order.
    assert len(trader.risk.checks) == 1


async def test_an_exit_that_waits_goes_on_after_a_restart(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        entry, profit, _, resting = await _met(trader, "4110")
        trader.engine.fill(entry, 3, "4000")
        await shows(trader, profit, hold_reason=reasons.SELF_TRADE)
        await until(lambda: resting in trader.engine.cancels)
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        await shows(trader, profit, hold_reason=reasons.SELF_TRADE)
        assert not sent(trader, profit)
        trader.engine.update(resting, "CANCELED")
        await until(lambda: live(trader, profit) == 3)


async def test_a_closing_stop_of_its_own_waits_the_same_way_and_takes_what_is_there_then(trader):
    held = await trader.create(quantity=3)
    await trader.becomes(held.order_id, "NEW")
    trader.engine.fill(held.order_id, 3, "4000")
    await trader.becomes(held.order_id, "FILLED")
    stop = await trader.create("SELL", 3, type="STOP", stop_price="3900", effect="UNSPECIFIED", reduce_only=True)
    resting = await trader.create(price="3880")
    await trader.becomes(resting.order_id, "NEW")
    await until(lambda: trader.market.listeners)
    trader.engine.auto_cancel, trader.risk.cancel_first = False, [resting.order_id]
    trader.market.price(SYMBOL, 3899.0)
    await shows(trader, stop.order_id, hold_reason=reasons.SELF_TRADE)
    await until(lambda: resting.order_id in trader.engine.cancels)
    assert not sent(trader, stop.order_id)
    trader.engine.update(resting.order_id, "CANCELED")
    await until(lambda: sent(trader, stop.order_id))
    assert sent(trader, stop.order_id) == [(stop.order_id, "3")]
    await shows(trader, stop.order_id, hold_reason=0)
