"""Positions of a LIVE account at CTP that RedFire did not open: from yesterday, by hand, while it was down."""

from decimal import Decimal

import pytest
from redfire.common.v1 import common_pb2 as common

from services.trading.venue import position_adjustments
from tests.engine import ctp_fields as ctp
from tests.engine.ctp_fields import RB, M
from tests.waiting import until

pytestmark = pytest.mark.slow

LONG, SHORT = common.POSITION_SIDE_LONG, common.POSITION_SIDE_SHORT


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(position_adjustments, "SETTLES_S", 1.0)


def yesterdays(front, instrument, direction, quantity, price):
    held = front.books.holdings[instrument.symbol, direction]
    held.yesterday, held.cost = quantity, float(quantity * price * instrument.size)


async def holds(ctp_platform, positions):
    """The account holds these (today's, yesterday's), which the front does, too; and nothing differs."""

    async def reached():
        ctp_platform.clock.advance(0.5)  # one query a second
        front = {
            (ctp_platform.front.instruments[symbol].vt_symbol, LONG if direction == ctp.BUY else SHORT): (
                h.today,
                h.yesterday,
            )
            for (symbol, direction), h in ctp_platform.front.books.holdings.items()
            if h.today + h.yesterday
        }
        ctp_platform.seen = await ctp_platform.positions(), front
        return ctp_platform.seen == (positions, positions)

    try:
        await until(reached, 30)
    except AssertionError:
        raise AssertionError(f"books and venue: {ctp_platform.seen}") from None


async def counting(ctp_platform):
    return [trade for trade in await ctp_platform.trades() if not trade.busted]


async def sums(ctp_platform):
    """Positions are the sum of the trades that count."""
    positions = {}
    for trade in await counting(ctp_platform):
        opens = trade.position_effect == common.POSITION_EFFECT_OPEN
        side = LONG if (trade.side == common.SIDE_BUY) == opens else SHORT
        quantity = Decimal(trade.quantity) if opens else -Decimal(trade.quantity)
        positions[trade.symbol, side] = positions.get((trade.symbol, side), 0) + quantity
    assert {key: value for key, value in positions.items() if value} == {
        key: sum(parts) for key, parts in (await ctp_platform.positions()).items()
    }


async def flat_with_the_venues_cash(ctp_platform):
    async def settled():
        ctp_platform.clock.advance(1)
        return Decimal((await ctp_platform.account()).balance) == round(
            Decimal(str(ctp_platform.front.account()["Balance"])), 4
        )

    await until(settled, 30)


async def test_yesterdays_positions_and_hand_trades_are_the_accounts(ctp_platform):
    front = ctp_platform.front
    yesterdays(front, RB, ctp.BUY, 3, 3050)
    yesterdays(front, M, ctp.SELL, 2, 2950)
    await ctp_platform.go("2026-11-26 21:05")
    async with ctp_platform.open():
        await ctp_platform.open_account()
        await ctp_platform.quote(RB, 3100.0, 3101.0)
        await ctp_platform.quote(M, 2900.0, 2901.0)
        await holds(ctp_platform, {(RB.vt_symbol, LONG): (0, 3), (M.vt_symbol, SHORT): (0, 2)})
        taken = await counting(ctp_platform)
        assert {(t.symbol, t.price, t.commission, t.order_id) for t in taken} == {
            (RB.vt_symbol, "3050", "0", ""), (M.vt_symbol, "2950", "0", "")
        }  # fmt: skip
        # A hand trade at the broker: at once.
        front.external(RB, ctp.BUY, ctp.OPEN, 3101.0, 1)
        await until(lambda: _held(ctp_platform, RB, LONG, (1, 3)))
        # What is held is closed as CTP wants it: yesterday's and today's by orders of their own.
        order = await ctp_platform.create("SELL", 4, 3100, effect="CLOSE")
        await ctp_platform.becomes(order, "FILLED", 4)
        await holds(ctp_platform, {(M.vt_symbol, SHORT): (0, 2)})
        await sums(ctp_platform)
    # While RedFire is down: a position is closed by hand, another one opened.
    front.external(M, ctp.BUY, ctp.CLOSE, 2901.0, 1)
    front.external(RB, ctp.SELL, ctp.OPEN, 3100.0, 1)
    async with ctp_platform.open():
        await ctp_platform.quote(RB, 3090.0, 3091.0)
        await ctp_platform.quote(M, 2890.0, 2891.0)
        await holds(ctp_platform, {(M.vt_symbol, SHORT): (0, 1), (RB.vt_symbol, SHORT): (1, 0)})
        await sums(ctp_platform)
        assert len([t for t in await counting(ctp_platform) if t.venue_trade_id.startswith("adjustment:")]) == 2
        for instrument, price in ((M, 2891), (RB, 3091)):
            order = await ctp_platform.create("BUY", 1, price, effect="CLOSE", instrument=instrument)
            await ctp_platform.becomes(order, "FILLED", 1)
        await holds(ctp_platform, {})
        await flat_with_the_venues_cash(ctp_platform)


