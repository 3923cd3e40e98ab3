"""Handles the events of vnpy's gateways, on the loop: updates go to the event stream, ticks to the tick stream."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from vnpy.trader.event import EVENT_ACCOUNT, EVENT_CONTRACT, EVENT_LOG, EVENT_ORDER, EVENT_POSITION, EVENT_TRADE

from services.engine.metrics import foreign_ticks, unreadable, withdrawn_ticks
from services.engine.streams.event_stream import EventStream
from services.engine.streams.heartbeats import Heartbeats
from services.engine.streams.tick_stream import TickStream
from services.engine.updates import PositionUpdate, TradingDayUpdate
from services.engine.vnpy.contracts import Contracts
from services.engine.vnpy.engine import EVENT_FEED_ENDED, EVENT_WATERMARK
from services.engine.vnpy.exchange_clocks import ExchangeClocks
from services.engine.vnpy.gateways import Gateways
from services.engine.vnpy.mapping import Unreadable, account_from_vnpy, position_from_vnpy, readable
from services.engine.vnpy.venue import VnpyVenue
from services.kernel.clock import Clock
from services.quant.calendar import Calendar

log = logging.getLogger(__name__)
gateway_log = logging.getLogger("services.engine.gateway")


class GatewayEvents:
    """The loop's end of the bridge from vnpy. `on_contract(contract, moved)` gets contracts and the gateway that
    serves the symbol from now on where that is another one."""

    def __init__(
        self,
        gateways: Gateways,
        contracts: Contracts,
        events: EventStream,
        ticks: TickStream,
        heartbeats: Heartbeats,
        exchange_clocks: ExchangeClocks,
        venues: Mapping[str, VnpyVenue],
        clock: Clock,
        withdrawn: Collection[str],
        on_contract: Callable[[Any, str], None],
    ) -> None:
        """`withdrawn` are the symbols whose ticks nobody asks for any more, at each moment."""
        self._gateways = gateways
        self._contracts = contracts
        self._events = events
        self._ticks = ticks
        self._heartbeats = heartbeats
        self._exchange_clocks = exchange_clocks
        self._venues = venues
        self._clock = clock
        self._withdrawn = withdrawn
        self._on_contract = on_contract
        self._calendar = Calendar.load()
        self._day = self._calendar.chinese_trading_day(clock.now_ns())
        self._foreign: set[tuple[str, str]] = set()
        self._positions: dict[tuple[str, str, str], PositionUpdate] = {}

    def on_ticks(self, ticks: list[Any]) -> None:
        """Ticks of all gateways, in order; those of a symbol's primary gateway go on."""
        for name, tick in {tick.gateway_name: tick for tick in ticks}.items():
            self._gateways.mark_alive(name)
            if name in self._venues:
                self._exchange_clocks.observe(tick)
        if self._venues:
            primary = self._contracts.primary
            own = [tick for tick in ticks if primary(tick.vt_symbol) == tick.gateway_name]
            if len(own) < len(ticks):
                self._drop(tick for tick in ticks if primary(tick.vt_symbol) != tick.gateway_name)
            ticks = own
        if self._withdrawn:
            ticks = [tick for tick in ticks if self._is_wanted(tick)]
        self._ticks.publish(ticks)

    def on_event(self, kind: str, data: Any) -> None:
        """Handle any other event. An unreadable one is logged, counted and reported as the gateway's last error."""
        if kind == EVENT_LOG:
            self._gateways.record_log(data.gateway_name, readable(data.msg))
            # vnpy logs every order it sends: that is for debugging; lines of other gateways keep their level.
            level = data.level if data.gateway_name in self._venues else max(data.level - 10, logging.DEBUG)
            gateway_log.log(level, "%s: %s", data.gateway_name, readable(data.msg))
            return
        if kind == EVENT_WATERMARK:
            self._heartbeats.publish(data)
            return
        if kind == EVENT_FEED_ENDED:
            self._ticks.end_feed(data)
            return
        self._gateways.mark_alive(data.gateway_name)
        try:
            self._apply(kind, data)
        except (Unreadable, KeyError, AttributeError, TypeError) as error:
            unreadable.labels(data.gateway_name, type(data).__name__).inc()
            log.exception("gateway %s: %s is unreadable", data.gateway_name, type(data).__name__)
            if kind in (EVENT_ORDER, EVENT_TRADE):
                self._gateways.report_error(data.gateway_name, f"{type(data).__name__} is unreadable: {error}")

    def roll(self) -> None:
        """Publish the connected gateways' trading day when it has changed; SIM publishes its own."""
        day = self._calendar.chinese_trading_day(self._clock.now_ns())
        if day == self._day:
            return
        self._day = day
        for name, venue in self._venues.items():
            venue.begin_day(day)
            if self._gateways.is_connected(name):
                self._events.publish(TradingDayUpdate(name, day))

    def _apply(self, kind: str, data: Any) -> None:
        venue = self._venues.get(data.gateway_name)
        if kind == EVENT_CONTRACT:
            self._on_contract(data, self._contracts.announce(data))
        elif kind in (EVENT_ORDER, EVENT_TRADE):
            if venue is not None:
                venue.reports.handle(data)
        elif kind == EVENT_POSITION:
            position = position_from_vnpy(data)
            # CTP's gateway asks for all positions every few seconds: only changes are published.
            key = data.gateway_name, position.symbol, position.side
            if self._positions.get(key) != position:
                self._positions[key] = position
                self._events.publish(position)
        elif kind == EVENT_ACCOUNT and venue is not None:
            self._events.publish(account_from_vnpy(data, self._clock.now()))

    def _is_wanted(self, tick: Any) -> bool:
        if tick.vt_symbol not in self._withdrawn:
            return True
        withdrawn_ticks.labels(tick.gateway_name).inc()
        return False

    def _drop(self, ticks: Iterable[Any]) -> None:
        for tick in ticks:
            foreign_ticks.labels(tick.gateway_name).inc()
            key = tick.vt_symbol, tick.gateway_name
            if key not in self._foreign:
                self._foreign.add(key)
                log.warning(
                    "ticks of %s by gateway %s are dropped: the symbol is gateway %s's",
                    *(tick.vt_symbol, tick.gateway_name, self._contracts.primary(tick.vt_symbol)),
                )
