"""A headless vnpy MainEngine, and the bridge that brings its events from its thread to the event loop."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from vnpy.event import EVENT_TIMER, Event, EventEngine
from vnpy.trader import engine as vnpy_engine_module
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import (
    EVENT_ACCOUNT,
    EVENT_CONTRACT,
    EVENT_LOG,
    EVENT_ORDER,
    EVENT_POSITION,
    EVENT_TICK,
    EVENT_TRADE,
)
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.object import CancelRequest, OrderRequest

log = logging.getLogger(__name__)

# Events of our own, which travel with the others so that they keep their place among them.
EVENT_FEED_ENDED = "eRedFireFeedEnded"
EVENT_WATERMARK = "eRedFireWatermark"
_EVENT_CALL = "eRedFireCall"

BRIDGED = (
    EVENT_TICK,
    EVENT_ORDER,
    EVENT_TRADE,
    EVENT_POSITION,
    EVENT_ACCOUNT,
    EVENT_CONTRACT,
    EVENT_LOG,
    EVENT_FEED_ENDED,
    EVENT_WATERMARK,
)
_CLOSE_S = 3.0
_KEPT_FINISHED = 5_000
# Between two turns of the loop. A contract costs 50 µs, anything else much less.
_EVENTS_AT_ONCE = 2_000
_CONTRACTS_AT_ONCE = 50


class SteadyEventEngine(EventEngine):
    """vnpy's event engine, hardened: a handler that raises is logged and does not end the thread; stop() is quick and
    processes what is queued; events that nobody handles are not queued.

    An event that the loop's own thread puts (SIM does) is processed in place where it has only the handlers of
    `process_in_place`: two changes of threads for each would cost more than all else that is done with it. So is a
    tick, whichever thread puts it: it may overtake its gateway's other events, of which none is about prices.
    """

    def __init__(self) -> None:
        super().__init__()
        self._active: bool = False
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vnpy-events", daemon=True)
        self._timer = threading.Thread(target=self._run_timer, name="vnpy-timer", daemon=True)
        self._loop_thread = 0
        self._quick: dict[str, list[Any]] = {}
        self._in_place: dict[str, list[Any]] = {}
        """Those of `_quick` whose kinds have no other handlers at present."""

    def process_in_place(self) -> None:
        """Let this thread process itself events that have only the handlers of now, which are quick."""
        self._quick = {kind: list(handlers) for kind, handlers in self._handlers.items() if kind != EVENT_TIMER}
        self._loop_thread = threading.get_ident()
        self._look_again()

    def put(self, event: Event) -> None:
        """Queue an event that has a handler."""
        kind = event.type
        handlers = self._in_place.get(kind)
        if handlers is not None and (kind == EVENT_TICK or threading.get_ident() == self._loop_thread):
            # What _handle does, without its call: a gateway's thread passes here with each tick.
            for handler in handlers:
                try:
                    handler(event)
                except Exception:
                    log.exception("a handler of vnpy's event %s failed", kind)
        elif self._handlers.get(kind) or self._general_handlers:
            self._queue.put(event)

    def is_quick(self, kind: str) -> bool:
        """True when events of a kind have only the handlers of `process_in_place`."""
        return kind in self._in_place

    def register(self, type: str, handler: Callable[[Event], None]) -> None:
        """Call a handler for events of a type."""
        super().register(type, handler)
        self._look_again()

    def unregister(self, type: str, handler: Callable[[Event], None]) -> None:
        """Call it no more."""
        super().unregister(type, handler)
        self._look_again()

    def register_general(self, handler: Callable[[Event], None]) -> None:
        """Call a handler for all events."""
        super().register_general(handler)
        self._look_again()

    def unregister_general(self, handler: Callable[[Event], None]) -> None:
        """Call it no more."""
        super().unregister_general(handler)
        self._look_again()

    def _look_again(self) -> None:
        """Find which events can be processed in place: once for each handler, not for each tick."""
        quick = {} if self._general_handlers else self._quick
        self._in_place = {kind: own for kind, own in quick.items() if own and self._handlers.get(kind) == own}

    def silence(self, owner: object) -> None:
        """Call no method of an object any more: a closed gateway would go on with its queries at each timer event."""
        for kind, handlers in list(self._handlers.items()):
            for handler in list(handlers):
                if getattr(handler, "__self__", None) is owner:
                    self.unregister(kind, handler)

    def backlog(self) -> int:
        """Number of events that wait."""
        return self._queue.qsize()

    def stop(self) -> None:
        """Process what is queued, then end both threads."""
        if not self._active:
            return
        self._active = False
        self._stopping.set()
        self._queue.put(None)
        self._timer.join(2)
        self._thread.join(5)

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            self._process(event)

    def _run_timer(self) -> None:
        # Each on a thread of its own: a gateway that asks its venue something may hang, and misses its next turns.
        running: dict[Any, threading.Thread] = {}
        while not self._stopping.wait(self._interval):
            running = {handler: thread for handler, thread in running.items() if thread.is_alive()}
            for handler in (*self._handlers.get(EVENT_TIMER, ()), *self._general_handlers):
                if handler not in running:
                    running[handler] = threading.Thread(
                        target=_handle, args=(handler, Event(EVENT_TIMER)), name="vnpy-timer-handler", daemon=True
                    )
                    running[handler].start()

    def _process(self, event: Event) -> None:
        for handler in (*self._handlers.get(event.type, ()), *self._general_handlers):
            _handle(handler, event)


class _Main(MainEngine):
    """vnpy's main engine, without the log line that it formats for each order and cancel."""

    def send_order(self, req: OrderRequest, gateway_name: str) -> str:
        """Send an order."""
        gateway = self.get_gateway(gateway_name)
        return "" if gateway is None else str(gateway.send_order(req))

    def cancel_order(self, req: CancelRequest, gateway_name: str) -> None:
        """Ask for a cancel."""
        gateway = self.get_gateway(gateway_name)
        if gateway is not None:
            gateway.cancel_order(req)


