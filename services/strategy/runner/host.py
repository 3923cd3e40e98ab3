"""A strategy of either kind as the runner sees it, and the native kind."""

from typing import Any, Protocol

from services.quant.sdk.bar_builder import BarBuilder
from services.quant.sdk.base import BaseStrategy
from services.quant.sdk.broker import Broker
from services.quant.sdk.events import Bar, Order, Tick, Trade
from services.quant.sdk.guard import Guard
from services.quant.sdk.values import plain, restored
from services.strategy.runner.feeds import FeedEvent, TicksLost, TimePassed


class Host(Protocol):
    """Runs one strategy: calls its callbacks in the right order and state. What user code raises passes through."""

    @property
    def position(self) -> float:
        """Signed, the sum of its trades."""

    def set_position(self, position: float) -> None:
        """The position it begins with: the sum of its trades so far."""

    async def initialize(self, variables: dict[str, Any] | None) -> None:
        """Initialise it; then give its variables the values of an earlier run."""

    async def start(self) -> None:
        """Trading begins."""

    async def stop(self) -> None:
        """Trading ends; it may still cancel, but no longer send."""

    async def tick(self, tick: Tick) -> None:
        """A tick of its symbol."""

    @property
    def makes_bars(self) -> bool:
        """True when it makes bars, to which `feed_event` matters."""

    async def feed_event(self, event: FeedEvent) -> None:
        """Time passed, ticks were lost, or the feed ended: in its place between the ticks."""

    async def order(self, order: Order) -> None:
        """One of its orders changed."""

    async def trade(self, trade: Trade) -> None:
        """One of its orders was filled: adds to the position, then calls its callback."""

    def variables(self) -> dict[str, Any]:
        """The values of its variables, as JSON has them."""


class NativeHost:
    """Runs a BaseStrategy."""

    def __init__(self, strategy: BaseStrategy, broker: Broker, guard: Guard) -> None:
        self._strategy = strategy
        self._broker = broker
        self._guard = guard
        self._bars: BarBuilder | None = None
        self._initialized = False

    @property
    def position(self) -> float:
        """Signed, the sum of its trades."""
        return self._strategy.position

    def set_position(self, position: float) -> None:
        """The position it begins with."""
        self._strategy.position = position

    async def initialize(self, variables: dict[str, Any] | None) -> None:
        """Initialise it, restore its variables."""
        strategy = self._strategy
        await self._guard.run("parameters", self._check_parameters)
        await self._guard.run("initialize", strategy.initialize)
        for name in strategy.variables:
            if variables and name in variables:
                setattr(strategy, name, restored(getattr(strategy, name, None), variables[name]))
        self._bars = BarBuilder(int(strategy.bar_seconds)) if strategy.bar_seconds else None
        self._initialized = True

    async def _check_parameters(self) -> None:
        values = {name: getattr(self._strategy, name) for name in self._strategy.parameters}
        if problems := self._strategy.parameter_problems(values):
            raise ValueError("; ".join(problems.values()))

    async def start(self) -> None:
        """Trading begins."""
        self._strategy.trading = True
        await self._guard.run("start", self._strategy.start)

    async def stop(self) -> None:
        """Trading ends."""
        try:
            await self._guard.run("stop", self._strategy.stop)
        finally:
            self._strategy.trading = False

    async def tick(self, tick: Tick) -> None:
        """The tick, then the bar that it closed."""
        await self._guard.run("on_tick", self._strategy.on_tick, tick)
        if self._bars is not None and (bar := self._bars.add(tick)) is not None:
            await self._on_bar(bar)

    @property
    def makes_bars(self) -> bool:
        """True when it makes bars."""
        return self._bars is not None

    async def feed_event(self, event: FeedEvent) -> None:
        """The bars that close by it."""
        if self._bars is None:
            return
        if isinstance(event, TicksLost):
            self._bars.lose(event.epoch, self._strategy.symbol, event.sequence)
            return
        if isinstance(event, TimePassed):
            closed = self._bars.pass_time(event.epoch, event.watermarks_ns, event.symbol_watermarks_ns)
        else:
            closed = self._bars.end()
        for bar in closed:
            await self._on_bar(bar)

    async def _on_bar(self, bar: Bar) -> None:
        await self._guard.run("on_bar", self._strategy.on_bar, bar)
        self._broker.changed()

    async def order(self, order: Order) -> None:
        """One of its orders changed."""
        if self._initialized:
            await self._guard.run("on_order", self._strategy.on_order, order)

    async def trade(self, trade: Trade) -> None:
        """One of its orders was filled."""
        self._strategy.position += trade.signed_quantity
        if self._initialized:
            await self._guard.run("on_trade", self._strategy.on_trade, trade)
        self._broker.changed()

    def variables(self) -> dict[str, Any]:
        """The values of its variables."""
        return {name: plain(getattr(self._strategy, name, None)) for name in self._strategy.variables}
