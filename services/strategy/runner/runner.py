"""One strategy on the live platform, from its assignment to its end."""

import asyncio
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from redfire.market.v1 import market_pb2
from redfire.strategy.v1 import worker_pb2
from redfire.trading.v1 import trading_pb2

from services.kernel.clock import Clock
from services.kernel.errors import NotFound, RedFireError
from services.quant.sdk import guard
from services.quant.sdk.base import BaseStrategy
from services.quant.sdk.events import Instrument, Order, Tick, Trade
from services.quant.sdk.guard import Guard
from services.quant.sdk.loading import Loader
from services.quant.sdk.rounding import decimal_text
from services.quant.sdk.strategy_class import Family, family_of
from services.strategy.runner.connections import Access, Connections
from services.strategy.runner.convert import (
    instrument_from_pb,
    order_from_pb,
    signed_quantity,
    trade_from_pb,
)
from services.strategy.runner.feeds import FeedEvent, OrderFeed, TickFeed
from services.strategy.runner.host import Host, NativeHost
from services.strategy.runner.live_broker import LiveBroker
from services.strategy.runner.recent_keys import RecentKeys
from services.strategy.runner.report import Phase, Report

# More ticks than this are left in the connection, whose flow control holds them back.
_WAITING_TICKS = 2000
# After so much work without a pause other strategies of the worker get their turn.
_TURN_S = 0.01
_CLEAR_S = 5.0
_FLUSH_S = 3.0
_LISTING_S = 5.0
_REFUSED = "refused: a strategy reaches its own folder and the platform alone (services/strategy/README.md)"