async def test_a_position_closed_by_hand_over_a_night_that_redfire_missed_leaves_the_books(ctp_platform):
    front = ctp_platform.front
    await ctp_platform.go("2026-11-26 21:05")
    async with ctp_platform.open():
        await ctp_platform.open_account()
        await ctp_platform.quote(RB, 3100.0, 3101.0)
        order = await ctp_platform.create("BUY", 2, 3101)
        await ctp_platform.becomes(order, "FILLED", 2)
        await holds(ctp_platform, {(RB.vt_symbol, LONG): (2, 0)})
    await ctp_platform.go("2026-11-27 10:00")
    front.external(RB, ctp.SELL, ctp.CLOSE_TODAY, 3100.0, 2)  # the night's quote still stands
    front.settle()
    await ctp_platform.go("2026-11-30 10:00")
    front.settle()
    del front.books.holdings["rb2701", ctp.BUY]  # reported no more
    async with ctp_platform.open():
        await ctp_platform.quote(RB, 3150.0, 3151.0)
        await holds(ctp_platform, {})
        await sums(ctp_platform)
        await flat_with_the_venues_cash(ctp_platform)
        trades = await counting(ctp_platform)
        assert {(trade.side, trade.quantity) for trade in trades} == {(common.SIDE_BUY, "2"), (common.SIDE_SELL, "2")}


async def test_a_fill_that_is_reported_after_its_position_was_taken_over_is_booked_once(ctp_platform):
    front = ctp_platform.front
    await ctp_platform.go("2026-11-26 21:05")
    async with ctp_platform.open():
        await ctp_platform.open_account()
        await ctp_platform.quote(RB, 3100.0, 3101.0)
        order = await ctp_platform.create("BUY", 3, 3090)
        await ctp_platform.becomes(order, "NEW")
        front.lost = {"order", "trade"}
        front.fill(await ctp_platform.at_front(order), 2)
        front.fill(front.external(RB, ctp.BUY, ctp.OPEN, 3080.0, 1), 1)
        await holds(ctp_platform, {(RB.vt_symbol, LONG): (3, 0)})
        (taken,) = await counting(ctp_platform)
        assert taken.venue_trade_id.startswith("adjustment:")
        front.lost = set()
        front.disconnect()
        front.reconnect()  # the day's flow comes again, and with it what was lost
        await ctp_platform.becomes(order, "PARTIALLY_FILLED", 2)

        async def replaced():
            return sorted((t.quantity, t.order_id) for t in await counting(ctp_platform)) == [
                ("1", ""),
                ("2", order.order_id),
            ]

        await until(replaced, 10)
        await holds(ctp_platform, {(RB.vt_symbol, LONG): (3, 0)})
        await sums(ctp_platform)
        front.fill(await ctp_platform.at_front(order), 1)
        await ctp_platform.becomes(order, "FILLED", 3)
        await holds(ctp_platform, {(RB.vt_symbol, LONG): (4, 0)})
        await sums(ctp_platform)


async def _held(ctp_platform, instrument, side, parts):
    return (await ctp_platform.positions()).get((instrument.vt_symbol, side)) == parts
