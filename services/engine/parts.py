"""The engine put together: vnpy's MainEngine, SIM with its exchange and feed, and the other gateways."""

import asyncio
import itertools
import logging
from datetime import timedelta
from functools import partial
from typing import Any

from vnpy.trader.object import SubscribeRequest

from services.engine import convert
from services.engine.api import EngineApi
from services.engine.contracts import Contracts
from services.engine.event_stream import EventStream
from services.engine.feeds.feed import Feed, FeedSpec, SimFeedSpec
from services.engine.feeds.replay import ReplayFeed
from services.engine.feeds.sim_hours import SimHours
from services.engine.feeds.simulated import SimFeed
from services.engine.gateways import Gateways
from services.engine.models import Base
from services.engine.repository import EngineRepository
from services.engine.service import EngineService
from services.engine.settings import EngineSettings
from services.engine.sim.exchange import TRADING_DAY_KEY, SimExchange
from services.engine.sim.gateway import SimGateway
from services.engine.sim.market import MARKET_KEY, SimMarketRunner
from services.engine.sim.order import SimOrder, position_of_row
from services.engine.sim.order_ids import KEPT, SimOrderIds
from services.engine.sim.store import SimLedger
from services.engine.sim.venue import SimVenue
from services.engine.tick_stream import FeedNature, TickStream
from services.engine.vnpy.engine import VnpyEngine
from services.engine.vnpy.gateway_events import GatewayEvents
from services.engine.vnpy.mapping import split_symbol
from services.engine.vnpy.venue import VnpyVenue
from services.kernel.errors import StartError
from services.kernel.identifiers import new_id
from services.kernel.runtime.service_context import ServiceContext
from services.quant.calendar import Calendar
from services.quant.catalogue import Catalogue, Instrument

log = logging.getLogger(__name__)

SIM = "SIM"
BEGAN_KEY = "began_ms"
PRIMARY_KEY = "primary:"
SERVED_KEY = "served:"
SEEN_KEY = "seen:"
# What a venue tells again after a login is of its trading day, which lasts from Friday's night to Monday.
_DAYS_KEPT = timedelta(days=4)
_LOOK_S = 0.25
_FLUSH_S = 1.0
_LOOKS_BETWEEN_SEEN = 120


