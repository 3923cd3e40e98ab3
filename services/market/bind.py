"""Wiring of the market service."""

import asyncio
from collections.abc import Iterable
from functools import partial

from redfire.engine.v1 import engine_pb2
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub
from redfire.market.v1 import market_pb2 as pb

from services.kernel.runtime.service_context import ServiceContext
from services.market import metrics
from services.market.api import MarketApi
from services.market.bars.bar_streams import BarStreams
from services.market.calendar_api import CalendarApi
from services.market.calendar_service import CalendarService
from services.market.control_messages import BarControlMessages, TickControlMessages
from services.market.convert import bar_frame, parse_tick
from services.market.instruments import Instruments
from services.market.recording.history import History
from services.market.recording.recorder import Recorder
from services.market.recording.restoring import Restored
from services.market.recording.tick_store import TickStore
from services.market.service import MarketService
from services.market.settings import MarketSettings
from services.market.subscriptions import Subscriptions
from services.market.ticks.hub import Hub
from services.market.ticks.position import Position
from services.market.ticks.staleness import Staleness
from services.market.ticks.subscriber import SHUTTING_DOWN
from services.market.upstream import Upstream
from services.quant.bars import BarBuilder, LocalClock
from services.quant.calendar import Calendar

SWEEP_S = 1.0
"""The interval at which symbols that fell silent are looked for."""
STREAM_TICKS = "/redfire.engine.v1.EngineService/StreamTicks"


def bind(context: ServiceContext) -> None:
    """Serve market data."""
    settings = context.section(MarketSettings)
    live = context.live(MarketSettings)
    engine = context.peer(EngineServiceStub)
    clock = LocalClock(settings.timezone)

    async def fetch() -> Iterable[pb.Instrument]:
        return (await engine.ListContracts(engine_pb2.ListContractsRequest())).instruments

    tick_control = TickControlMessages()
    hub = Hub(tick_control, settings.ring_mb << 20)
    bars = BarBuilder(clock)
    bar_streams = BarStreams(bar_frame)
    store = TickStore(context.data_dir / "market", settings.compact_files, settings.log_keep_mb << 20)
    recorder = Recorder(store, settings, clock, bars, hub.last_frames, context.clock.now_ns)
    history = History(recorder, store, clock)
    bars.on_impossible_day(lambda symbol: metrics.impossible_days.inc())
    bars.on_closed(bar_streams.publish)
    bars.on_closed(recorder.record_bar)
    bars.on_failed(partial(hub.failures.report, "bars"))
    hub.on_published(bars.on_batch)
    hub.on_published(recorder.record)
    hub.on_watermarks(bars.on_watermarks)
    hub.on_watermarks(recorder.record_watermarks)
    hub.on_moved(recorder.takeovers.move)
    instruments: Instruments[pb.Instrument] = Instruments(fetch, context.clock)
    stream = context.channel_to("engine").raw_stream(STREAM_TICKS)
    subscriptions = Subscriptions(engine, instruments, context.clock, lambda: live.value)
    upstream = Upstream(engine, stream, hub, bars, recorder, instruments, subscriptions, lambda: live.value)
    market = MarketService(
        hub,
        bar_streams,
        history,
        instruments,
        subscriptions,
        context.run_blocking,
        parse_tick,
        tick_control,
        BarControlMessages(),
        lambda: live.value,
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

    def restore_epoch(started: engine_pb2.StreamTicksResponse.Started) -> None:
        hub.restore_epoch(Position(started.epoch, started.position), started.first_sequence)

    async def restore() -> None:
        await recorder.restore(Restored(restore_epoch, hub.restore))

    async def sweep_stale() -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            staleness.set_connected(upstream.connected)
            staleness.sweep()

    async def drain() -> None:
        hub.drain(SHUTTING_DOWN)
        calendar.drain(SHUTTING_DOWN)

    async def stop() -> None:
        await recorder.close()
        history.close()

    context.serve(MarketApi(market))
    context.serve(CalendarApi(calendar, context.clock))
    context.on_start(restore)
    context.background("upstream", upstream.run)
    context.background("instruments", upstream.refresh)
    context.background("history", recorder.run)
    context.background("sessions", calendar.run)
    context.background("staleness", sweep_stale)
    context.on_drain(drain)
    context.on_stop(stop)
    context.reports_failure(lambda: recorder.failure)
    context.ready_when("engine", lambda: upstream.connected and bool(instruments.symbols))


def _last_day(instrument: pb.Instrument) -> int:
    """The last trading day of a contract; beyond all days where it has none."""
    return int(instrument.expire_date.replace("-", "") or 9999_99_99)
