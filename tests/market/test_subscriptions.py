"""Subscriptions at the engine: of simulated gateways everything, of real ones the symbols that streams want."""

from collections.abc import AsyncIterator

import pytest
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from tests.market.fake_engine import FakeEngine
from tests.market.refusal import refused
from tests.market.running_market import Market, read_ticks, running
from tests.market.ticks import SYMBOL, tick
from tests.waiting import until

LIVE, OTHER, THIRD = "au2612.SHFE", "rb2701.SHFE", "cu2701.SHFE"


def _engine() -> FakeEngine:
    """SYMBOL is SIM's, the others are CTP's."""
    engine = FakeEngine(realtime=True)
    engine.symbols = [SYMBOL, LIVE, OTHER, THIRD]
    engine.gateways = {SYMBOL: "SIM", LIVE: "CTP", OTHER: "CTP", THIRD: "CTP"}
    return engine


@pytest.fixture
async def market() -> AsyncIterator[Market]:
    async with running(_engine(), unsubscribe_after_s=0.5) as market:
        yield market


async def test_real_gateways_are_asked_for_what_is_streamed_and_no_longer_a_while_after(market: Market) -> None:
    engine = market.engine
    assert engine.subscribed == {SYMBOL}
    call = market.stub.StreamTicks(pb.StreamTicksRequest(symbols=[LIVE]))
    stream_id = (await call.read()).started.stream_id
    await until(lambda: engine.subscribed == {SYMBOL, LIVE})
    update = pb.UpdateSubscriptionRequest(stream_id=stream_id, add_symbols=[OTHER], remove_symbols=[LIVE])
    await market.stub.UpdateSubscription(update)
    assert OTHER in engine.subscribed
    await until(lambda: engine.subscribed == {SYMBOL, OTHER})
    engine.send(tick(1, OTHER))
    assert await read_ticks(call, 1) == [1]
    call.cancel()
    await until(lambda: engine.subscribed == {SYMBOL})


async def test_services_streams_and_bars_and_last_ticks_are_wanted_too(market: Market) -> None:
    engine = market.engine
    service = market.platform.service_stub(MarketServiceStub, caller="risk")
    ticks = service.StreamTicks(pb.StreamTicksRequest(symbols=[LIVE]))
    await ticks.read()
    bars = market.stub.StreamBars(pb.StreamBarsRequest(symbols=[OTHER], heartbeat_interval={"seconds": 1}))
    await bars.read()
    _, reason, _ = await refused(market.stub.GetTick(pb.GetTickRequest(symbol=THIRD)))
    assert reason == "NO_TICK"
    assert engine.subscribed == {SYMBOL, LIVE, OTHER, THIRD}
    engine.send(tick(1, THIRD))
    await until(lambda: market.last(THIRD, 1))
    for call in (ticks, bars):
        call.cancel()
    await until(lambda: engine.subscribed == {SYMBOL})


async def test_an_engine_that_was_restarted_is_asked_again(market: Market) -> None:
    engine = market.engine
    call = market.stub.StreamTicks(pb.StreamTicksRequest(symbols=[LIVE]))
    await call.read()
    await until(lambda: engine.subscribed == {SYMBOL, LIVE})
    engine.subscribed.clear()
    engine.restart("e2")
    await until(lambda: engine.subscribed == {SYMBOL, LIVE})
    call.cancel()


async def test_symbols_that_settings_name_are_always_taken() -> None:
    async with running(_engine(), record_symbols=("au*.SHFE",)) as market:
        assert market.engine.subscribed == {SYMBOL, LIVE}
