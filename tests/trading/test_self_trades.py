"""Self-trade prevention: the resting order goes first, and the new one only when that is certain."""

from redfire.common.v1 import error_reason_pb2 as reasons

from tests.trading.conftest import trading
from tests.waiting import until


async def resting(trader):
    order = await trader.create("SELL", price="4010")
    await trader.becomes(order.order_id, "NEW")
    trader.risk.cancel_first = [order.order_id]
    return order.order_id


async def test_a_new_order_is_sent_when_the_resting_one_is_gone(trader):
    old = await resting(trader)
    trader.engine.auto_cancel = False
    new = await trader.create(price="4010")
    assert new.hold_reason == reasons.SELF_TRADE
    await until(lambda: old in trader.engine.cancels)
    assert len(trader.engine.sends) == 1
    trader.engine.update(old, "CANCELED")
    await trader.becomes(new.order_id, "NEW")
    done = await trader.becomes(old, "CANCELED")
    assert done.reject_reason == reasons.SELF_TRADE
    assert not (await trader.get(new.order_id)).hold_reason


async def test_an_order_that_waits_too_long_is_refused_and_never_sent(trader, monkeypatch):
    monkeypatch.setattr("services.trading.emulation.self_trade_prevention.LONGEST_WAIT_S", 0.2)
    await resting(trader)
    trader.engine.auto_cancel = False
    new = await trader.create(price="4010")
    done = await trader.becomes(new.order_id, "REJECTED")
    assert done.reject_reason == reasons.SELF_TRADE and len(trader.engine.sends) == 1


async def test_the_wait_goes_on_after_a_restart(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        old = await resting(trader)
        trader.engine.auto_cancel = False
        new = await trader.create(price="4010")
    trader.engine.update(old, "CANCELED", silent=True)
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        await trader.becomes(new.order_id, "NEW")
        assert len(trader.engine.sends) == 2


async def test_an_order_that_waits_can_be_canceled(trader):
    old = await resting(trader)
    trader.engine.auto_cancel = False
    new = await trader.create(price="4010")
    assert (await trader.cancel(new.order_id)).status == 6
    trader.engine.update(old, "CANCELED")
    await trader.becomes(old, "CANCELED")
    assert len(trader.engine.sends) == 1