class StrategyRunner:
    """Runs one strategy: its callbacks one after the other, its orders and trades before its ticks."""

    def __init__(
        self,
        start: worker_pb2.WatchAssignmentsResponse.Start,
        connections: Connections,
        loader: Loader,
        guard: Guard,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        self._start = start
        self._strategy = start.strategy
        self._connections = connections
        self._loader = loader
        self._guard = guard
        self._clock = clock
        self._wake = wake
        self.access = Access(start.access_token)
        self.report = Report(start.strategy.strategy_id, position=start.strategy.position or "0")
        self._position = Decimal(0)
        self._seen_trades: RecentKeys[bool] = RecentKeys()
        self._updates: deque[Order | Trade] = deque()
        self._ticks: deque[Tick | FeedEvent] = deque()
        self._wakeup = asyncio.Event()
        self._capacity = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._snapshot = asyncio.Event()
        self._suspending = False
        self._host: Host | None = None
        self._broker: LiveBroker | None = None
        self._orders = OrderFeed(
            connections, self.access, start.strategy.strategy_id, start.strategy.account_id, self._log
        )

    def stop(self, *, suspend: bool = False) -> None:
        """Ask for its end. `suspend`: the platform stops and it will go on later; its orders are cancelled, on_stop is
        called, but its status stays RUNNING."""
        self._suspending = suspend
        self._stop_asked.set()
        self._wakeup.set()

    async def run(self) -> None:
        """The whole life; never raises but when it is cancelled."""
        tasks: list[asyncio.Task[None]] = []
        try:
            if await self._unless_stopped(self._prepare(tasks)):
                await self._trade(tasks)
            elif not self._suspending:
                self.report.move(Phase.STOPPED)
                self._wake()
        except asyncio.CancelledError:
            raise
        except (Exception, SystemExit) as error:
            await self._fail(error)
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=_FLUSH_S)

    # Its life ----------------------------------------------------------------------------------------------------

    async def _prepare(self, tasks: list[asyncio.Task[None]]) -> None:
        instrument = await self._instrument()
        self._broker = LiveBroker(
            self._strategy.strategy_id,
            self._strategy.account_id,
            instrument,
            self._connections,
            self.access,
            self._clock,
            on_order=self._enqueue,
            on_log=self._log,
            on_change=self._changed,
            alive=self._guard.alive,
        )
        tasks.append(asyncio.create_task(self._broker.run()))
        await self._rebuild_position()
        tasks.append(asyncio.create_task(self._orders.follow(self._on_order, self._on_trade, self._on_snapshot)))
        await self._or_failure(self._snapshot.wait(), tasks)
        await self._clear_leftovers()
        settings = MessageToDict(self._strategy.parameters)
        strategy_class = self._guard.call("import", self._loader.load, self._strategy.class_name)
        self._host = host = self._make_host(strategy_class, _typed(settings, strategy_class), instrument)
        host.set_position(float(self._position))
        variables = MessageToDict(self._strategy.variables) if self._start.resume else None
        await host.initialize(variables)
        self._show()

    async def _trade(self, tasks: list[asyncio.Task[None]]) -> None:
        assert self._host is not None
        watermarks = self._host.makes_bars
        ticks = TickFeed(self._connections, self.access, self._strategy.symbol, self._log, watermarks=watermarks)
        tasks.append(asyncio.create_task(self._read_ticks(ticks)))
        if not self._stop_asked.is_set():
            await self._host.start()
            self.report.move(Phase.RUNNING)
            self._show()
            self._wake()
            await self._loop(tasks)
        await self._end()

    async def _loop(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.add_done_callback(lambda _: self._wakeup.set())
        turn_end = self._clock.monotonic() + _TURN_S
        while not self._stop_asked.is_set():
            if await self._step():
                if self._clock.monotonic() > turn_end:
                    await asyncio.sleep(0)
                    turn_end = self._clock.monotonic() + _TURN_S
                continue
            for task in tasks:
                if task.done():
                    task.result()  # a feed that ended did so because trying again is useless
            self._wakeup.clear()
            await self._wakeup.wait()
            turn_end = self._clock.monotonic() + _TURN_S

    async def _step(self) -> bool:
        """Hand over one thing that waits; False when nothing does."""
        assert self._host is not None
        if self._updates:
            update = self._updates.popleft()
            if isinstance(update, Trade):
                await self._host.trade(update)
            else:
                await self._host.order(update)
            return True
        if self._ticks:
            tick = self._ticks.popleft()
            self._capacity.set()
            if isinstance(tick, Tick):
                await self._host.tick(tick)
            else:
                await self._host.feed_event(tick)
            return True
        return False

    async def _end(self) -> None:
        assert self._host is not None and self._broker is not None
        if not self._suspending:
            self.report.move(Phase.STOPPING)
        self._ticks.clear()
        await self._host.stop()
        self._broker.cancel_all()
        await self._broker.flush(_FLUSH_S)
        await self._settle()
        self._show()
        if not self._suspending:
            self.report.move(Phase.STOPPED)
        self._wake()

    async def _settle(self) -> None:
        """Take what the cancels bring, until no order is open: a fill may have been faster."""
        assert self._broker is not None
        end = self._clock.monotonic() + _CLEAR_S / 2
        while self._clock.monotonic() < end:
            while self._updates:
                await self._step()
            if self._broker.settled:
                return
            self._wakeup.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await self._wakeup.wait()

    async def _fail(self, error: BaseException) -> None:
        line = traceback.format_exception_only(error)[-1].strip()
        self._log("ERROR", _traceback(error))
        if isinstance(error, PermissionError):
            self._log("ERROR", _REFUSED)
        self.report.error = line
        if self._host is not None:
            with suppress(Exception):
                self._show()
        if self._broker is not None:
            self._broker.cancel_all()
            await self._broker.flush(_FLUSH_S)
        self.report.move(Phase.ERROR, line)
        self._wake()

    # What it begins with -----------------------------------------------------------------------------------------

    async def _instrument(self) -> Instrument:
        request = market_pb2.GetInstrumentRequest(symbol=self._strategy.symbol)
        waits = False
        while True:
            try:
                answer = await self._orders.ask(self._connections.market.GetInstrument, request)
                return instrument_from_pb(answer.instrument)
            except NotFound:
                # After a restart a real gateway's contracts are listed once it has logged in.
                if not self._start.resume:
                    raise
                if not waits:
                    symbol = self._strategy.symbol
                    self._log("WARNING", f"market does not list {symbol}; the strategy goes on when it does")
                waits = True
            await asyncio.sleep(_LISTING_S)

    async def _rebuild_position(self) -> None:
        """Its own trades added up: the source of truth, whatever was saved."""
        for trade in await self._orders.trades(self._seen_trades):
            self._seen_trades[trade.trade_id] = True
            self._position += signed_quantity(trade)

    async def _clear_leftovers(self) -> None:
        """Cancel orders of an earlier run: the strategy that begins does not know them."""
        assert self._broker is not None
        if not (leftovers := self._broker.open_orders()):
            return
        self._log("INFO", f"{len(leftovers)} orders of an earlier run are cancelled")
        self._broker.cancel_all()
        end = self._clock.monotonic() + _CLEAR_S
        while self._broker.open_orders() and self._clock.monotonic() < end:
            self._wakeup.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await self._wakeup.wait()
        self._updates.clear()

    def _make_host(self, strategy_class: type, settings: dict[str, Any], instrument: Instrument) -> Host:
        assert self._broker is not None
        name = self._strategy.display_name or self._strategy.class_name
        if family_of(strategy_class) is Family.VNPY_CTA:
            from services.strategy.runner.cta import CtaHost

            return CtaHost(strategy_class, name, settings, self._broker, self._guard)
        native: type[BaseStrategy] = strategy_class
        strategy = self._guard.call("__init__", native, self._broker, name, instrument.symbol, settings)
        return NativeHost(strategy, self._broker, self._guard)

    # What the feeds bring ----------------------------------------------------------------------------------------

    async def _on_order(self, message: trading_pb2.Order) -> None:
        assert self._broker is not None
        order = order_from_pb(message)
        if self._broker.learn(order):
            self._enqueue(order)

    async def _on_trade(self, message: trading_pb2.Trade) -> None:
        assert self._broker is not None
        if message.trade_id in self._seen_trades:
            return
        self._seen_trades[message.trade_id] = True
        self._position += signed_quantity(message)
        client_order_id = self._broker.client_order_id(message.order_id)
        if client_order_id is None:
            await self._on_order(await self._orders.order(message.order_id))
            client_order_id = self._broker.client_order_id(message.order_id) or ""
        trade = trade_from_pb(message, client_order_id)
        self._broker.traded(trade)
        if self._host is not None:
            self._enqueue(trade)

    async def _on_snapshot(self) -> None:
        assert self._broker is not None
        for trade in await self._orders.trades(self._seen_trades):
            await self._on_trade(trade)
        if self._snapshot.is_set():
            for order in self._broker.open_orders():
                if order.order_id:
                    await self._on_order(await self._orders.order(order.order_id))
        self._snapshot.set()

    async def _read_ticks(self, feed: TickFeed) -> None:
        async for update in feed.updates():
            self._ticks.append(update)
            self._wakeup.set()
            if len(self._ticks) >= _WAITING_TICKS:
                self._capacity.clear()
                await self._capacity.wait()

    def _enqueue(self, update: Order | Trade) -> None:
        self._updates.append(update)
        self._wakeup.set()

    # What it reports ---------------------------------------------------------------------------------------------

    def _log(self, level: str, message: str) -> None:
        self.report.log(level, message)

    def _changed(self) -> None:
        self.report.changed = True

    def refresh(self) -> None:
        """Bring the report up to date before it is sent."""
        if self._host is not None and self.report.phase is Phase.RUNNING:
            self._show()

    def _show(self) -> None:
        assert self._host is not None
        self.report.variables = self._guard.call("variables", self._host.variables)
        self.report.position = decimal_text(self._position)
        self.report.changed = True

    async def _unless_stopped(self, preparing: Any) -> bool:
        """Return whether the preparation came to its end; it may wait for the platform for long."""
        work = asyncio.ensure_future(preparing)
        stop = asyncio.ensure_future(self._stop_asked.wait())
        try:
            await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return True
            return False
        finally:
            work.cancel()
            stop.cancel()

    async def _or_failure(self, awaitable: Any, tasks: list[asyncio.Task[None]]) -> None:
        """Await something that the tasks bring about; raises what one of them raises."""
        waiting = asyncio.ensure_future(awaitable)
        try:
            await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            waiting.cancel()


def _typed(settings: dict[str, Any], strategy_class: type) -> dict[str, Any]:
    """A Struct has no integers: what the class declares as one becomes one again."""
    typed = {}
    for name, value in settings.items():
        default = getattr(strategy_class, name, None)
        whole = isinstance(default, int) and not isinstance(default, bool) and isinstance(value, float)
        typed[name] = int(value) if whole and value.is_integer() else value
    return typed


def _traceback(error: BaseException) -> str:
    """The traceback, without the platform's own frames above the strategy's."""
    if isinstance(error, RedFireError):
        return f"{error.reason.value}: {error.message}"
    own = (str(Path(__file__).parent), str(Path(guard.__file__)))
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(own):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame or error.__traceback__)).rstrip()
