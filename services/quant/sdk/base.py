"""BaseStrategy: what a strategy of RedFire's own kind is written against."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from services.quant.sdk.broker import Broker, OrderRequest
from services.quant.sdk.events import Bar, Effect, Instrument, Interval, Order, OrderKind, Side, Tick, Trade

P = ParamSpec("P")
R = TypeVar("R")


class BaseStrategy:
    """A strategy for one symbol. Override the callbacks; each runs after the one before it has returned.

    `parameters` names the class attributes that its user may set, their values are the defaults and give the types
    (int, float, str or bool); `variables` names those that are shown, kept, and restored when it runs again:

        class Breakout(BaseStrategy):
            parameters = ["window", "quantity"]
            variables = ["high"]
            window = 20
            quantity = 1
            high = 0.0

    `position` is signed and is the sum of the strategy's own trades; it is right before `on_trade` is called.
    An order that is refused comes back by `on_order` in state REJECTED with its `reason`; nothing is raised.
    """

    parameters: Sequence[str] = ()
    variables: Sequence[str] = ()
    # The length of the bars that `on_bar` gets, made from ticks as market makes its own, at most a day; 0: none. It may
    # be one of the parameters.
    bar_seconds: int = 60

    def __init__(self, broker: Broker, name: str, symbol: str, settings: dict[str, Any]) -> None:
        self.name = name
        self.symbol = symbol
        self.position = 0.0
        self.trading = False
        self._broker = broker
        for parameter in self.parameters:
            if parameter in settings:
                setattr(self, parameter, settings[parameter])

    @classmethod
    def parameter_problems(cls, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Problems of these parameters (all of them, of the right types), by parameter.

        Asked when a strategy starts, which then ends in ERROR; of RedFire's own classes when it is created or changed.
        """
        return {}

    # What happens to it: override what you need.

    async def initialize(self) -> None:
        """Load history and prepare indicators, before the first tick. `variables` are restored after it."""

    async def start(self) -> None:
        """Trading begins: from here on orders may be sent."""

    async def stop(self) -> None:
        """Trading ends; open orders are cancelled after it."""

    async def on_tick(self, tick: Tick) -> None:
        """A tick of its symbol."""

    async def on_bar(self, bar: Bar) -> None:
        """A bar of `bar_seconds` has closed; a span in which nothing was traded has none."""

    async def on_order(self, order: Order) -> None:
        """One of its orders changed."""

    async def on_trade(self, trade: Trade) -> None:
        """One of its orders was filled, in part or whole."""

    # What it may do.

    @property
    def instrument(self) -> Instrument:
        """Price tick, contract size and quantity step of its symbol."""
        return self._broker.instrument

    async def buy(self, price: float | None, quantity: float, *, stop: bool = False) -> str:
        """Open or add to a long position; returns the client_order_id.

        `price` None: at the market. `stop`: a market order as soon as the last price reaches `price`, kept by the
        platform. When the strategy stops or runs again after a restart its open orders are cancelled.
        """
        return self._send(Side.BUY, Effect.OPEN, price, quantity, stop)

    async def sell(self, price: float | None, quantity: float, *, stop: bool = False) -> str:
        """Close a long position; arguments as `buy`."""
        return self._send(Side.SELL, Effect.CLOSE, price, quantity, stop)

    async def short(self, price: float | None, quantity: float, *, stop: bool = False) -> str:
        """Open or add to a short position; arguments as `buy`."""
        return self._send(Side.SELL, Effect.OPEN, price, quantity, stop)

    async def cover(self, price: float | None, quantity: float, *, stop: bool = False) -> str:
        """Close a short position; arguments as `buy`."""
        return self._send(Side.BUY, Effect.CLOSE, price, quantity, stop)

    async def cancel(self, client_order_id: str) -> None:
        """Cancel an order; a finished one is left alone."""
        self._broker.cancel(client_order_id)

    async def cancel_all(self) -> None:
        """Cancel all its open orders."""
        self._broker.cancel_all()

    async def load_bars(self, days: float, interval: Interval = Interval.M1) -> Sequence[Bar]:
        """Closed bars of the last days, oldest first; for `initialize`."""
        return await self._load(self._broker.load_bars, days, interval)

    async def load_ticks(self, days: float) -> Sequence[Tick]:
        """Ticks of the last days (parts of a day too), oldest first; for `initialize`."""
        return await self._load(self._broker.load_ticks, days)

    def write_log(self, message: str) -> None:
        """Write a line into the strategy's log."""
        self._broker.log(str(message))

    def put_event(self) -> None:
        """Show `variables` anew; trades and bars do so by themselves."""
        self._broker.changed()

    async def _load(self, load: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        # Live, history comes over the network: other strategies go on meanwhile. A backtest has it in memory.
        return await asyncio.to_thread(load, *args, **kwargs) if self._broker.live else load(*args, **kwargs)

    def _send(self, side: Side, effect: Effect, price: float | None, quantity: float, stop: bool) -> str:
        if not self.trading:
            return ""
        if stop and price is None:
            raise ValueError("a stop order needs the price that triggers it")
        kind = OrderKind.STOP if stop else OrderKind.MARKET if price is None else OrderKind.LIMIT
        return self._broker.send(OrderRequest(side, effect, kind, quantity, price))
