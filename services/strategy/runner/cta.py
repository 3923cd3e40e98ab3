"""vnpy's CtaTemplate, unchanged: the engine that such a strategy calls, and the host that runs it.

The engine is written after vnpy_ctastrategy's CtaEngine, what it promises to strategies and in which order; where
orders go and where time and history come from is the broker's business, so a backtest may drive the same engine.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from vnpy.trader.constant import Direction, Interval, Offset
from vnpy.trader.object import BarData, TickData
from vnpy_ctastrategy.base import STOPORDER_PREFIX, EngineType, StopOrder, StopOrderStatus
from vnpy_ctastrategy.template import CtaTemplate

from services.quant.sdk.broker import Broker, OrderRequest
from services.quant.sdk.events import Order, OrderKind, Tick, Trade
from services.quant.sdk.guard import Guard
from services.quant.sdk.rounding import to_step
from services.quant.sdk.values import plain, restored
from services.strategy.runner.feeds import FeedEvent
from services.strategy.runner.vnpy_objects import GATEWAY, INTERVALS, VnpyObjects, effect_of, side_of

# How far through the market a triggered stop is priced.
_THROUGH = 0.02
# The engine's own: shown like the others, never restored.
_STATE = ("inited", "trading", "pos")


class CtaEngine:
    """The engine of one CtaTemplate strategy: everything that vnpy's strategies call on `cta_engine`."""

    def __init__(self, broker: Broker, guard: Guard) -> None:
        self._broker = broker
        self._guard = guard
        self._objects = VnpyObjects(broker.instrument.symbol)
        self._stop_orders: dict[str, StopOrder] = {}
        self._stop_count = 0
        self._lock_logged = False

    # What strategies call.

    def send_order(
        self,
        strategy: CtaTemplate,
        direction: Direction,
        offset: Offset,
        price: float,
        volume: float,
        stop: bool,
        lock: bool,
        net: bool,
    ) -> list[str]:
        """Send a limit order, or keep a local stop order; returns the ids at once."""
        instrument = self._broker.instrument
        price = float(to_step(price, instrument.price_tick))
        volume = float(to_step(volume, instrument.quantity_step))
        if (lock or net) and not self._lock_logged:
            self._lock_logged = True
            self.write_log("lock and net are not supported: orders open and close as they say", strategy)
        if stop:
            return [self._keep_stop(strategy, direction, offset, price, volume, lock, net)]
        return [self._send_limit(direction, offset, price, volume)]

    def cancel_order(self, strategy: CtaTemplate, vt_orderid: str) -> None:
        """Cancel an order of either kind; one that is finished is left alone."""
        if not vt_orderid.startswith(STOPORDER_PREFIX):
            self._broker.cancel(vt_orderid.removeprefix(f"{GATEWAY}."))
        elif stop_order := self._stop_orders.pop(vt_orderid, None):
            stop_order.status = StopOrderStatus.CANCELLED
            strategy.on_stop_order(stop_order)

    def cancel_all(self, strategy: CtaTemplate) -> None:
        """Cancel all its orders of both kinds."""
        for stop_orderid in list(self._stop_orders):
            self.cancel_order(strategy, stop_orderid)
        self._broker.cancel_all()

    def write_log(self, msg: str, strategy: CtaTemplate | None = None) -> None:
        """Write a line into the strategy's log."""
        self._broker.log(str(msg))

    def get_engine_type(self) -> EngineType:
        """LIVE, or BACKTESTING when the broker is one."""
        return EngineType.LIVE if self._broker.live else EngineType.BACKTESTING

    def get_pricetick(self, strategy: CtaTemplate) -> float:
        """The instrument's price tick."""
        return self._broker.instrument.price_tick

    def get_size(self, strategy: CtaTemplate) -> float:
        """The instrument's contract size."""
        size = self._broker.instrument.contract_size
        return int(size) if float(size).is_integer() else size

    def load_bar(
        self, vt_symbol: str, days: int, interval: Interval, callback: Callable[[BarData], None], use_database: bool
    ) -> list[BarData]:
        """Closed bars of the last days, oldest first, stamped at their start."""
        known = INTERVALS.get(interval.name)
        if known is None:
            raise ValueError(f"load_bar: the platform keeps no {interval.name} bars")
        with self._guard.outside():
            bars = self._broker.load_bars(days, known)
        return self._guard.each([self._objects.bar(bar, interval) for bar in bars])

    def load_tick(self, vt_symbol: str, days: int, callback: Callable[[TickData], None]) -> list[TickData]:
        """Ticks of the last days, oldest first."""
        with self._guard.outside():
            ticks = self._broker.load_ticks(days)
        return self._guard.each([self._objects.tick(tick) for tick in ticks])

    def put_strategy_event(self, strategy: CtaTemplate) -> None:
        """Show its variables anew."""
        self._broker.changed()

    def sync_strategy_data(self, strategy: CtaTemplate) -> None:
        """Keep its variables; the platform does whenever they are shown."""
        self._broker.changed()

    def send_email(self, msg: str, strategy: CtaTemplate | None = None) -> None:
        """Write the text to the log: there is no mail yet."""
        self._broker.log(f"e-mail: {msg}")

    # What the host calls.

    def process_tick(self, strategy: CtaTemplate, tick: Tick) -> None:
        """Trigger local stops, then on_tick; vnpy's order."""
        made = self._objects.tick(tick)
        if strategy.trading and self._stop_orders:
            self._check_stops(strategy, made)
        if strategy.inited:
            strategy.on_tick(made)

    def process_order(self, strategy: CtaTemplate, order: Order) -> None:
        """on_order."""
        if strategy.inited:
            strategy.on_order(self._objects.order(order))

    def process_trade(self, strategy: CtaTemplate, trade: Trade) -> None:
        """The position first, then on_trade."""
        strategy.pos += trade.signed_quantity
        if strategy.inited:
            strategy.on_trade(self._objects.trade(trade))
        self._broker.changed()

    # The rest.

    def _send_limit(self, direction: Direction, offset: Offset, price: float, volume: float) -> str:
        request = OrderRequest(side_of(direction), effect_of(offset), OrderKind.LIMIT, volume, price)
        return f"{GATEWAY}.{self._broker.send(request)}"

    def _keep_stop(
        self,
        strategy: CtaTemplate,
        direction: Direction,
        offset: Offset,
        price: float,
        volume: float,
        lock: bool,
        net: bool,
    ) -> str:
        self._stop_count += 1
        stop_order = StopOrder(
            vt_symbol=strategy.vt_symbol,
            direction=direction,
            offset=offset,
            price=price,
            volume=volume,
            stop_orderid=f"{STOPORDER_PREFIX}.{self._stop_count}",
            strategy_name=strategy.strategy_name,
            datetime=self._broker.now(),
            lock=lock,
            net=net,
        )
        self._stop_orders[stop_order.stop_orderid] = stop_order
        strategy.on_stop_order(stop_order)
        return stop_order.stop_orderid

    def _check_stops(self, strategy: CtaTemplate, tick: TickData) -> None:
        for stop_order in list(self._stop_orders.values()):
            buys = side_of(stop_order.direction).sign > 0
            reached = tick.last_price >= stop_order.price if buys else tick.last_price <= stop_order.price
            if not reached or stop_order.stop_orderid not in self._stop_orders:
                continue
            # It must fill at once. vnpy prices it at the day's limit, which risk's price collar refuses and whose
            # margin few accounts have: this far through the market fills at the same prices.
            if buys:
                price = max(tick.last_price, tick.ask_price_1) * (1 + _THROUGH)
                price = min(price, tick.limit_up or price)
            else:
                price = min(tick.last_price, tick.bid_price_1 or tick.last_price) * (1 - _THROUGH)
                price = max(price, tick.limit_down or price)
            price = float(to_step(price, self._broker.instrument.price_tick))
            vt_orderid = self._send_limit(stop_order.direction, stop_order.offset, price, stop_order.volume)
            del self._stop_orders[stop_order.stop_orderid]
            stop_order.status = StopOrderStatus.TRIGGERED
            stop_order.vt_orderids = [vt_orderid]
            strategy.on_stop_order(stop_order)


