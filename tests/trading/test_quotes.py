"""Quotes that trading goes by: followed whatever the market does, and as old as their exchange says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redfire.market.v1 import market_pb2 as pb

from services.kernel.clock import Clock
from services.kernel.errors import NotFound
from services.kernel.rpc.silence import PROMPT_SILENCE_S
from services.kernel.tasks import Tasks
from services.trading.domain.quote import LastPrices
from services.trading.peers.quotes import Quotes
from tests.simulated_time import SimulatedClock, in_simulated_time

SYMBOL = "IF2606.CFFEX"


class Market:
    """Streams that send what the test puts into them; one that is hung sends nothing, not even heartbeats."""

    def __init__(self) -> None:
        self.last: pb.Tick | None = None
        self.requests: list[pb.StreamTicksRequest] = []
        self.queues: set[asyncio.Queue[pb.StreamTicksResponse]] = set()
        self.hung = False
        self.ended = ""
        self.unlisted: set[str] = set()

    def tick(self, sequence: int, price: float, time_ns: int, gateway: str = "CTP") -> None:
        self.last = pb.Tick(symbol=SYMBOL, sequence=sequence, last_price=price, time_ns=time_ns, gateway=gateway)
        if not self.hung:
            for queue in self.queues:
                queue.put_nowait(pb.StreamTicksResponse(ticks=[self.last]))

    async def StreamTicks(self, request: pb.StreamTicksRequest) -> AsyncIterator[pb.StreamTicksResponse]:
        self.requests.append(request)
        for symbol in request.symbols:
            self._require(symbol)
        queue: asyncio.Queue[pb.StreamTicksResponse] = asyncio.Queue()
        self.queues.add(queue)
        beat_s = request.heartbeat_interval.ToTimedelta().total_seconds() or 3600
        try:
            if self.last is not None:
                yield pb.StreamTicksResponse(ticks=[self.last])
            while not self.ended:
                try:
                    async with asyncio.timeout(beat_s):
                        yield await queue.get()
                except TimeoutError:
                    while self.hung:
                        await asyncio.sleep(1)
                    yield pb.StreamTicksResponse(heartbeat=pb.StreamTicksResponse.Heartbeat())
            yield pb.StreamTicksResponse(end=pb.StreamTicksResponse.End(reason=self.ended))
        finally:
            self.queues.discard(queue)

    async def GetTick(self, request: pb.GetTickRequest, timeout: float) -> pb.GetTickResponse:
        return pb.GetTickResponse(tick=self.last)

    async def GetInstrument(self, request: pb.GetInstrumentRequest, timeout: float) -> pb.GetInstrumentResponse:
        self._require(request.symbol)
        return pb.GetInstrumentResponse(instrument=pb.Instrument(symbol=request.symbol))

    def _require(self, symbol: str) -> None:
        if symbol in self.unlisted:
            raise NotFound("instrument", symbol, symbol=symbol)


@asynccontextmanager
async def following(market: Market, recorded: bool = False) -> AsyncIterator[tuple[Quotes, Clock]]:
    """Quotes of one watched symbol."""
    clock, tasks, stub = SimulatedClock(asyncio.get_running_loop()), Tasks(), market  # type: ignore[arg-type]
    natures = {"SIM": True, "CTP": False}
    quotes = Quotes(stub, tasks, LastPrices(natures), clock, natures, {"SIM": recorded, "CTP": False})  # type: ignore[arg-type]
    follow = asyncio.ensure_future(quotes.follow())
    quotes.watch(SYMBOL)
    await asyncio.sleep(1)
    try:
        yield quotes, clock
    finally:
        follow.cancel()
        await tasks.stop()


def last_price(quotes: Quotes, gateway: str = "CTP") -> Any:
    quote = quotes.find(SYMBOL, gateway)
    return None if quote is None else quote.last_price


@in_simulated_time
async def test_a_market_that_hangs_on_a_live_connection_is_asked_again() -> None:
    market = Market()
    async with following(market) as (quotes, clock):
        market.tick(1, 4000.0, clock.now_ns())
        await asyncio.sleep(1)
        market.hung = True
        market.tick(2, 4001.0, clock.now_ns())
        await asyncio.sleep(PROMPT_SILENCE_S + 1)
        assert last_price(quotes) == 4001
        assert len(market.requests) == 2


@in_simulated_time
async def test_a_quiet_market_is_left_alone() -> None:
    market = Market()
    async with following(market):
        await asyncio.sleep(3600)
        assert len(market.requests) == 1


@in_simulated_time
async def test_an_ended_replay_is_asked_rarely_and_the_next_feed_is_picked_up() -> None:
    market = Market()
    market.ended = "FEED_ENDED"
    async with following(market) as (quotes, clock):
        await asyncio.sleep(60)
        assert len(market.requests) < 25
        market.ended = ""
        market.tick(1, 4000.0, clock.now_ns(), "SIM")
        await asyncio.sleep(6)
        assert last_price(quotes, "SIM") == 4000


@in_simulated_time
async def test_symbols_that_are_not_listed_keep_no_others_from_their_prices_and_are_followed_once_they_are() -> None:
    market = Market()
    market.unlisted = {"IF2101.CFFEX", "au2612.SHFE"}
    async with following(market) as (quotes, clock):
        for symbol in market.unlisted:
            quotes.watch(symbol)
        await asyncio.sleep(1)
        market.tick(1, 4000.0, clock.now_ns())
        await asyncio.sleep(0)
        assert last_price(quotes) == 4000
        assert list(market.requests[-1].symbols) == [SYMBOL]
        await asyncio.sleep(3600)
        asked = len(market.requests)
        market.unlisted.discard("au2612.SHFE")
        await asyncio.sleep(6)
        assert [list(request.symbols) for request in market.requests[asked:]] == [[SYMBOL, "au2612.SHFE"]]


@pytest.mark.parametrize(
    ("gateway", "recorded", "age_s"), [("CTP", True, 3600), ("SIM", False, 3600), ("SIM", True, 0)]
)
@in_simulated_time
async def test_a_price_is_as_old_as_its_exchange_says_unless_it_is_a_recordings(
    gateway: str, recorded: bool, age_s: float
) -> None:
    market = Market()
    async with following(market, recorded) as (quotes, clock):
        market.tick(1, 4000.0, clock.now_ns() - 3600 * 10**9, gateway)
        quote = await quotes.fetch(SYMBOL, gateway)
        assert quote is not None
        assert quotes.age_s(quote) == pytest.approx(age_s)


@in_simulated_time
async def test_an_exchange_clock_that_is_ahead_makes_no_price_younger() -> None:
    market = Market()
    async with following(market) as (quotes, clock):
        market.tick(1, 4000.0, clock.now_ns() + 3600 * 10**9)
        quote = await quotes.fetch(SYMBOL, "CTP")
        assert quote is not None
        await asyncio.sleep(7)
        assert quotes.age_s(quote) == pytest.approx(7)
