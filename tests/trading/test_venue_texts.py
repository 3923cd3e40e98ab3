"""Venues' texts are written whatever they are: longer than a column, or with what PostgreSQL does not take."""

import pytest

from services.trading.peers.venue_texts import MOST_OF_TRADE_ID, clean, fitted
from tests.trading.conftest import trading
from tests.trading.fakes import SYMBOL
from tests.waiting import until

LONG = "trade-" + "9" * 300


def test_a_long_id_is_cut_to_one_of_its_own_and_a_short_one_stays():
    assert fitted("t1", MOST_OF_TRADE_ID) == "t1" and clean("a\0b") == "ab"
    one, other = fitted(LONG, MOST_OF_TRADE_ID), fitted(LONG + "0", MOST_OF_TRADE_ID)
    assert len(one) == len(other) == MOST_OF_TRADE_ID and one != other and one == fitted(LONG, MOST_OF_TRADE_ID)


@pytest.mark.parametrize("both_databases", ["postgresql"], indirect=True)
@pytest.mark.slow
async def test_long_and_strange_texts_of_a_venue_are_booked_once_on_postgresql(both_databases):
    async with trading() as trader:
        order = await trader.create(quantity=3)
        await trader.becomes(order.order_id, "NEW")
        trade = trader.engine.fill(order.order_id, 1, "4000", LONG)
        await trader.becomes(order.order_id, "PARTIALLY_FILLED")
        trader.engine.emit(trade=trade)  # the same again
        trader.engine.fill(order.order_id, 1, "4000", LONG + "0")
        trader.engine.emit(
            order={
                "gateway_name": "SIM", "venue_order_id": "x\0" * 90, "symbol": "S" * 60 + ".CFFEX", "quantity": "1",
                "status": 2, "message": "no\0way",
            }
        )  # fmt: skip
        trader.engine.update(order.order_id, "CANCELED", message="the venue\0says " + "no" * 500)
        done = await trader.becomes(order.order_id, "CANCELED")
        assert done.cumulative_quantity == "2" and "\0" not in done.reject_message
        assert len(await trader.trades()) == 2
        again = await trader.create(symbol=SYMBOL)
        await trader.becomes(again.order_id, "NEW")
        await until(lambda: not trader.platform.host.lifecycle.waiting_for("trading"))
