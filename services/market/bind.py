"""What the market service is made of."""

import asyncio
from collections.abc import Iterable, Sequence

from redfire.engine.v1 import engine_pb2
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub
from redfire.market.v1 import market_pb2 as pb

from services.kernel.runtime.service_context import ServiceContext
from services.market.api import MarketApi
from services.market.bars.bar_streams import BarStreams
from services.market.bars.bars import Bar, Bars
from services.market.calendar_api import CalendarApi
from services.market.calendar_service import CalendarService
from services.market.control_messages import BarNews, TickNews
from services.market.convert import bar_frame
from services.market.instruments import Instruments
from services.market.local_clock import SECOND_NS, LocalClock
from services.market.recording.history import History
from services.market.service import MarketService
from services.market.settings import MarketSettings
from services.market.ticks.hub import Hub
from services.market.ticks.subscriber import SHUTTING_DOWN
from services.market.ticks.upstream import Upstream
from services.quant.calendar import Calendar

STREAM_TICKS = "/redfire.engine.v1.EngineService/StreamTicks"


def bind(context: ServiceContext) -> None:
    """Serve market data."""
    settings = context.section(MarketSettings)
    live = context.live(MarketSettings)
    engine = context.peer(EngineServiceStub)
    clock = LocalClock(settings.timezone)

    async def fetch() -> Iterable[pb.Instrument]:
        return (await engine.ListContracts(engine_pb2.ListContractsRequest())).instruments

    def on_bar(bar: Bar) -> None:
        bar_streams.publish(bar)
        history.record_bar(bar)

    def on_ticks(frames: Sequence[bytes], ticks: Sequence[pb.Tick]) -> None:
        for tick in ticks:
            bars.on_tick(tick)
        history.record(frames, ticks)

    async def close_bars() -> None:
        while True:
            await asyncio.sleep(0.25)
            if upstream.realtime:
                bars.close_until(context.clock.now_ns() - int(live.value.bar_grace_s * SECOND_NS))

    async def restore() -> None:
        await history.restore(hub.restore)

    async def drain() -> None:
        hub.drain(SHUTTING_DOWN)
        calendar.drain(SHUTTING_DOWN)

    news = TickNews()

    def move(symbol: str, gateway: str) -> None:
        bars.forget(symbol)
        history.move(symbol, gateway)

    hub: Hub[pb.Tick] = Hub(news, settings.ring_frames, move)
    hub.sinks.append(on_ticks)
    bar_streams = BarStreams(bar_frame)
    bars = Bars(clock, on_bar)
    history = History(context.data_dir / "market", settings, clock, bars, hub.last_frames)
    instruments: Instruments[pb.Instrument] = Instruments(fetch, context.clock)
    stream = context.channel_to("engine").raw_stream(STREAM_TICKS)
    upstream = Upstream(engine, stream, hub, bars, history, instruments, lambda: live.value.stall_s)
    market = MarketService(
        hub,
        bar_streams,
        history,
        instruments,
        upstream.want,
        context.run_blocking,
        (news, BarNews()),
        lambda: live.value,
    )
    calendar = CalendarService(Calendar.load(), instruments, context.clock, lambda: live.value)
    context.serve(MarketApi(market))
    context.serve(CalendarApi(calendar, context.clock))
    context.on_start(restore)
    context.background("upstream", upstream.run)
    context.background("instruments", upstream.refresh)
    context.background("history", history.run)
    context.background("bars", close_bars)
    context.background("sessions", calendar.run)
    context.on_drain(drain)
    context.on_stop(history.close)
    context.ready_when("engine", lambda: upstream.connected and bool(instruments.symbols))
