"""Hub, bars and history as market wires them, and ticks to record."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redfire.market.v1 import market_pb2 as pb

from services.market.control_messages import TickControlMessages
from services.market.recording.history import History
from services.market.recording.recorder import Recorder
from services.market.recording.tick_store import TickStore
from services.market.settings import MarketSettings
from services.market.ticks.frames import split
from services.market.ticks.hub import Hub
from services.quant.bars import BarBuilder, LocalClock
from tests.market.ticks import SYMBOL, batch, tick


class RecordedMarket:
    """Hub, bars and history as the service wires them."""

    def __init__(self, folder: Path, **settings: object) -> None:
        clock = LocalClock("Asia/Shanghai")
        market_settings = MarketSettings(**settings)  # type: ignore[arg-type]
        self.hub: Hub[pb.Tick] = Hub(TickControlMessages(), 1 << 16)
        self.bars = BarBuilder(clock)
        self.store = TickStore(folder, clock, market_settings.compact_files)
        self.recorder = Recorder(self.store, market_settings, self.bars, self.hub.last_frames)
        self.history = History(self.recorder, self.store, clock)
        self.bars.on_closed(self.recorder.record_bar)
        self.hub.on_published(lambda frames, ticks: self.bars.on_ticks(ticks))
        self.hub.on_published(self.recorder.record)
        self.hub.on_moved(self.recorder.move)

    def publish(self, *ticks: pb.Tick) -> None:
        self.hub.publish(split(batch(*ticks)), ticks)

    async def all_ticks(self, page: int = 700) -> list[pb.Tick]:
        ticks_read: list[pb.Tick] = []
        while True:
            after = (ticks_read[-1].time_ns, ticks_read[-1].sequence) if ticks_read else None
            rows = await self.history.list_ticks(SYMBOL, None, None, after, page)
            ticks_read += rows
            if len(rows) < page:
                return ticks_read


@asynccontextmanager
async def recorder(folder: Path, *, kill: bool = False, **settings: object) -> AsyncIterator[RecordedMarket]:
    market = RecordedMarket(folder, **settings)
    await market.recorder.restore(market.hub.restore)
    yield market
    if not kill:
        await market.recorder.close()
        market.history.close()


def ticks(count: int, first: int = 1) -> list[pb.Tick]:
    return [
        tick(n, bid_prices=[n - 0.5, n - 1.0], bid_quantities=[1, 2], ask_prices=[n + 0.5], ask_quantities=[3])
        for n in range(first, first + count)
    ]
