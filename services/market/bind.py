"""Wiring of the market service."""

import asyncio
from collections.abc import Iterable

from redfire.engine.v1 import engine_pb2
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.replica_service_pb2_grpc import ReplicaServiceStub

from services.kernel.runtime.service_context import ServiceContext
from services.market.api import MarketApi
from services.market.calendar_api import CalendarApi
from services.market.calendar_service import CalendarService
from services.market.control_messages import BarControlMessages, TickControlMessages
from services.market.convert import parse_tick
from services.market.instruments import Instruments
from services.market.replica_api import ReplicaApi
from services.market.replicas.directory import Replicas
from services.market.replicas.following_role import FollowingRole
from services.market.replicas.recording_role import RecordingRole
from services.market.service import MarketService
from services.market.settings import MarketSettings
from services.market.subscriptions import Subscriptions
from services.market.ticks.hub import Hub
from services.market.ticks.staleness import Staleness
from services.market.ticks.subscriber import SHUTTING_DOWN
from services.market.upstream import Upstream
from services.quant.archive import layout
from services.quant.calendar import Calendar

SWEEP_S = 1.0
"""The interval at which symbols that fell silent are looked for."""
CLIENT_STREAMS = tuple(f"/redfire.market.v1.MarketService/{name}" for name in ("StreamTicks", "StreamBars"))
STREAM_TICKS = "/redfire.engine.v1.EngineService/StreamTicks"


def bind(context: ServiceContext) -> None:
    """Serve market data."""
    settings = context.section(MarketSettings)
    live = context.live(MarketSettings)
    engine = context.peer(EngineServiceStub)

    async def fetch() -> Iterable[pb.Instrument]:
        return (await engine.ListContracts(engine_pb2.ListContractsRequest())).instruments

    tick_control = TickControlMessages()
    hub = Hub(tick_control, settings.ring_mb << 20)
    stubs = {
        name: ReplicaServiceStub(context.channel_at(address, "market"))
        for name, address in settings.replicas.items()
        if name != settings.replica
    }
    folder = context.data_dir / layout.FOLDER
    role: RecordingRole | FollowingRole
    if settings.records:
        role = RecordingRole(folder, settings, hub, context.clock.now_ns)
    else:
        role = FollowingRole(folder, settings, hub, lambda: live.value, stubs[settings.recorder])
    instruments: Instruments[pb.Instrument] = Instruments(fetch, context.clock)
    stream = context.channel_to("engine").raw_stream(STREAM_TICKS)
    subscriptions = Subscriptions(engine, instruments, context.clock, lambda: live.value, settings.replica)
    upstream = Upstream(engine, stream, hub, role, instruments, subscriptions, lambda: live.value)
    market = MarketService(
        hub,
        role.bar_streams,
        role.history,
        instruments,
        subscriptions,
        context.run_blocking,
        parse_tick,
        tick_control,
        BarControlMessages(),
        lambda: live.value,
        Replicas(settings.replica, stubs),
        context.shared_quota("streams"),
    )
    trading_calendar = Calendar.load()
    calendar = CalendarService(trading_calendar, instruments, context.clock, lambda: live.value)
    staleness = Staleness(
        trading_calendar, context.clock, hub.last_sequence, lambda stale: hub.offer_state(stale_symbols=stale)
    )

    def follow_live(gateways: Iterable[engine_pb2.Gateway]) -> None:
        now_ns = context.clock.now_ns()
        live_gateways = {gateway.gateway_name for gateway in gateways if not gateway.recorded}
        of_live = [instrument for instrument in instruments.all() if instrument.gateway_name in live_gateways]
        hub.set_live(instrument.symbol for instrument in of_live)
        staleness.follow(
            instrument.symbol
            for instrument in of_live
            if trading_calendar.trading_day(instrument.symbol, now_ns) <= _last_day(instrument)
        )

    upstream.on_gateways(follow_live)

    async def sweep_stale() -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            staleness.set_connected(upstream.connected)
            staleness.sweep()

    async def drain() -> None:
        hub.drain(SHUTTING_DOWN)
        calendar.drain(SHUTTING_DOWN)
        await role.drain()

    context.serve(MarketApi(market))
    context.serve(ReplicaApi(role, market))
    context.serve(CalendarApi(calendar, context.clock))
    if settings.stream_writer == "http2":
        context.serve_streams(settings.stream_port, CLIENT_STREAMS)
    context.on_start(role.restore)
    context.background("upstream", upstream.run)
    context.background("acknowledgements", upstream.acknowledge)
    context.background("instruments", upstream.refresh)
    context.background("history", role.run)
    context.background("sessions", calendar.run)
    context.background("staleness", sweep_stale)
    context.on_drain(drain)
    context.on_stop(role.close)
    context.reports_failure(lambda: role.failure)
    context.ready_when("engine", lambda: upstream.connected and bool(instruments.symbols))


def _last_day(instrument: pb.Instrument) -> int:
    """The last trading day of a contract; beyond all days where it has none."""
    return int(instrument.expire_date.replace("-", "") or 9999_99_99)
