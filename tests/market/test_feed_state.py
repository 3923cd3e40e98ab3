"""Streams are told which symbols fell silent, tick again, or have come to their replay's end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redfire.engine.v1 import engine_pb2
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.clock import ManualClock
from services.market import bind
from tests.harness import FakeService, platform
from tests.market.fake_engine import FakeEngine
from tests.market.ticks import SYMBOL, tick
from tests.waiting import until

OTHER = "rb2105.SHFE"


class GatewayEngine(FakeEngine):
    """An engine whose instruments are SIM's, which is live or a recording; those of `ctp` are CTP's."""

    ctp: frozenset[str] = frozenset()

    async def ListContracts(self, request: Any, call: Any) -> engine_pb2.ListContractsResponse:
        answer = await super().ListContracts(request, call)
        for instrument in answer.instruments:
            instrument.gateway_name = "CTP" if instrument.symbol in self.ctp else "SIM"
        return answer


class Session:
    """A market in a session, whose time the test turns; symbols tick twice a second while they are in `ticking`."""

    def __init__(self, engine: FakeEngine, clock: ManualClock, stub: Any) -> None:
        self.engine = engine
        self.clock = clock
        self.ticking: set[str] = set()
        self._sequences = {SYMBOL: 0, OTHER: 0}
        self._stub = stub

    async def pass_time(self) -> None:
        """Let time pass fast until cancelled."""
        while True:
            self.clock.advance(1)
            for symbol in sorted(self.ticking):
                for _ in range(2):
                    self._sequences[symbol] += 1
                    fields = {"time_ns": self.clock.now_ns(), "gateway": "SIM", "trading_day": 20260105}
                    self.engine.send(tick(self._sequences[symbol], symbol, **fields))
            await asyncio.sleep(0.01)

    def states(self, *symbols: str) -> AsyncIterator[list[str]]:
        """The stale symbols of a stream of these, whenever market tells them."""
        request = pb.StreamTicksRequest(symbols=symbols, mode=pb.DELIVERY_MODE_CONFLATED)
        return self._read(self._stub.StreamTicks(request))

    @staticmethod
    async def _read(call: Any) -> AsyncIterator[list[str]]:
        async for message in call:
            if message.HasField("feed_state"):
                assert message.feed_state.connected
                yield list(message.feed_state.stale_symbols)


@asynccontextmanager
async def session(*, live: bool) -> AsyncIterator[Session]:
    engine, clock = GatewayEngine(realtime=live), ManualClock()
    fakes = {"engine": FakeService(lambda context: [engine])}
    async with platform("market", fakes=fakes, clock=clock) as running:
        await until(lambda: engine.subscribed)
        made = Session(engine, clock, running.service_stub(MarketServiceStub, "risk"))
        time = asyncio.ensure_future(made.pass_time())
        try:
            yield made
        finally:
            time.cancel()


@pytest.fixture(autouse=True)
def fast_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bind, "SWEEP_S", 0.01)


async def test_a_symbol_that_falls_silent_is_told_to_the_streams_that_carry_it_and_again_when_it_ticks() -> None:
    async with session(live=True) as market:
        market.ticking = {SYMBOL, OTHER}
        of_both, of_other = market.states(SYMBOL, OTHER), market.states(OTHER)
        told_to_other = asyncio.ensure_future(anext(of_other))
        begin = market.clock.monotonic()
        await until(lambda: market.clock.monotonic() > begin + 90)
        market.ticking = {OTHER}
        assert await anext(of_both) == [SYMBOL]
        # A stream that is opened now is told, too.
        assert await anext(market.states(SYMBOL)) == [SYMBOL]
        market.ticking = {SYMBOL, OTHER}
        assert await anext(of_both) == []
        assert not told_to_other.done()
        market.ticking = {SYMBOL}
        assert await told_to_other == [OTHER]


async def test_a_recording_is_never_stale() -> None:
    async with session(live=False) as market:
        market.ticking = {SYMBOL}
        told = asyncio.ensure_future(anext(market.states(SYMBOL)))
        begin = market.clock.monotonic()
        await until(lambda: market.clock.monotonic() > begin + 90)
        market.ticking = set()
        await until(lambda: market.clock.monotonic() > begin + 300, timeout_s=20)
        assert not told.done()
        told.cancel()


async def test_a_replay_that_ends_does_not_end_the_streams_of_a_live_gateway_beside_it() -> None:
    engine = GatewayEngine()
    engine.ctp = frozenset((OTHER,))
    async with platform("market", fakes={"engine": FakeService(lambda context: [engine])}) as running:
        await until(lambda: engine.subscribed)
        stub: Any = running.service_stub(MarketServiceStub, "risk")

        def following(*symbols: str) -> AsyncIterator[pb.StreamTicksResponse]:
            return aiter(stub.StreamTicks(pb.StreamTicksRequest(symbols=symbols)))

        async def next_tick(stream: AsyncIterator[pb.StreamTicksResponse]) -> tuple[str, int]:
            async for message in stream:
                assert not message.HasField("end")
                for one in message.ticks:
                    return one.symbol, one.sequence
            raise AssertionError("the stream ended")

        of_replay, of_both, of_live = following(SYMBOL), following(SYMBOL, OTHER), following(OTHER)
        engine.send(tick(1, gateway="SIM"), tick(1, OTHER, gateway="CTP"))
        assert await next_tick(of_replay) == (SYMBOL, 1)
        assert await next_tick(of_live) == (OTHER, 1)
        engine.end_feed()
        assert [message.end.reason async for message in of_replay if message.HasField("end")] == ["FEED_ENDED"]
        opened_later = following(OTHER)
        assert await next_tick(opened_later) == (OTHER, 1)
        engine.send(tick(2, OTHER, gateway="CTP"))
        assert await next_tick(of_live) == (OTHER, 2)
        assert await next_tick(opened_later) == (OTHER, 2)
        async for message in of_both:
            assert not message.HasField("end")
            if [one.sequence for one in message.ticks if one.symbol == OTHER] == [2]:
                break
