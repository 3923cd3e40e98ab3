"""The strategy that ships with RedFire and trades in its demo."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from services.quant.sdk.base import BaseStrategy
from services.quant.sdk.events import Bar, Order, Tick, Trade

SECONDS_A_DAY = 86_400


class MovingAverageStrategy(BaseStrategy):
    """Long while the fast moving average of closes is above the slow one, short while it is below.

    Its bars last `bar_seconds` (2 by default), so that on a feed of several ticks a second it has seen enough after
    40 s; recorded ticks warm it up at once. It crosses the spread, `slip_ticks` price ticks beyond the best quote.
    """

    parameters = ("fast_window", "slow_window", "bar_seconds", "quantity", "slip_ticks")
    variables = ("fast_average", "slow_average", "target")

    fast_window = 10
    slow_window = 20
    bar_seconds = 2
    quantity = 1
    slip_ticks = 2

    fast_average = 0.0
    slow_average = 0.0
    target = 0

    @classmethod
    def parameter_problems(cls, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Windows that cannot cross, and bars or orders of nothing."""
        fast, slow = parameters["fast_window"], parameters["slow_window"]
        problems = {
            name: f"{name} must be at least 1"
            for name in ("fast_window", "bar_seconds", "quantity")
            if parameters[name] < 1
        }
        if fast >= slow:
            problems["slow_window"] = f"slow_window must be more than fast_window, {slow} is not more than {fast}"
        return problems

    async def initialize(self) -> None:
        """Fill the window from recorded ticks, as far as there are any."""
        self._closes: deque[float] = deque(maxlen=self.slow_window)
        self._tick: Tick | None = None
        self._working: set[str] = set()
        warm_up_s = (self.slow_window + 1) * self.bar_seconds
        closes: dict[int, float] = {}
        for tick in await self.load_ticks(warm_up_s / SECONDS_A_DAY):
            closes[tick.time_ns // 1_000_000_000 // self.bar_seconds] = tick.last_price
        self._closes.extend(closes.values())

    async def on_tick(self, tick: Tick) -> None:
        """Remember the quote."""
        self._tick = tick

    async def on_bar(self, bar: Bar) -> None:
        """Compare the averages and move to the side that they say."""
        self._closes.append(bar.close)
        if len(self._closes) < self.slow_window:
            return
        closes = list(self._closes)
        self.fast_average = sum(closes[-self.fast_window :]) / self.fast_window
        self.slow_average = sum(closes) / self.slow_window
        if self.fast_average != self.slow_average:
            self.target = self.quantity if self.fast_average > self.slow_average else -self.quantity
        # An order that did not fill within a bar is too far from the market by now.
        await self.cancel_all()
        await self._move()

    async def on_order(self, order: Order) -> None:
        """Take the next step when an order is finished; a refused one waits for the next bar."""
        if not order.is_open:
            self._working.discard(order.client_order_id)

    async def on_trade(self, trade: Trade) -> None:
        """Closing is half of a turn: go on to the other side."""
        if self.position == 0:
            self._working.clear()
            await self._move()

    async def _move(self) -> None:
        """Close first, then open: one order at a time."""
        if self._working or self._tick is None or not self.target or self.position == self.target:
            return
        slip = self.slip_ticks * self.instrument.price_tick
        up, down = self._tick.ask + slip, self._tick.bid - slip
        up = min(up, self._tick.limit_up or up)
        down = max(down, self._tick.limit_down or down)
        missing = self.target - self.position
        if missing > 0:
            order = await (self.cover(up, -self.position) if self.position < 0 else self.buy(up, missing))
        else:
            order = await (self.sell(down, self.position) if self.position > 0 else self.short(down, -missing))
        if order:
            self._working.add(order)
