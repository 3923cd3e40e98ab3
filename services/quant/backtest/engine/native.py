"""BaseStrategy in backtests: its callbacks and its broker on the same core that runs CtaTemplate.

Callbacks are coroutines that never wait here: each is stepped by hand to its end, without an event loop. On bars
`on_bar` gets the data's bars, whatever `bar_seconds` says, and `on_tick` one tick a bar before it, its close; on ticks
the live BarBuilder makes the bars. Market orders are filled at the next row's open or best quote by vnpy's rules, at
once from the book with fill "sim". Callbacks never nest: events that a callback brings about wait for its end, as live.
"""

import inspect
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from services.quant.backtest.engine.native_objects import (
    TickMaker,
    bar_of,
    bars_from_ticks,
    closing_tick,
    resampled,
)
from services.quant.backtest.engine.replay import Replay
from services.quant.backtest.execution.fill_model import AT_MARKET
from services.quant.backtest.job import INTERVALS_S, BacktestError, BacktestJob
from services.quant.sdk.bar_builder import BarBuilder
from services.quant.sdk.base import BaseStrategy
from services.quant.sdk.broker import OrderRequest
from services.quant.sdk.events import (
    Bar,
    Effect,
    Instrument,
    Interval,
    Order,
    OrderKind,
    OrderState,
    Side,
    Tick,
    Trade,
)
from services.quant.sdk.rounding import to_step
from services.quant.sdk.vnpy_names import OFFSETS, STATUSES

_STATES = {name: OrderState(status) for status, name in STATUSES.items()}


class WaitsInBacktest(RuntimeError):
    """A callback waits for something: in a backtest nothing would ever come of it."""


def creator(strategy_class: type, job: BacktestJob, replay: Replay) -> Any:
    """Return a factory that `Run.created` takes in the place of a CtaTemplate class."""

    def create(core: Any, *_: Any) -> NativeStrategy:
        return NativeStrategy(strategy_class, job, replay, core)

    return create


def check_values(strategy_class: Any, job: BacktestJob) -> None:
    """Raises BacktestError that names the parameters whose values the class refuses."""
    values = {name: job.parameters.get(name, getattr(strategy_class, name, None)) for name in strategy_class.parameters}
    if problems := strategy_class.parameter_problems(values):
        raise BacktestError("; ".join(problems.values()), "parameters")


