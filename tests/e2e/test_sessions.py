"""A platform that keeps the exchanges' hours: what the calendar says, SIM and trading do."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.running import Running

SYMBOLS = ("rb2701.SHFE", "IF2612.CFFEX", "au2702.SHFE")


@pytest.fixture(scope="module")
def kept() -> Iterator[Running]:
    with Running("--feed", "sim:7", env={"REDFIRE_TRADING__ENFORCE_SESSIONS": "true"}) as running:
        yield running


def test_orders_are_taken_in_sessions_and_refused_outside(kept):
    trader = kept.register("t" + uuid4().hex[:12])

    def state(symbol: str) -> str:
        return trader.get(f"/api/market/sessions/{symbol}").json()["session"]["state"]

    for symbol in SYMBOLS:
        before = state(symbol)
        order = {
            "clientOrderId": uuid4().hex,
            "symbol": symbol,
            "side": "SIDE_BUY",
            "type": "ORDER_TYPE_LIMIT",
            "positionEffect": "POSITION_EFFECT_OPEN",
            "quantity": "1",
            "price": "100",
        }
        answer = trader.post("/api/trading/orders", order).json()
        if state(symbol) != before:
            continue  # the session changed in between
        closed = before in ("SESSION_STATE_BREAK", "SESSION_STATE_CLOSED")
        reasons = [detail.get("reason") for detail in answer.get("details", ())]
        assert ("MARKET_CLOSED" in reasons) == closed, (symbol, before, answer)
        if before != "SESSION_STATE_OPEN":
            assert trader.get(f"/api/market/ticks/{symbol}").status_code == 404
