"""Wiring of the market service."""

import asyncio
from collections.abc import Iterable

from redfire.engine.v1 import engine_pb2
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.replica_service_pb2_grpc import ReplicaServiceStub

from services.kernel.data.folder_fence import FolderFence
from services.kernel.runtime.service_context import ServiceContext
from services.market.api import MarketApi
from services.market.calendar_api import CalendarApi
from services.market.calendar_service import CalendarService
from services.market.control_messages import BarControlMessages, TickControlMessages
from services.market.convert import parse_tick
from services.market.instruments import Instruments
from services.market.models import Base
from services.market.recording_duty import LEASE, IsHeld, NoSubscriptions, RecordingDuty
from services.market.replica_api import ReplicaApi
from services.market.replicas.directory import FixedRecorder, LeasedRecorder, Replicas
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
RECORDING_RING_BYTES = 1 << 20
"""Memory for recent ticks of the feed that is recorded: nobody resumes by them."""
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
    instruments: Instruments[pb.Instrument] = Instruments(fetch, context.clock)
    stream = context.channel_to("engine").raw_stream(STREAM_TICKS)
    database = context.database("market", Base, is_required=False)
    role: RecordingRole | FollowingRole
    duty: RecordingDuty | None = None

    def make_recording(fence: FolderFence, is_held: IsHeld) -> tuple[RecordingRole, Upstream]:
        own = Hub(tick_control, RECORDING_RING_BYTES, is_counted=False)
        recording = RecordingRole(folder, settings, own, context.clock.now_ns, fence, is_held)
        return recording, Upstream(engine, stream, own, recording, instruments, NoSubscriptions(), lambda: live.value)

    if settings.replicas and not settings.recorder and database.is_shared:
        leases = context.leases(database)
        names = {address: name for name, address in settings.replicas.items()}

        def stub_at(address: str) -> ReplicaServiceStub:
            return ReplicaServiceStub(context.channel_at(address, "market"))

        recorder = LeasedRecorder(lambda: leases.owner(LEASE), names, stub_at)
        role = FollowingRole(folder, settings, hub, lambda: live.value, recorder)
        duty = RecordingDuty(folder, leases, role, make_recording)
    elif settings.records:
        role = RecordingRole(folder, settings, hub, context.clock.now_ns)
    else:
        fixed = FixedRecorder(settings.recorder, stubs[settings.recorder])
        role = FollowingRole(folder, settings, hub, lambda: live.value, fixed)
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
        if duty is not None:
            await duty.resign()

    context.serve(MarketApi(market))
    context.serve(ReplicaApi(duty or role, market))
    context.serve(CalendarApi(calendar, context.clock))
    if settings.stream_writer == "http2":
        context.serve_streams(settings.stream_port, CLIENT_STREAMS)
    context.on_start(role.restore)
    context.background("upstream", upstream.run)
    context.background("acknowledgements", upstream.acknowledge)
    context.background("instruments", upstream.refresh)
    context.background("history", role.run)
    if duty is not None:
        context.background("recorder", duty.run)
    context.background("sessions", calendar.run)
    context.background("staleness", sweep_stale)
    context.on_drain(drain)
    context.on_stop(role.close)
    context.reports_failure(lambda: role.failure or (duty.failure if duty is not None else ""))
    context.ready_when("engine", lambda: upstream.connected and bool(instruments.symbols))


def _last_day(instrument: pb.Instrument) -> int:
    """The last trading day of a contract; beyond all days where it has none."""
    return int(instrument.expire_date.replace("-", "") or 9999_99_99)
