"""A strategy's bars over a real market: they close as market's do, and are the same."""

import asyncio
from pathlib import Path
from typing import Any

from redfire.common.v1.common_pb2 import INTERVAL_1M
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.quant.calendar.days import MINUTE_NS
from services.quant.sdk.base import BaseStrategy
from services.quant.sdk.events import Bar, Tick
from services.quant.sdk.guard import Guard
from services.strategy.runner.connections import Access, Connections
from services.strategy.runner.feeds import TickFeed
from services.strategy.runner.host import NativeHost
from tests.harness import Platform
from tests.market.fake_engine import FakeEngine
from tests.market.ticks import SYMBOL, at, tick
from tests.strategy.following import following
from tests.strategy.paper_broker import PaperBroker
from tests.waiting import until

MORNING_NS = at("2026-11-20 09:30:00")
Row = tuple[int, float, float, float, float, float, bool]


class Collector(BaseStrategy):
    """Keeps its bars."""

    bar_seconds = 60

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.kept: list[Bar] = []

    async def on_bar(self, bar: Bar) -> None:
        """Keep it."""
        self.kept.append(bar)


class Follower:
    """A strategy of bars of a minute at a real market, run by its host."""

    def __init__(self, running: Platform) -> None:
        self.ticks = self.last = 0
        self._is_present = asyncio.Event()
        self._is_present.set()
        self._reading: asyncio.Task[None] | None = None
        address = running.host.address
        self.connections = Connections(address, address, address, "")
        self._user = running.identity()
        broker = PaperBroker(SYMBOL)
        self._strategy = Collector(broker, "collector", SYMBOL, {})
        self._host = NativeHost(self._strategy, broker, Guard())

    async def follow(self) -> None:
        await self._host.initialize(None)
        access, watermarks = Access(self._user.token), self._host.makes_bars
        feed = TickFeed(self.connections, access, SYMBOL, lambda level, text: None, watermarks=watermarks)
        while True:
            await self._is_present.wait()
            self._reading = asyncio.create_task(self._read(feed))
            await asyncio.wait([self._reading])

    async def _read(self, feed: TickFeed) -> None:
        async for one in feed.updates():
            if isinstance(one, Tick):
                self.ticks, self.last = self.ticks + 1, one.sequence
                await self._host.tick(one)
            else:
                await self._host.feed_event(one)

    async def away(self) -> None:
        """Break its stream, until `back`."""
        self._is_present.clear()
        assert self._reading is not None
        self._reading.cancel()
        await asyncio.wait([self._reading])

    def back(self) -> None:
        """Open the stream again, behind the last tick."""
        self._is_present.set()

    @property
    def bars(self) -> list[Row]:
        return [
            (int(bar.time.timestamp()), bar.open, bar.high, bar.low, bar.close, bar.volume, bar.incomplete)
            for bar in self._strategy.kept
        ]

    async def of_market(self) -> list[Row]:
        """The same bars in market's history."""
        request = pb.ListBarsRequest(symbol=SYMBOL, interval=INTERVAL_1M)
        bars = (await self._user.stub(MarketServiceStub).ListBars(request)).bars
        return [
            (bar.start_time.seconds, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.incomplete) for bar in bars
        ]


def quote(sequence: int, second: float, price: float, **fields: Any) -> pb.Tick:
    return tick(
        sequence,
        time_ns=MORNING_NS + int(second * 1e9),
        last_price=price,
        last_quantity=1.0,
        gateway="SIM",
        **fields,
    )


async def test_a_quiet_symbols_bar_closes_by_the_exchanges_time_and_a_late_tick_counts_as_in_market(
    tmp_path: Path,
) -> None:
    engine = FakeEngine(first_sequence=1)
    async with following(engine, tmp_path, Follower) as strategy:
        engine.send(quote(1, 1, 5000))
        await until(lambda: strategy.ticks == 1, timeout_s=20)
        engine.send(quote(2, 20, 5003), quote(3, 40, 5001))
        engine.heartbeat(SIM=MORNING_NS + MINUTE_NS - 1)
        engine.heartbeat(CTP=MORNING_NS + 5 * MINUTE_NS)
        engine.send(quote(4, 59, 5002))
        await until(lambda: strategy.ticks == 4)
        assert not strategy.bars, "neither an earlier time nor another gateway's closes a bar"
        engine.heartbeat(SIM=MORNING_NS + MINUTE_NS)
        await until(lambda: len(strategy.bars) == 1)
        assert strategy.bars[0][1:6] == (5000, 5003, 5000, 5002, 4)
        # A late one, of a span that is over, counts to the next in both.
        engine.send(quote(5, 59.5, 5009))
        engine.heartbeat(SIM=MORNING_NS + 2 * MINUTE_NS)
        await until(lambda: len(strategy.bars) == 2)
        assert strategy.bars == await strategy.of_market()


async def test_a_late_tick_that_is_resumed_only_after_a_break_counts_as_in_market(tmp_path: Path) -> None:
    engine = FakeEngine(first_sequence=1)
    async with following(engine, tmp_path, Follower) as strategy:
        engine.send(quote(1, 1, 5000))
        await until(lambda: strategy.last == 1, timeout_s=20)
        engine.send(quote(2, 40, 5001))
        await until(lambda: strategy.last == 2)
        await strategy.away()
        engine.heartbeat(SIM=MORNING_NS + MINUTE_NS)
        engine.send(quote(3, 59.5, 5009))  # late: in market it counts to the next minute
        engine.send(quote(4, 70, 5002), quote(5, 130, 5003))
        engine.heartbeat(SIM=MORNING_NS + 3 * MINUTE_NS)

        async def has_three() -> bool:
            return len(await strategy.of_market()) == 3

        await until(has_three, 20)
        strategy.back()
        await until(lambda: len(strategy.bars) == 3, timeout_s=20)
        assert strategy.bars == await strategy.of_market()


async def test_bars_over_gaps_epochs_and_the_end_are_those_of_markets_history(tmp_path: Path) -> None:
    engine = FakeEngine(first_sequence=1)
    async with following(engine, tmp_path, Follower) as strategy:
        engine.send(quote(1, 1, 5000))
        await until(lambda: strategy.ticks == 1, timeout_s=20)
        # The stream to the engine breaks, and two ticks are lost: no tick follows in the minute.
        engine.send_message(None)
        await until(lambda: not engine.queues)
        engine.lose(quote(2, 10, 5001), quote(3, 20, 5002))
        await until(lambda: engine.queues)
        engine.heartbeat(SIM=MORNING_NS + MINUTE_NS)
        await until(lambda: len(strategy.bars) == 1)
        assert strategy.bars[0][-1], "ticks of its span are lost"
        engine.send(quote(4, 70, 5003), quote(5, 80, 5004))
        await until(lambda: strategy.ticks == 3)
        # Another run of the engine, of which no tick comes before the minute ends.
        engine.restart("e2")
        await until(lambda: len(engine.requests) == 3 and engine.queues)
        engine.heartbeat(SIM=MORNING_NS + 2 * MINUTE_NS)
        await until(lambda: len(strategy.bars) == 2)
        assert strategy.bars[1][-1], "the run ended within its span"
        engine.send(quote(1, 130, 5005, volume=10.0))
        engine.send(quote(2, 140, 5006, volume=11.0))
        await until(lambda: strategy.ticks == 5)
        engine.end_feed()
        await until(lambda: len(strategy.bars) == 3, timeout_s=10)
        assert strategy.bars[2][-1], "the replay ended within its span"
        assert strategy.bars == await strategy.of_market()
