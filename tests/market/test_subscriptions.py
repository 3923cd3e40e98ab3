"""Subscriptions at the engine: of simulated gateways everything, of real ones the symbols that streams want."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from redfire.engine.v1 import engine_pb2
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.clock import ManualClock
from services.kernel.errors import Unavailable
from services.market.settings import MarketSettings
from services.market.subscriptions import Subscriptions
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


class SlowEngine:
    """Takes a withdrawal when it is let to, and refuses it when it is told to."""

    def __init__(self) -> None:
        self.subscribed: set[str] = set()
        self.withdrawing, self.go_on = asyncio.Event(), asyncio.Event()
        self.refuses = False

    async def Subscribe(self, request: engine_pb2.SubscribeRequest) -> None:
        self.subscribed.update(request.symbols)

    async def Unsubscribe(self, request: engine_pb2.UnsubscribeRequest) -> None:
        self.withdrawing.set()
        await self.go_on.wait()
        if self.refuses:
            raise Unavailable("not now")
        self.subscribed.difference_update(request.symbols)


async def _left(engine: SlowEngine) -> Subscriptions:
    """Subscriptions of a live symbol that nobody wants any more."""
    instruments: Any = SimpleNamespace(symbols=[LIVE], find=lambda symbol: pb.Instrument(gateway_name="CTP"))
    clock, settings = ManualClock(), MarketSettings()
    subscriptions = Subscriptions(engine, instruments, clock, lambda: settings, "m1")
    subscriptions.learn_real_gateways(["CTP"])
    await subscriptions.connect(on_demand=False)
    await subscriptions.hold([LIVE], starts_feed=False)
    subscriptions.release([LIVE])
    clock.advance(settings.unsubscribe_after_s)
    return subscriptions


async def test_who_comes_while_a_symbol_is_withdrawn_has_its_ticks() -> None:
    engine = SlowEngine()
    subscriptions = await _left(engine)
    refreshing = asyncio.ensure_future(subscriptions.refresh())
    await engine.withdrawing.wait()
    holding = asyncio.ensure_future(subscriptions.hold([LIVE], starts_feed=False))
    await asyncio.sleep(0)
    engine.go_on.set()
    await asyncio.gather(refreshing, holding)
    assert engine.subscribed == {LIVE}


async def test_a_withdrawal_that_fails_is_tried_again() -> None:
    engine = SlowEngine()
    engine.refuses = True
    engine.go_on.set()
    subscriptions = await _left(engine)
    with pytest.raises(Unavailable):
        await subscriptions.refresh()
    assert engine.subscribed == {LIVE}
    engine.refuses = False
    await subscriptions.refresh()
    assert engine.subscribed == set()