class Engine:
    """All parts of the engine service, from start to stop."""

    def __init__(self, context: ServiceContext, catalogue: Catalogue, feed: FeedSpec) -> None:
        _check_exchanges(catalogue)
        self._context = context
        self._clock = context.clock
        self._catalogue = catalogue
        self._settings = context.section(EngineSettings)
        self._live = context.live(EngineSettings)
        self._feed_spec = feed
        self._database = context.database("engine", Base)
        self._repositories = self._database.repositories(EngineRepository)
        self._vnpy = VnpyEngine(asyncio.get_running_loop(), self._take_ticks, self._take)
        self._calendar = Calendar.load()
        _check_primary(self._settings)
        # Of a real gateway's symbols before it has announced them again; read at start.
        self._remembered: dict[str, str] = {}
        self._contracts = Contracts(catalogue, SIM, self._settings.primary_gateways, self._remembered)
        self._events = EventStream(new_id(), self._settings.event_history, self._settings.heartbeat_s)
        replayed = not isinstance(feed, SimFeedSpec)
        self._ticks = TickStream(
            FeedNature(
                paced=not isinstance(feed, SimFeedSpec) and feed.speed is None,
                realtime=not replayed,
                on_demand=not isinstance(feed, SimFeedSpec) and feed.on_subscribe,
            ),
            convert.tick_frame,
            self._vnpy.backlog,
            limit=self._settings.stream_buffer_ticks,
            heartbeat_s=self._settings.heartbeat_s,
        )
        self._gateways = Gateways(
            self._vnpy,
            self._clock,
            self._settings.connect_timeout_s,
            self._settings.settle_s,
            self._events.publish,
        )
        self._trade_numbers = itertools.count(1)
        self._venues = {name: self._make_venue(name) for name in self._settings.gateways}
        self._incoming = GatewayEvents(
            self._gateways, self._contracts, self._events, self._ticks, self._venues, self._clock, self._on_contract
        )
        self._gateway: SimGateway = self._vnpy.add_gateway(SimGateway, SIM)
        self._ledger = SimLedger(self._database, self._gateway.tell)
        service = EngineService(self._gateways, self._contracts, self._events, self._subscribe, context.tracing)
        self.api = EngineApi(service, self._ticks, self._events, self._clock)
        self._exchange: SimExchange | None = None
        self._wanted: set[str] = set()
        self._rivals: set[tuple[str, str]] = set()
        self._market: SimMarketRunner | None = None
        self._ledger_task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether SIM is there to trade with."""
        return self._market is not None

    async def start(self) -> None:
        """Restore SIM's book, begin its market, and connect the gateways."""
        seen = await self._start_sim()
        since = self._clock.now() - _DAYS_KEPT
        async with self._repositories.read() as repository:
            orders = await repository.list_gateway_orders(since)
            first = self._calendar.chinese_trading_day(int(since.timestamp() * 1e9))
            trades = await repository.list_recent_gateway_trades(list(self._venues), first)
            self._trade_numbers = itertools.count(await repository.last_gateway_trade() + 1)
        for name, settings in self._settings.gateways.items():
            self._venues[name].restore(orders, trades, seen.get(name, 0))
            self._gateways.add(name, self._venues[name], simulated=False, exchanges=(), settings=settings)
        await self._gateways.connect(SIM, wait_s=5)
        for name, settings in self._settings.gateways.items():
            if settings.auto_connect:
                self._context.tasks.spawn(f"engine.connect.{name}", self._gateways.connect(name))

    async def run(self) -> None:
        """What is done from time to time."""
        assert self._market is not None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._market.save())
            tasks.create_task(self._market.expire())
            tasks.create_task(self._watch_trading_day())
            tasks.create_task(self._watch_lines())
            for venue in self._venues.values():
                tasks.create_task(venue.reports.run())

    async def drain(self) -> None:
        """No new ticks; the readers get what there is, and their streams end."""
        if self._market is not None:
            await self._market.stop()
        await self._ledger.settled()
        for venue in self._venues.values():
            await venue.reports.settled(_FLUSH_S)
        self._ticks.close()
        self._events.close()

    async def stop(self) -> None:
        """Save what is left, then end vnpy's threads."""
        if self._market is not None:
            await self._market.stop()
            self._market.save_now()
        self._keep_primaries()
        self._remember_seen()
        for venue in self._venues.values():
            await venue.stop()
        if self._ledger_task is not None:
            self._ledger_task.cancel()
            await asyncio.wait([self._ledger_task])
            await self._ledger.flush()
        await self._context.run_blocking(self._vnpy.close)

    def _make_venue(self, name: str) -> VnpyVenue:
        return VnpyVenue(
            self._vnpy.main,
            name,
            self._database,
            self._clock,
            self._calendar,
            lambda: next(self._trade_numbers),
            self._settings.send_timeout_s,
            self._events.publish,
            partial(self._gateways.complain, name),
            partial(self._gateways.last_log, name),
        )

    async def _start_sim(self) -> dict[str, int]:
        """SIM goes on; when each of the other gateways was last seen to be connected."""
        async with self._repositories.read() as repository:
            orders = [SimOrder.of_row(row, SIM) for row in await repository.list_open_sim_orders()]
            order_ids = SimOrderIds(await repository.list_recent_sim_order_ids(KEPT))
            last_ids = await repository.last_sim_ids()
            positions = await repository.list_sim_positions()
            state = await repository.sim_state()
        primary = {key.removeprefix(PRIMARY_KEY): name for key, name in state.items() if key.startswith(PRIMARY_KEY)}
        for name in self._venues:
            primary |= dict.fromkeys(state.get(SERVED_KEY + name, ()), name)
        self._remembered.update({symbol: name for symbol, name in primary.items() if name in self._venues})
        # Sequences and ids grow across restarts, even when the clock goes back or the database was made anew.
        began_ms = max(self._clock.now_ns() // 1_000_000, state.get(BEGAN_KEY, 0) + 1_000)
        self._ledger.remember(BEGAN_KEY, began_ms)
        self._ticks.first_sequence = began_ms << 10
        first_id = max(*last_ids, *(order.priority for order in orders), began_ms << 10) + 1
        hours = self._sim_hours()
        exchange = self._exchange = SimExchange(
            SIM, self._catalogue, self._ledger, self._clock, lambda: self._live.value, first_id, hours, self._is_sims
        )
        exchange.positions.restore(position_of_row(row, SIM) for row in positions)
        feed = self._make_feed({key.removeprefix(MARKET_KEY): value for key, value in state.items()}, hours)
        self._market = SimMarketRunner(feed, exchange, self._gateway, self._ledger, self._ticks.room, self._is_sims)
        self._ledger_task = asyncio.create_task(self._ledger.run(), name="engine.sim_ledger")
        self._gateway.attach(exchange, order_ids, self._announced, self._market.on_connection, feed.subscribe)
        exchange.restore(orders, state.get(TRADING_DAY_KEY, 0))
        venue = SimVenue(self._vnpy.main, self._gateway, exchange, self._ledger, order_ids, self._repositories)
        exchanges = tuple(exchange_.value for exchange_ in self._gateway.exchanges)
        self._gateways.add(SIM, venue, simulated=True, exchanges=exchanges, settings=None)
        if orders:
            log.info("SIM goes on with %d open orders", len(orders))
        return {key.removeprefix(SEEN_KEY): ns for key, ns in state.items() if key.startswith(SEEN_KEY)}

    def _is_sims(self, symbol: str) -> bool:
        return self._contracts.primary(symbol) == SIM

    def _on_contract(self, contract: Any, moved: str) -> None:
        """A contract was announced; `moved` is the gateway that serves its symbol from now on, if another one did."""
        symbol, name = contract.vt_symbol, contract.gateway_name
        if moved:
            self._move(symbol, moved)
        primary = self._contracts.primary(symbol)
        # What was asked of another gateway, or of this one before it was made anew, it does not know.
        if symbol in self._wanted and name != SIM and primary == name:
            self._venues[name].subscribe(symbol)
        if SIM not in (primary, name) and primary != name and (primary, name) not in self._rivals:
            self._rivals.add((primary, name))
            absent = "" if self._contracts.gateway_of(symbol) else ", which has not announced it since the start"
            log.warning(
                "gateway %s offers %s, too, but it is traded at gateway %s%s: where both offer a symbol, "
                "engine.primary_gateways decides otherwise",
                *(name, symbol, primary, absent),
            )

    def _keep_primaries(self) -> None:
        """Once all real gateways have told what they have, the choice between those of one symbol holds for good."""
        if self._contracts.unkept and self._gateways.is_decided:
            kept = self._contracts.keep()
            for name in self._venues:
                self._ledger.remember(SERVED_KEY + name, kept.get(name, []))

    def _move(self, symbol: str, gateway_name: str) -> None:
        """Another gateway serves a symbol from now on."""
        self._ticks.move(symbol)
        if self._catalogue.find(symbol) is None or gateway_name == SIM:
            return
        self._ledger.remember(PRIMARY_KEY + symbol, gateway_name)
        if self._exchange is not None:
            self._exchange.withdraw(symbol)

    def _remember_seen(self) -> None:
        for name, venue in self._venues.items():
            if venue.seen_ns:
                self._ledger.remember(SEEN_KEY + name, venue.seen_ns)

    def _sim_hours(self) -> SimHours | None:
        """None where SIM never closes; a recording keeps its own hours."""
        simulated = isinstance(self._feed_spec, SimFeedSpec)
        return (
            SimHours(self._clock, self._catalogue)
            if simulated and self._context.setting("trading", "enforce_sessions")
            else None
        )

    def _make_feed(self, saved: dict[str, dict[str, object]], hours: SimHours | None) -> Feed:
        if isinstance(self._feed_spec, SimFeedSpec):
            return SimFeed(
                self._catalogue.listed(),
                self._feed_spec.seed,
                self._clock,
                lambda: self._live.value.sim_ticks_per_second,
                saved,
                hours,
            )
        report = self._context.data_dir / "engine" / "replay-problems.txt"
        feed = ReplayFeed(self._feed_spec, self._catalogue, self._clock, report)
        for symbol in feed.symbols:
            self._catalogue.find(symbol)  # what is recorded is listed, too
        return feed

    def _announced(self) -> list[Instrument]:
        return list(self._catalogue)

    def _subscribe(self, symbol: str, gateway_name: str) -> None:
        self._wanted.add(symbol)
        if gateway_name == SIM:
            code, exchange = split_symbol(symbol)
            self._vnpy.main.subscribe(SubscribeRequest(symbol=code, exchange=exchange), gateway_name)
        else:
            self._venues[gateway_name].subscribe(symbol)

    def _take_ticks(self, ticks: list[object]) -> None:
        self._incoming.take_ticks(ticks)

    def _take(self, kind: str, data: object) -> None:
        self._incoming.take(kind, data)

    async def _watch_trading_day(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._incoming.roll()

    async def _watch_lines(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(_LOOK_S)
            self._gateways.look()
            self._keep_primaries()
            looks += 1
            if looks % _LOOKS_BETWEEN_SEEN == 0:
                self._remember_seen()


def _check_primary(settings: EngineSettings) -> None:
    for symbol, name in settings.primary_gateways.items():
        if name != SIM and name not in settings.gateways:
            raise StartError(f"engine.primary_gateways: {symbol}: there is no gateway {name}")


def _check_exchanges(catalogue: Catalogue) -> None:
    for instrument in catalogue:
        try:
            split_symbol(instrument.symbol)
        except ValueError:
            raise StartError(
                f"instruments: {instrument.symbol}: vnpy knows no exchange {instrument.exchange}"
            ) from None
