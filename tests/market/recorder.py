"""Hub, bars and history as market wires them, and ticks to record."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from redfire.market.v1 import market_pb2 as pb

from services.market.bars.bars import Bars
from services.market.control_messages import TickNews
from services.market.local_clock import LocalClock
from services.market.recording.history import History
from services.market.settings import MarketSettings
from services.market.ticks.frames import split
from services.market.ticks.hub import Hub
from tests.market.ticks import SYMBOL, batch, tick


class Recorder:
    """Hub, bars and history as the service wires them."""

    def __init__(self, folder: Path, **settings: object) -> None:
        clock = LocalClock("Asia/Shanghai")
        self.hub: Hub[pb.Tick] = Hub(TickNews(), 100, self._move)
        self.bars = Bars(clock, lambda bar: self.history.record_bar(bar))
        self.history = History(folder, MarketSettings(**settings), clock, self.bars, self.hub.last_frames)  # type: ignore[arg-type]
        self.hub.sinks.append(self._on_ticks)

    def _on_ticks(self, frames: Sequence[bytes], ticks: Sequence[pb.Tick]) -> None:
        for one in ticks:
            self.bars.on_tick(one)
        self.history.record(frames, ticks)

    def _move(self, symbol: str, gateway: str) -> None:
        self.bars.forget(symbol)
        self.history.move(symbol, gateway)

    def publish(self, *ticks: pb.Tick) -> None:
        self.hub.publish(split(batch(*ticks)), ticks)

    async def all_ticks(self, page: int = 700) -> list[pb.Tick]:
        found: list[pb.Tick] = []
        while True:
            after = (found[-1].time_ns, found[-1].sequence) if found else None
            rows = await self.history.list_ticks(SYMBOL, None, None, after, page)
            found += rows
            if len(rows) < page:
                return found


@asynccontextmanager
async def recorder(folder: Path, *, kill: bool = False, **settings: object) -> AsyncIterator[Recorder]:
    made = Recorder(folder, **settings)
    await made.history.restore(made.hub.restore)
    yield made
    if not kill:
        await made.history.close()


def ticks(count: int, first: int = 1) -> list[pb.Tick]:
    return [
        tick(n, bid_prices=[n - 0.5, n - 1.0], bid_quantities=[1, 2], ask_prices=[n + 0.5], ask_quantities=[3])
        for n in range(first, first + count)
    ]
