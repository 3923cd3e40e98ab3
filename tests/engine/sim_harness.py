"""The simulated exchange without its database."""

from datetime import UTC, datetime
from decimal import Decimal as D

from services.engine.feeds.quote import Quote
from services.engine.settings import EngineSettings
from services.engine.sim.exchange import SimExchange
from services.engine.updates import (
    OrderRequest,
    OrderType,
    OrderUpdate,
    PositionEffect,
    Side,
    TimeInForce,
    TradeUpdate,
)
from services.kernel.clock import ManualClock
from services.quant.catalogue import Catalogue

SYMBOL = "IF2612.CFFEX"


TODAY = 20261123


class FakeStore:
    """Keeps published updates, in order."""

    def __init__(self) -> None:
        self.published = []
        self.state = {}

    def order(self, order, update):
        self.published.append(update)

    def trade(self, venue_trade_id, venue_order_id, trade):
        assert trade.venue_trade_id == str(venue_trade_id)
        self.published.append(trade)

    def position(self, position):
        self.published.append(position)

    def publish(self, update):
        self.published.append(update)

    def put_state(self, key, value):
        self.state[key] = value


class Harness:
    """An exchange, its market, and short words for orders."""

    def __init__(self, **settings) -> None:
        self.clock = ManualClock(datetime(2026, 11, 23, 2, 0, tzinfo=UTC))
        self.store = FakeStore()
        self.settings = EngineSettings(**settings)
        self.exchange = SimExchange("SIM", Catalogue.load(), self.store, self.clock, lambda: self.settings)
        self.number = 0

    def quote(self, bid=4500.0, ask=4500.2, shown=5, day=TODAY, levels=1):
        quote = Quote(
            SYMBOL,
            self.clock.now_ns(),
            day,
            bid,
            0,
            0,
            0,
            0,
            bid,
            bid,
            bid,
            bid,
            4950.0,
            4050.0,
            [(round(bid - 0.2 * i, 1), shown) for i in range(levels)],
            [(round(ask + 0.2 * i, 1), shown) for i in range(levels)],
        )
        self.exchange.quote(quote)

    def send(self, side="BUY", quantity="1", price=None, tif="DAY", effect="OPEN", expire=None) -> int:
        self.number += 1
        request = OrderRequest(
            "SIM",
            f"o{self.number}",
            "a",
            SYMBOL,
            Side(side),
            OrderType.LIMIT if price else OrderType.MARKET,
            TimeInForce(tif),
            PositionEffect(effect),
            D(quantity),
            D(price) if price else None,
            expire,
        )
        venue_order_id = self.exchange.new_id()
        self.exchange.send(request, venue_order_id)
        return venue_order_id

    def last(self, venue_order_id) -> OrderUpdate:
        return self.orders(venue_order_id)[-1]

    def orders(self, venue_order_id) -> list[OrderUpdate]:
        return [
            u for u in self.store.published if isinstance(u, OrderUpdate) and u.venue_order_id == str(venue_order_id)
        ]

    def fills(self, venue_order_id) -> list[tuple[D, D]]:
        trades = [u for u in self.store.published if isinstance(u, TradeUpdate)]
        return [(t.price, t.quantity) for t in trades if t.venue_order_id == str(venue_order_id)]
