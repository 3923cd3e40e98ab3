"""Two trading days at CTP through the whole order path: engine, market, risk and trading in one process."""

from decimal import Decimal

import pytest
from redfire.common.v1 import common_pb2 as common

from tests.engine import ctp_fields as ctp
from tests.engine.ctp_fields import RB, M
from tests.waiting import until

pytestmark = pytest.mark.slow


async def test_two_trading_days(ctp_platform):
    front = ctp_platform.front
    async with ctp_platform.open():
        await ctp_platform.go("2026-11-26 20:50")
        await ctp_platform.open_account()
        assert (
            Decimal((await ctp_platform.account()).balance) == 10_000_000
        )  # the account's money is the gateway's word
        # Auction: an order rests, and nothing is matched.
        await ctp_platform.go("2026-11-26 20:56")
        await ctp_platform.quote(RB, 3100.0, 3101.0)
        await ctp_platform.quote(M, 2900.0, 2901.0)
        early = await ctp_platform.create("BUY", 2, 3101)
        await ctp_platform.becomes(early, "NEW")
        # Night: continuous trading, of the next trading day.
        await ctp_platform.go("2026-11-26 21:05")
        await ctp_platform.quote(RB, 3100.0, 3101.0)
        await ctp_platform.becomes(early, "FILLED", 2)
        parts = await ctp_platform.create("BUY", 5, 3090)
        await ctp_platform.becomes(parts, "NEW")
        front.fill(await ctp_platform.at_front(parts), 2)
        await ctp_platform.becomes(parts, "PARTIALLY_FILLED", 2)
        # A disconnect, and fills that are not delivered.
        front.disconnect()
        front.fill(await ctp_platform.at_front(parts), 1)
        front.reconnect()
        await ctp_platform.becomes(parts, "PARTIALLY_FILLED", 3)
        # DCE writes tomorrow's date on tonight's trades.
        await ctp_platform.quote(M, 2900.0, 2901.0)
        soy = await ctp_platform.create("BUY", 1, 2901, instrument=M)
        await ctp_platform.becomes(soy, "FILLED", 1)
        await ctp_platform.agree()
        assert {trade.trading_day for trade in await ctp_platform.trades()} == {20261127}
        # An order that the engine was sending when it ended.
        front.gate.clear()
        in_flight = await ctp_platform.create("BUY", 3, 3080)
        await ctp_platform.becomes(in_flight, "PENDING_NEW")
        await until(lambda: front.waiting)
    front.gate.set()
    await until(lambda: [order for order in front.orders.values() if order.price == 3080])
    sent = next(order for order in front.orders.values() if order.price == 3080)
    front.fill(sent, 1)
    async with ctp_platform.open():
        await ctp_platform.becomes(in_flight, "PARTIALLY_FILLED", 1)
        front.fill(sent, 2)
        await ctp_platform.becomes(in_flight, "FILLED", 3)
        assert len([order for order in front.orders.values() if order.price == 3080]) == 1
        # Day: the same trading day.
        await ctp_platform.go("2026-11-27 09:05")
        await ctp_platform.quote(RB, 3095.0, 3096.0)
        day = await ctp_platform.create("BUY", 1, 3050)
        await ctp_platform.becomes(day, "NEW")
        gtc = await ctp_platform.create("BUY", 1, 3060, tif="GTC")
        await ctp_platform.becomes(gtc, "NEW")
        closing = await ctp_platform.create("SELL", 2, 3095, effect="CLOSE")  # today's, though it says CLOSE
        await ctp_platform.becomes(closing, "FILLED", 2)
        await ctp_platform.agree()
        # The afternoon's end, and with it that of the trading day and of DAY orders.
        await ctp_platform.go("2026-11-27 15:20")
        await ctp_platform.go("2026-11-27 17:05")
        front.settle()
        await ctp_platform.becomes(day, "EXPIRED", timeout_s=15)
        await ctp_platform.becomes(parts, "EXPIRED", 3)
        await ctp_platform.nothing_unknown(besides={gtc.order_id})
    async with ctp_platform.open():  # Friday's night belongs to Monday
        await ctp_platform.go("2026-11-27 21:05")
        await until(ctp_platform.ready)
        await ctp_platform.quote(RB, 3110.0, 3111.0)
        assert (await ctp_platform.positions())[RB.vt_symbol, common.POSITION_SIDE_LONG] == (0, 6)
        again = await ctp_platform.create("BUY", 2, 3111)
        await ctp_platform.becomes(again, "FILLED", 2)
        await until(lambda: [order for order in front.orders.values() if order.price == 3060], 10)
        sent_again = [order for order in front.orders.values() if order.price == 3060]
        front.fill(sent_again[0], 1)
        await ctp_platform.becomes(gtc, "FILLED", 1)
        assert len(sent_again) == 1
        split = await ctp_platform.create("SELL", 8, 3110, effect="CLOSE")
        await ctp_platform.becomes(split, "FILLED", 8)
        offsets = {(o.offset, o.volume) for o in front.orders.values() if o.direction == ctp.SELL}
        assert {offset for offset, _ in offsets} == {ctp.CLOSE_TODAY, ctp.CLOSE_YESTERDAY} or len(offsets) == 2
        await ctp_platform.agree()
        assert {trade.trading_day for trade in await ctp_platform.trades()} == {20261127, 20261130}
        # Flat in the end: the account's cash is the venue's, to the cent.
        await ctp_platform.quote(M, 2910.0, 2911.0)
        for instrument, price in ((RB, 3110), (M, 2910)):
            last = await ctp_platform.create("SELL", 1, price, effect="CLOSE", instrument=instrument)
            await ctp_platform.becomes(last, "FILLED", 1)
        await ctp_platform.agree()
        assert not await ctp_platform.positions()

        async def settled():
            ctp_platform.clock.advance(1)
            return Decimal((await ctp_platform.account()).balance) == round(Decimal(str(front.account()["Balance"])), 4)

        await until(settled, 20)
        await ctp_platform.nothing_unknown()