class _NoConverters(dict[str, Any]):
    """Stands in for the OMS's offset converters, which trading does without: each event of an order would make them
    look at all open orders of its symbol again."""

    def __contains__(self, name: object) -> bool:
        """Claim every name, so that the OMS makes no offset converter."""
        return True


class VnpyEngine:
    """Hosts the MainEngine. Listeners are called on the loop, in the order of the events."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._tick_listeners: list[Callable[[list[Any]], None]] = []
        self._event_listeners: list[Callable[[str, Any], None]] = []
        self._arrived: deque[Event] = deque()
        self._woken = False
        self._trades: deque[str] = deque()
        self.events = SteadyEventEngine()
        # MainEngine() changes to this folder; that the process stays where it is matters to everybody else in it.
        vnpy_engine_module.TRADER_DIR = Path.cwd()
        self.main = _Main(self.events)
        self._oms: Any = self.main.get_engine("oms")
        self._oms.offset_converters = _NoConverters()
        # Behind the OMS's own handlers, so that it knows what is bridged.
        for kind in BRIDGED:
            self.events.register(kind, self._arrive)
        self.events.process_in_place()
        # After that, so that it goes the way of what gateways' threads put.
        self.events.register(_EVENT_CALL, self._arrive)

    def on_ticks(self, listener: Callable[[list[Any]], None]) -> None:
        """Register a listener of ticks, which come in batches."""
        self._tick_listeners.append(listener)

    def on_event(self, listener: Callable[[str, Any], None]) -> None:
        """Register a listener of all other events: the kind, and vnpy's data."""
        self._event_listeners.append(listener)

    def after_all(self, function: Callable[[], None]) -> None:
        """Call a function on the loop when all that gateways have sent by now was handled."""
        self.events.put(Event(_EVENT_CALL, function))

    def after_ticks(self, function: Callable[[], None]) -> None:
        """Call a function on the loop when all ticks that gateways have sent by now were delivered."""
        if self.events.is_quick(EVENT_TICK):
            self._arrive(Event(_EVENT_CALL, function))
        else:
            self.after_all(function)

    def add_gateway(self, make: Callable[[EventEngine, str], BaseGateway], name: str) -> Any:
        """Make a gateway, by its class or another callable; one of the same name before it is forgotten."""
        return self.main.add_gateway(make, name)

    def backlog(self) -> int:
        """Number of events on their way to the loop."""
        return self.events.backlog() + len(self._arrived)

    def close(self) -> None:
        """Close the gateways, then end vnpy's threads."""
        closing = [
            threading.Thread(target=_close, args=(name, gateway), name=f"close-{name}", daemon=True)
            for name, gateway in self.main.gateways.items()
        ]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(_CLOSE_S)
        self.main.gateways.clear()
        self.main.close()

    def _arrive(self, event: Event) -> None:
        """Queue an event, on vnpy's thread or on the loop's."""
        kind = event.type
        if kind == EVENT_TRADE:
            self._forget_old(event.data)
        self._arrived.append(event)
        if not self._woken:
            self._wake()

    def _wake(self) -> None:
        self._woken = True
        try:
            if threading.get_ident() == self._loop_thread:
                self._loop.call_soon(self._drain)
            else:
                self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:
            log.debug("the loop is closed; vnpy's events are dropped")

    def _drain(self) -> None:
        """Handle queued events on the loop: ticks in batches, contracts in parts: gateways send 20,000 at once."""
        self._woken = False
        arrived = self._arrived
        ticks: list[Any] = []
        contracts = 0
        for _ in range(min(len(arrived), _EVENTS_AT_ONCE)):
            event = arrived.popleft()
            if event.type == EVENT_TICK:
                ticks.append(event.data)
                continue
            if ticks:
                self._deliver_ticks(ticks)
                ticks = []
            self._pass_on(event)
            if event.type == EVENT_CONTRACT:
                contracts += 1
                if contracts == _CONTRACTS_AT_ONCE:
                    break
        if ticks:
            self._deliver_ticks(ticks)
        if arrived and not self._woken:
            self._woken = True
            self._loop.call_soon(self._drain)

    def _deliver_ticks(self, ticks: list[Any]) -> None:
        for listener in self._tick_listeners:
            listener(ticks)

    def _pass_on(self, event: Event) -> None:
        try:
            if event.type == _EVENT_CALL:
                event.data()
            else:
                for listener in self._event_listeners:
                    listener(event.type, event.data)
        except Exception:
            log.exception("vnpy's event %s could not be handled", event.type)

    def _forget_old(self, trade: Any) -> None:
        """The OMS never forgets trades, which are in the database; orders it forgets when their day is over."""
        self._trades.append(trade.vt_tradeid)
        if len(self._trades) > _KEPT_FINISHED:
            self._oms.trades.pop(self._trades.popleft(), None)


def _handle(handler: Callable[[Event], None], event: Event) -> None:
    try:
        handler(event)
    except Exception:
        log.exception("a handler of vnpy's event %s failed", event.type)


def _close(name: str, gateway: BaseGateway) -> None:
    try:
        gateway.close()
    except Exception:
        log.exception("gateway %s did not close", name)
