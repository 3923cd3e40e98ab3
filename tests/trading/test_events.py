"""Events of trading, as others hear them: of accounts, orders, trades and positions."""

from tests.heard_events import HeardEvents
from tests.trading.fakes import SYMBOL
from tests.waiting import until


async def test_an_order_from_its_account_to_a_bust_is_published_in_order(trader):
    heard = HeardEvents(trader.platform)
    order = await trader.create(quantity=2, price="4000")
    await trader.becomes(order.order_id, "NEW")
    trader.engine.fill(order.order_id, 2, "4000", "t1")
    await trader.becomes(order.order_id, "FILLED")
    venue = trader.engine.orders[order.order_id]
    bust = {
        "gateway_name": "SIM", "order_id": order.order_id, "venue_order_id": venue.venue_order_id, "kind": 2,
        "venue_trade_id": "t1", "symbol": SYMBOL,
    }  # fmt: skip
    trader.engine.emit(trade=bust)
    await until(lambda: "trading.trade_busted" in heard.keys and heard.keys.count("trading.position_changed") == 2)
    steps = ["trading.account_opened", "trading.order_accepted", "trading.order_filled", "trading.trade_busted"]
    assert [key for key in heard.keys if key in steps] == steps
    (opened,), (accepted,), (filled,), (busted,) = (heard.of(key) for key in steps)
    assert (opened.user_id, opened.kind, opened.currency) == (trader.user.user_id, "ACCOUNT_KIND_PAPER", "CNY")
    assert (accepted.client_order_id, accepted.side, accepted.quantity) == (order.client_order_id, "SIDE_BUY", "2")
    assert (filled.account_id, filled.symbol, filled.price) == (order.account_id, SYMBOL, "4000")
    assert (busted.order_id, busted.trade_id) == (order.order_id, filled.trade_id)
    positions = heard.of("trading.position_changed")
    assert [(p.side, p.quantity) for p in positions] == [("POSITION_SIDE_LONG", "2"), ("POSITION_SIDE_LONG", "0")]
    assert positions[0].average_price == "4000"
    (finished, *_) = heard.of("trading.order_finished")
    assert (finished.status, finished.filled_quantity) == ("ORDER_STATUS_FILLED", "2")
