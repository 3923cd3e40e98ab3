"""Takes what vnpy's gateways say, on the loop: updates go to the event stream, ticks to the tick stream."""

import logging
from typing import Any

from vnpy.trader.event import EVENT_ACCOUNT, EVENT_CONTRACT, EVENT_LOG, EVENT_ORDER, EVENT_POSITION, EVENT_TRADE

from services.engine.contracts import Contracts
from services.engine.event_stream import EventStream
from services.engine.gateways import Gateways
from services.engine.tick_stream import TickStream
from services.engine.updates import TradingDayUpdate
from services.engine.vnpy_engine import EVENT_FEED_ENDED, EVENT_TRADING_DAY
from services.engine.vnpy_venue import VnpyVenue
from services.engine.vnpy_words import order_update, position_update, trade_update
from services.kernel.clock import Clock
from services.quant.calendar import Calendar

log = logging.getLogger(__name__)
gateway_log = logging.getLogger("services.engine.gateway")


class GatewayEvents:
    """The loop's end of the bridge from vnpy."""

    def __init__(
        self,
        gateways: Gateways,
        contracts: Contracts,
        events: EventStream,
        ticks: TickStream,
        venues: dict[str, VnpyVenue],
        clock: Clock,
    ) -> None:
        self._gateways = gateways
        self._contracts = contracts
        self._events = events
        self._ticks = ticks
        self._venues = venues
        self._clock = clock
        self._calendar = Calendar.load()
        self._day = self._calendar.chinese_trading_day(clock.now_ns())

    def take_ticks(self, ticks: list[Any]) -> None:
        """Ticks of all gateways, in order."""
        for name in {tick.gateway_name for tick in ticks}:
            self._gateways.heard(name)
        self._ticks.publish(ticks)

    def take(self, kind: str, data: Any) -> None:
        """Anything else."""
        if kind == EVENT_LOG:
            self._gateways.logged(data.gateway_name, data.msg)
            # vnpy tells of every order it sends: that is for debugging; what other gateways say of themselves is news.
            told = data.level if data.gateway_name in self._venues else max(data.level - 10, logging.DEBUG)
            gateway_log.log(told, "%s: %s", data.gateway_name, data.msg)
        elif kind == EVENT_CONTRACT:
            self._contracts.announce(data)
            self._gateways.heard(data.gateway_name)
        elif kind == EVENT_ORDER:
            self._gateways.heard(data.gateway_name)
            self._events.publish(order_update(data, self._order_id(data), self._clock.now()))
        elif kind == EVENT_TRADE:
            self._gateways.heard(data.gateway_name)
            day = self._calendar.trading_day(data.vt_symbol, self._clock.now_ns())
            self._events.publish(trade_update(data, self._order_id(data), self._clock.now(), day))
        elif kind == EVENT_POSITION:
            self._gateways.heard(data.gateway_name)
            self._events.publish(position_update(data))
        elif kind == EVENT_ACCOUNT:
            self._gateways.heard(data.gateway_name)
        elif kind == EVENT_TRADING_DAY:
            self._events.publish(data)
        elif kind == EVENT_FEED_ENDED:
            self._ticks.end_feed()

    def roll(self) -> None:
        """Tell the connected gateways' trading day when it has changed; SIM tells its own."""
        day = self._calendar.chinese_trading_day(self._clock.now_ns())
        if day != self._day:
            self._day = day
            for name in self._venues:
                if self._gateways.is_connected(name):
                    self._events.publish(TradingDayUpdate(name, day))

    def _order_id(self, data: Any) -> str:
        venue = self._venues.get(data.gateway_name)
        return "" if venue is None else venue.order_id_of(data.orderid)
