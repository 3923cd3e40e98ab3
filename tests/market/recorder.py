"""Hub, bars and history as market wires them, and ticks to record."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redfire.market.v1 import market_pb2 as pb

from services.market.control_messages import TickControlMessages
from services.market.recording.epoch import Started
from services.market.recording.history import History
from services.market.recording.recorder import Recorder
from services.market.recording.restoring import Restored
from services.market.recording.tick_store import TickStore
from services.market.recording.unarchived import OwnUnarchived
from services.market.settings import MarketSettings
from services.market.ticks.hub import Hub
from services.market.ticks.position import Position
from services.quant.bars import BarBuilder, LocalClock
from services.quant.ticks.tick_batch import TickBatch
from services.quant.ticks.variant import variant
from tests.market.ticks import SYMBOL, batch, tick

SCANNER = variant().scanner()


class RecordedMarket:
    """Hub, bars and history as the service wires them."""

    def __init__(self, folder: Path, **settings: object) -> None:
        clock = LocalClock("Asia/Shanghai")
        market_settings = MarketSettings(**settings)  # type: ignore[arg-type]
        self.hub = Hub(TickControlMessages(), 1 << 20)
        self.bars = BarBuilder(clock)
        self.store = TickStore(
            folder, market_settings.compact_files, market_settings.log_keep_mb << 20, market_settings.archive_url
        )
        self.now_ns = 0
        self.recorder = Recorder(
            self.store, market_settings, clock, self.bars, self.hub.last_frames, lambda: self.now_ns
        )
        unarchived = OwnUnarchived(self.recorder.unarchived, self.recorder.takeovers)
        self.history = History(unarchived, self.store.ticks, self.store.bars, clock)
        self.restored: list[pb.Tick | Started] = []
        """Messages that streams may resume from, in order."""
        self.bars.on_closed(self.recorder.record_bar)
        self.hub.on_published(self.bars.on_batch)
        self.hub.on_published(self.recorder.record)
        self.hub.on_watermarks(self.bars.on_watermarks)
        self.hub.on_watermarks(self.recorder.record_watermarks)
        self.hub.on_moved(self.recorder.takeovers.move)

    def begin_epoch(self, name: str, first_sequence: int = 1, position: int = 0) -> None:
        self.hub.begin_feed(Position(name, position), first_sequence=first_sequence)
        self.recorder.begin_epoch(Started(epoch=name, first_sequence=first_sequence, position=position))
        self.bars.begin_epoch(name)

    def publish(self, *ticks: pb.Tick) -> None:
        self.hub.publish(SCANNER.scan(batch(*ticks)))
        self.recorder.reach(self.hub.position.number)

    async def restore(self) -> None:
        def take(ticks: TickBatch) -> None:
            self.restored += pb.StreamTicksResponse.FromString(ticks.data).ticks
            self.hub.restore(ticks)

        def begin(started: Started) -> None:
            self.restored.append(started)
            self.hub.restore_epoch(Position(started.epoch, started.position), started.first_sequence)

        await self.recorder.restore(Restored(begin, take, self.hub.restore_time))

    async def close(self) -> None:
        await self.recorder.close()
        self.history.close()

    async def all_ticks(self, page: int = 700) -> list[pb.Tick]:
        ticks_read, after = list[pb.Tick](), None
        while True:
            rows = await self.history.list_ticks(SYMBOL, None, None, after, page)
            ticks_read += [row.tick for row in rows]
            if len(rows) < page:
                return ticks_read
            after = rows[-1].position


@asynccontextmanager
async def recorder(folder: Path, *, kill: bool = False, **settings: object) -> AsyncIterator[RecordedMarket]:
    market = RecordedMarket(folder, **settings)
    await market.restore()
    yield market
    if kill:
        market.store.close()  # as the kernel does
    else:
        await market.close()


def ticks(count: int, first: int = 1) -> list[pb.Tick]:
    return [
        tick(n, bid_prices=[n - 0.5, n - 1.0], bid_quantities=[1, 2], ask_prices=[n + 0.5], ask_quantities=[3])
        for n in range(first, first + count)
    ]
