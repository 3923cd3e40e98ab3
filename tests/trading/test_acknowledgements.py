"""Acknowledgements that come at once are booked in one step of their user; what else comes with them in its turn."""

import asyncio

import pytest

from services.trading.venue import report_handler
from tests.trading.conftest import Client, trading
from tests.waiting import until


@pytest.fixture
def booked(monkeypatch):
    """Numbers of acknowledgements that were booked in one step."""
    real, numbers = report_handler.ReportHandler._acknowledge, []

    def noting(self, events):
        number = real(self, events)
        if number:
            numbers.append(number)
        return number

    monkeypatch.setattr(report_handler.ReportHandler, "_acknowledge", noting)
    return numbers


async def sent(trader, count):
    """Orders that the venue has and has not acknowledged."""
    trader.engine.ack = False
    orders = await asyncio.gather(*(trader.create() for _ in range(count)))
    await until(lambda: len(trader.engine.sends) >= count)
    return [order.order_id for order in orders]


async def statuses(trader, ids):
    return {(await trader.get(order_id)).status for order_id in ids}


async def test_acknowledgements_of_one_user_are_one_step(trader, booked):
    ids = await sent(trader, 5)
    for order_id in ids:
        trader.engine.update(order_id, "NEW")
    for order_id in ids:
        await trader.becomes(order_id, "NEW")
    assert booked == [5]
    assert len({(await trader.get(order_id)).update_time.ToNanoseconds() for order_id in ids}) == 1


async def test_each_users_acknowledgements_are_steps_of_their_own(trader, booked):
    other = Client(trader.platform, trader.platform.identity())
    other.engine = trader.engine
    mine = await sent(trader, 2)
    theirs = [order_id for order_id in (await sent(other, 4)) if order_id not in mine][:4]
    for order_id in (*mine, *theirs):
        trader.engine.update(order_id, "NEW")
    for client, ids in ((trader, mine), (other, theirs)):
        for order_id in ids:
            await client.becomes(order_id, "NEW")
    assert sorted(booked) == [2, len(theirs)]


async def test_a_fill_between_acknowledgements_is_booked_in_its_turn(trader, booked):
    ids = await sent(trader, 4)
    trader.engine.update(ids[0], "NEW")
    trader.engine.update(ids[1], "NEW")
    trader.engine.fill(ids[1], 1, "4000")
    trader.engine.update(ids[2], "NEW")
    trader.engine.update(ids[3], "CANCELED")
    await trader.becomes(ids[1], "FILLED")
    await trader.becomes(ids[3], "CANCELED")
    for order_id in (ids[0], ids[2]):
        await trader.becomes(order_id, "NEW")
    assert booked == [2] and len(await trader.trades()) == 1


async def test_one_that_cannot_be_booked_does_not_hold_up_the_others(booked, monkeypatch):
    async with trading(unknown_grace_s=60) as trader:
        ids = await sent(trader, 4)
        real = report_handler.apply_order_report

        def fails(cache, order, report, *rest):
            if order.order_id == ids[1]:
                raise ValueError("an internal error")
            real(cache, order, report, *rest)

        monkeypatch.setattr(report_handler, "apply_order_report", fails)
        for order_id in ids:
            trader.engine.update(order_id, "NEW")
        for order_id in (ids[0], ids[2], ids[3]):
            await trader.becomes(order_id, "NEW", timeout_s=20)
        assert not booked
