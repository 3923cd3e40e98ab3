"""Wiring of the engine: vnpy's MainEngine, SIM with its exchange and feed, and the other gateways."""

import asyncio

from services.engine.feeds.feed import ReplayStart, SimFeedSpec, parse_feed
from services.engine.models import Base
from services.engine.repository import EngineRepository
from services.engine.settings import EngineSettings
from services.engine.vnpy import home as vnpy_home
from services.kernel.identifiers import new_id
from services.kernel.rpc.silence import PROMPT_HEARTBEAT_S
from services.kernel.runtime.service_context import ServiceContext
from services.quant.calendar import Calendar
from services.quant.catalogue import Catalogue


def bind(context: ServiceContext) -> None:
    """Serve the engine."""
    settings = context.section(EngineSettings)
    catalogue = Catalogue.load(settings.instruments_file)
    feed = parse_feed(settings.feed)
    # vnpy decides about its folder while it is imported, which the modules below do: they come after this.
    vnpy_home.prepare(context.data_dir / "engine")
    from services.engine import convert
    from services.engine.api import EngineApi
    from services.engine.lifecycle import EngineLifecycle
    from services.engine.service import EngineService
    from services.engine.shard_epochs import ShardEpochs
    from services.engine.sim.simulation import SIM, Simulation
    from services.engine.streams.event_stream import EventStream
    from services.engine.streams.heartbeats import HEARTBEAT_S, Heartbeats
    from services.engine.streams.subscriptions import Subscriptions
    from services.engine.streams.tick_stream import FeedNature, TickStream
    from services.engine.symbol_owners import SymbolOwners, check_settings
    from services.engine.vnpy.contracts import Contracts
    from services.engine.vnpy.engine import VnpyEngine
    from services.engine.vnpy.exchange_clocks import ExchangeClocks
    from services.engine.vnpy.gateway_events import GatewayEvents
    from services.engine.vnpy.gateways import Gateways
    from services.engine.vnpy.venues import VnpyVenues
    from services.engine.watermarks import Watermarks

    check_settings(settings, catalogue)
    live, clock = context.live(EngineSettings), context.clock
    database = context.database("engine", Base)
    vnpy = VnpyEngine(asyncio.get_running_loop())
    contracts = Contracts(catalogue, SIM, settings.primary_gateways)
    events = EventStream(new_id(), settings.event_history, min(settings.heartbeat_s, PROMPT_HEARTBEAT_S))
    simulated = isinstance(feed, SimFeedSpec)
    ticks = TickStream(
        new_id(),
        FeedNature(
            paced=not isinstance(feed, SimFeedSpec) and feed.speed is None,
            realtime=simulated,
            on_demand=not isinstance(feed, SimFeedSpec) and feed.start is ReplayStart.SUBSCRIBE,
        ),
        convert.tick_frame,
        vnpy.backlog,
        ring_bytes=settings.tick_ring_mb << 20,
    )
    gateways = Gateways(
        vnpy, clock, settings.connect_timeout_s, settings.settle_s, events.publish, context.secrets.resolve
    )
    venues = VnpyVenues(vnpy, settings, database, clock, Calendar.load(), gateways, events.publish)
    simulation = Simulation(
        vnpy,
        database,
        catalogue,
        feed,
        ticks,
        clock,
        lambda: live.value,
        lambda symbol: contracts.primary(symbol) == SIM,
        events.publish_all,
        context.data_dir / "engine" / "replay-problems.txt",
        enforces_sessions=bool(context.setting("trading", "enforce_sessions")),
    )
    gateways.add(
        SIM,
        simulation.venue,
        simulated=True,
        exchanges=simulation.exchanges,
        settings=None,
        recorded=not simulated,
    )
    subscriptions = Subscriptions()
    owners = SymbolOwners(contracts, catalogue, gateways, venues, simulation, subscriptions)
    exchange_clocks = ExchangeClocks(clock, round(settings.tick_lateness_s * 1e9))
    heartbeats = Heartbeats(
        ticks,
        clock,
        convert.heartbeat_message,
        Watermarks(gateways, simulation, exchange_clocks).read,
        vnpy.after_ticks,
        min(settings.heartbeat_s, HEARTBEAT_S),
    )
    incoming = GatewayEvents(
        gateways,
        contracts,
        events,
        ticks,
        heartbeats,
        exchange_clocks,
        venues.by_name,
        clock,
        subscriptions.withdrawn,
        owners.on_contract,
    )
    vnpy.on_ticks(incoming.on_ticks)
    vnpy.on_event(incoming.on_event)
    epochs = ShardEpochs(database)
    service = EngineService(gateways, contracts, events, owners, epochs, context.tracing)
    lifecycle = EngineLifecycle(
        settings,
        database.repositories(EngineRepository),
        vnpy,
        gateways,
        simulation,
        venues,
        owners,
        epochs,
        incoming,
        ticks,
        heartbeats,
        events,
        context.tasks,
        context.run_blocking,
    )
    context.serve(EngineApi(service, ticks, events, clock))
    context.on_start(lifecycle.start)
    context.background("clockwork", lifecycle.run)
    context.on_drain(lifecycle.drain)
    context.on_stop(lifecycle.stop)
    context.ready_when("sim", lambda: simulation.is_running)
