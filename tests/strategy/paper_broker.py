"""A broker in memory, as a backtest would bring one: the seam that strategies run behind."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from services.quant.sdk.broker import OrderRequest
from services.quant.sdk.events import (
    Bar,
    Instrument,
    Interval,
    Order,
    OrderState,
    Side,
    Tick,
    Trade,
    exchange_time,
)
from tests.strategy.fakes import START_NS


class PaperBroker:
    """Fills limit orders that cross the quote, after the callback that sent them."""

    live = True

    def __init__(self, symbol: str, closes: Sequence[float] = ()) -> None:
        self.instrument = Instrument(symbol, 0.2, 300)
        self.host: Any = None
        self.requests: list[OrderRequest] = []
        self.open: dict[str, Order] = {}
        self.trades: list[Trade] = []
        self.updates: list[Order | Trade] = []
        self.lines: list[str] = []
        self._closes = closes
        self._now = exchange_time(START_NS)
        self._count = 0

    def now(self) -> datetime:
        return self._now

    def send(self, request: OrderRequest) -> str:
        self._count += 1
        client_order_id = f"c{self._count}"
        self.requests.append(request)
        self.open[client_order_id] = Order(
            client_order_id, self.instrument.symbol, request.side, request.effect, request.kind, request.quantity,
            request.price or 0.0, OrderState.NEW, order_id=f"o{self._count}", time=self._now,
        )  # fmt: skip
        return client_order_id

    def cancel(self, client_order_id: str) -> None:
        self.open.pop(client_order_id, None)

    def cancel_all(self) -> None:
        self.open.clear()

    def load_bars(self, days: float, interval: Interval) -> Sequence[Bar]:
        start = self._now - timedelta(minutes=len(self._closes))
        return [
            Bar(self.instrument.symbol, start + timedelta(minutes=i), c, c + 1, c - 1, c, 100)
            for i, c in enumerate(self._closes)
        ]

    def load_ticks(self, days: float) -> Sequence[Tick]:
        return []

    def log(self, message: str, level: str = "INFO") -> None:
        self.lines.append(message)

    def changed(self) -> None:
        pass

    async def tick(self, tick: Tick) -> None:
        """A tick for the strategy, then the fates of its orders."""
        self._now = tick.time
        await self.host.tick(tick)
        for client_order_id, order in list(self.open.items()):
            buys = order.side is Side.BUY
            if order.price and not (order.price >= tick.ask if buys else order.price <= tick.bid):
                continue
            self.open.pop(client_order_id, None)
            price = tick.ask if buys else tick.bid
            filled = replace(order, state=OrderState.FILLED, filled=order.quantity, average_price=price)
            trade = Trade(
                f"t{len(self.trades)}", order.order_id, client_order_id, order.symbol, order.side, order.effect, price,
                order.quantity, self._now,
            )  # fmt: skip
            self.trades.append(trade)
            for event in (order, filled, trade):
                self.updates.append(event)
                await (self.host.trade(event) if isinstance(event, Trade) else self.host.order(event))