class NativeStrategy:
    """A BaseStrategy as the core sees it: with CtaTemplate's callbacks, `pos`, `inited` and `trading`."""

    is_native = True

    def __init__(self, strategy_class: type[BaseStrategy], job: BacktestJob, replay: Replay, core: Any) -> None:
        self.strategy_name = strategy_class.__name__
        self.vt_symbol = job.symbol
        self.inited = False
        self.trading = False
        self.pos: float = 0
        self._core = core
        self._pending: deque[tuple[str, Callable[..., Any], Any]] = deque()
        self._inside = False
        self._filled: Order | None = None
        self._values: dict[str, tuple[float, float]] = {}
        self.broker = BacktestBroker(self, job, replay, core)
        self.strategy = strategy = strategy_class(self.broker, self.strategy_name, job.symbol, dict(job.parameters))
        self._bars: BarBuilder | None = None
        self.handles_ticks = type(strategy).on_tick is not BaseStrategy.on_tick
        self.handles_bars = type(strategy).on_bar is not BaseStrategy.on_bar
        if self.handles_ticks or self.handles_bars:
            # Where they are on the object the core knows that they do something.
            if replay.is_bars:
                self.__dict__["on_bar"] = self._bar_row
            else:
                self.__dict__["on_tick"] = self._tick_row

    # What the core calls.

    def on_init(self) -> None:
        """initialize."""
        strategy = self.strategy
        self._call("initialize", strategy.initialize)
        seconds = int(strategy.bar_seconds)
        on_ticks = not self.broker.bar_seconds
        self._bars = BarBuilder(seconds) if on_ticks and seconds and self.handles_bars else None
        if self.handles_bars and self.broker.bar_seconds not in (0, seconds):
            self.broker.log(f"its bars last {seconds} s and the data's {self.broker.bar_seconds} s: it gets the data's")

    def on_start(self) -> None:
        """Trading begins, then start."""
        self.strategy.trading = True
        self._call("start", self.strategy.start)

    def on_stop(self) -> None:
        """stop, then trading ends."""
        try:
            self._call("stop", self.strategy.stop)
        finally:
            self.strategy.trading = False

    def on_tick(self, row: Any) -> None:
        """Do nothing: the strategy has neither on_tick nor on_bar."""

    def on_bar(self, row: Any) -> None:
        """Do nothing, as on_tick."""

    def on_order(self, order: Any) -> None:
        """One of its limit orders changed; what a fill changes comes with the trade, as live with its price."""
        made = self.broker.order_of(order)
        if made.state in (OrderState.FILLED, OrderState.PARTIALLY_FILLED):
            self._filled = made
        else:
            if not made.is_open:
                self.broker.forget(made.client_order_id)
            self._call("on_order", self.strategy.on_order, made)

    def on_stop_order(self, stop_order: Any) -> None:
        """A stop was triggered, or cancelled."""
        if stop_order.vt_orderids:
            self.broker.triggered(stop_order)
        elif stop_order.status.name == "CANCELLED":
            made = self.broker.stop_of(stop_order, OrderState.CANCELED)
            self.broker.forget(made.client_order_id)
            self._call("on_order", self.strategy.on_order, made)

    def on_trade(self, trade: Any) -> None:
        """The order, the position, then the trade."""
        made = self.broker.trade_of(trade)
        filled, self._filled = self._filled, None
        if filled is not None:
            quantity, value = self._values.get(made.client_order_id, (0.0, 0.0))
            quantity, value = quantity + made.quantity, value + made.quantity * made.price
            self._values[made.client_order_id] = quantity, value
            filled.average_price = value / quantity
            if not filled.is_open:
                del self._values[made.client_order_id]
                self.broker.forget(made.client_order_id)
            self._call("on_order", self.strategy.on_order, filled)
        self.strategy.position += made.signed_quantity
        self._call("on_trade", self.strategy.on_trade, made)

    def get_variables(self) -> dict[str, Any]:
        """The values of its variables."""
        return {name: getattr(self.strategy, name, None) for name in self.strategy.variables}

    # The rest.

    def _tick_row(self, row: Any) -> None:
        tick = self.broker.tick_of(row)
        if self.handles_ticks:
            self._call("on_tick", self.strategy.on_tick, tick)
        if self._bars is not None and (bar := self._bars.add(tick)) is not None:
            self._call("on_bar", self.strategy.on_bar, bar)

    def _bar_row(self, row: Any) -> None:
        if self.handles_ticks:
            self._call("on_tick", self.strategy.on_tick, self.broker.tick_of(row))
        if self.handles_bars:
            self._call("on_bar", self.strategy.on_bar, bar_of(self.vt_symbol, row))

    def _call(self, name: str, callback: Callable[..., Any], *arguments: Any) -> None:
        if self._inside:
            self._pending.append((name, callback, arguments))
            return
        self._inside = True
        try:
            step(name, callback(*arguments))
            while self._pending:
                name, callback, arguments = self._pending.popleft()
                step(name, callback(*arguments))
        finally:
            self._inside = False


def step(name: str, result: Any) -> None:
    """Run a callback's coroutine to its end. Raises WaitsInBacktest when it waits."""
    if not inspect.iscoroutine(result):
        return
    coroutine: Coroutine[Any, Any, Any] = result
    try:
        # asyncio.sleep(0) yields None: others would have their turn now, and there are none.
        while (awaited := coroutine.send(None)) is None:
            pass
    except StopIteration:
        return
    except RuntimeError as error:
        if "no running event loop" in str(error):
            raise WaitsInBacktest(_waits(name, "asyncio")) from error
        raise
    coroutine.close()
    raise WaitsInBacktest(_waits(name, repr(awaited)[:80]))


def _waits(name: str, what: str) -> str:
    return (
        f"{name} waits for {what}: a backtest has no event loop, its callbacks await nothing but the strategy's own "
        "methods (buy, cancel, load_bars …); take time from the ticks or bars instead of asyncio.sleep"
    )