class CtaHost:
    """Runs a CtaTemplate strategy."""

    def __init__(
        self, strategy_class: type[CtaTemplate], name: str, settings: dict[str, Any], broker: Broker, guard: Guard
    ) -> None:
        self._engine = CtaEngine(broker, guard)
        self._guard = guard
        self._strategy: CtaTemplate = guard.call(
            "__init__", strategy_class, self._engine, name, broker.instrument.symbol, settings
        )

    @property
    def position(self) -> float:
        """Signed, the sum of its trades."""
        return float(self._strategy.pos)

    def set_position(self, position: float) -> None:
        """The position it begins with."""
        self._strategy.pos = position

    async def initialize(self, variables: dict[str, Any] | None) -> None:
        """on_init beside the event loop, because it loads history; then its variables, as vnpy restores them."""
        strategy = self._strategy
        await asyncio.to_thread(self._guard.call, "on_init", strategy.on_init)
        for name in strategy.variables:
            if variables and name in variables and name not in _STATE:
                setattr(strategy, name, restored(getattr(strategy, name, None), variables[name]))
        strategy.inited = True

    async def start(self) -> None:
        """on_start, then trading."""
        self._guard.call("on_start", self._strategy.on_start)
        self._strategy.trading = True

    async def stop(self) -> None:
        """on_stop, then no trading; local stops end."""
        strategy = self._strategy
        try:
            if strategy.trading:
                self._guard.call("on_stop", strategy.on_stop)
        finally:
            strategy.trading = False
        self._guard.call("on_stop_order", self._engine.cancel_all, strategy)

    async def tick(self, tick: Tick) -> None:
        """Local stops, then on_tick."""
        self._guard.call("on_tick", self._engine.process_tick, self._strategy, tick)

    @property
    def makes_bars(self) -> bool:
        """False: vnpy's strategies make bars by themselves, of ticks alone."""
        return False

    async def feed_event(self, event: FeedEvent) -> None:
        """Nothing that vnpy's strategies are told of."""

    async def order(self, order: Order) -> None:
        """One of its orders changed."""
        self._guard.call("on_order", self._engine.process_order, self._strategy, order)

    async def trade(self, trade: Trade) -> None:
        """One of its orders was filled."""
        self._guard.call("on_trade", self._engine.process_trade, self._strategy, trade)

    def variables(self) -> dict[str, Any]:
        """The values of its variables."""
        return {name: plain(value) for name, value in self._strategy.get_variables().items()}