class BacktestBroker:
    """The Broker of a BaseStrategy in a backtest, on a core."""

    live = False

    def __init__(self, owner: NativeStrategy, job: BacktestJob, replay: Replay, core: Any) -> None:
        self.instrument = Instrument(job.symbol, job.pricetick, job.size)
        self._owner = owner
        self._replay = replay
        self._core = core
        self.bar_seconds = INTERVALS_S[replay.interval] if replay.is_bars else 0
        columns = () if replay.is_bars else replay.data.columns  # type: ignore[union-attr]
        self._maker = TickMaker(job.symbol, columns)
        self._requests: dict[str, OrderRequest] = {}
        # Triggered stops' ids and their limit orders' ids, both ways.
        self._limits: dict[str, str] = {}
        self._stops: dict[str, str] = {}
        from vnpy.trader.constant import Direction, Offset

        self._directions = {Side.BUY: Direction.LONG, Side.SELL: Direction.SHORT}
        self._offsets = {Effect(effect): Offset[name] for effect, name in OFFSETS.items()}

    def now(self) -> datetime:
        """The time of the tick, or of the bar's end."""
        row = self._core.row
        time: datetime = self._core.start if row is None else row.datetime
        return time if row is None else time + timedelta(seconds=self.bar_seconds)

    def send(self, request: OrderRequest) -> str:
        """Keep an order; the core fills it later. Its id is vnpy's."""
        price = request.price
        if price is None:
            price = AT_MARKET if request.side is Side.BUY else -AT_MARKET
        volume = float(to_step(request.quantity, self.instrument.quantity_step))
        (vt_orderid,) = self._core.send_order(
            self._owner, self._directions[request.side], self._offsets[request.effect], price, volume,
            request.kind is OrderKind.STOP, False, False,
        )  # fmt: skip
        client_order_id: str = vt_orderid
        self._requests[client_order_id] = replace(request, quantity=volume)
        return client_order_id

    def cancel(self, client_order_id: str) -> None:
        """Cancel an order of either kind; a triggered stop's is its limit order's."""
        self._core.cancel_order(self._owner, self._limits.get(client_order_id, client_order_id))

    def cancel_all(self) -> None:
        """Cancel all."""
        self._core.cancel_all(self._owner)

    def load_bars(self, days: float, interval: Interval) -> Sequence[Bar]:
        """Closed bars before the start; longer ones are resampled from the data's, shorter ones there are none."""
        rows = self._before(days)
        length_s = INTERVALS_S[interval.lower()]
        if not self.bar_seconds:
            return bars_from_ticks((self.tick_of(row) for row in rows), length_s)
        bars = [bar_of(self._owner.vt_symbol, row) for row in rows]
        if length_s % self.bar_seconds:
            self.log(f"load_bars: the data are {self._replay.interval} bars, of which no {interval} bars can be made")
            return []
        return bars if length_s == self.bar_seconds else resampled(bars, self.bar_seconds, length_s)

    def load_ticks(self, days: float) -> Sequence[Tick]:
        """Ticks before the start; of bars their closes."""
        return [self.tick_of(row) for row in self._before(days)]

    def log(self, message: str, level: str = "INFO") -> None:
        """Into the result's logs."""
        self._core.write_log(message)

    def changed(self) -> None:
        """Do nothing: a backtest has no observers."""

    # Objects that the strategy gets.

    def tick_of(self, row: Any) -> Tick:
        """A row as a tick."""
        return closing_tick(self._owner.vt_symbol, row, self.bar_seconds) if self.bar_seconds else self._maker(row)

    def order_of(self, order: Any) -> Order:
        """vnpy's order as the strategy knows it."""
        client_order_id = self._client_id(order.vt_orderid)
        made = self._made(client_order_id, _STATES[order.status.name], order.vt_orderid, order.datetime)
        made.filled = float(order.traded)
        if made.state is OrderState.REJECTED:
            made.reason = getattr(self._core.fill_model, "reasons", {}).get(order.vt_orderid, "")
        return made

    def stop_of(self, stop_order: Any, state: OrderState) -> Order:
        """vnpy's stop order as the strategy knows it."""
        return self._made(stop_order.stop_orderid, state, "", stop_order.datetime)

    def triggered(self, stop_order: Any) -> None:
        """A stop has become an order under another id."""
        limit = stop_order.vt_orderids[0]
        self._limits[stop_order.stop_orderid] = limit
        self._stops[limit] = stop_order.stop_orderid

    def forget(self, client_order_id: str) -> None:
        """An order is over."""
        self._requests.pop(client_order_id, None)
        self._stops.pop(self._limits.pop(client_order_id, ""), None)

    def trade_of(self, trade: Any) -> Trade:
        """vnpy's trade as the strategy knows it."""
        client_order_id = self._client_id(trade.vt_orderid)
        request = self._requests[client_order_id]
        return Trade(
            trade.vt_tradeid, trade.vt_orderid, client_order_id, self._owner.vt_symbol, request.side, request.effect,
            trade.price, float(trade.volume), trade.datetime,
        )  # fmt: skip

    def _made(self, client_order_id: str, state: OrderState, order_id: str, time: datetime | None) -> Order:
        request = self._requests[client_order_id]
        return Order(
            client_order_id, self._owner.vt_symbol, request.side, request.effect, request.kind, request.quantity,
            request.price or 0.0, state, order_id=order_id, time=time or self.now(),
        )  # fmt: skip

    def _client_id(self, vt_orderid: str) -> str:
        return self._stops.get(vt_orderid, vt_orderid)

    def _before(self, days: float) -> list[Any]:
        start = self._core.start
        rows: list[Any] = self._core.source.before(start - timedelta(days=days), start - timedelta(microseconds=1))
        return rows
