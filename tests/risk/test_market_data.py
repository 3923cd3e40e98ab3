"""Prices that are lost or stale: noticed, told once, and no ground to open a position by."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from redfire.common.v1 import common_pb2 as common
from redfire.common.v1 import error_reason_pb2
from redfire.engine.v1 import engine_pb2
from redfire.market.v1 import market_pb2 as market
from redfire.risk.v1 import risk_pb2 as pb

from services.kernel.clock import Clock
from services.kernel.errors import Unavailable
from services.kernel.rpc.silence import SILENCE_S
from services.quant.calendar import Calendar
from services.risk.domain.limits import Limits
from services.risk.domain.market_status import BREAK_S, MarketStatus
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.prices import Prices
from services.risk.peers.price_feed import FEED_ENDED_PAUSE_S, PriceFeed
from tests.risk.conftest import World, running
from tests.risk.fakes import SYMBOL
from tests.simulated_time import SimulatedClock, in_simulated_time
from tests.waiting import until

OTHER = "rb2705.SHFE"
CLOSING = {"position_effect": common.POSITION_EFFECT_CLOSE, "side": common.SIDE_SELL}
MARKET_DATA = {"MARKET_DATA_LOST", "MARKET_DATA_STALE", "MARKET_DATA_RECOVERED"}
Response = market.StreamTicksResponse


async def market_data_events(world: World) -> list[tuple[str, str]]:
    """Events about market data, the oldest first: their reasons and symbols."""
    events = [
        (error_reason_pb2.ErrorReason.Name(e.reason), e.metadata.get("symbols", "")) for e in await world.events()
    ]
    return [(reason, symbols) for reason, symbols in reversed(events) if reason in MARKET_DATA]


async def are(world: World, *expected: tuple[str, str]) -> None:
    """Wait until these are all events about market data."""

    async def so() -> bool:
        return await market_data_events(world) == list(expected)

    await until(so)


# Over the wire -----------------------------------------------------------------------------------------------------


async def test_a_lost_feed_is_one_event_each_way_and_no_ground_to_open_a_position_by() -> None:
    async for world in running(max_price_age_s=0.05):
        world.trading.position(world.alice.user_id, world.account_id, 2)
        request = pb.StreamRiskEventsRequest()
        request.heartbeat_interval.FromMilliseconds(100)
        stream = world.risk.StreamRiskEvents(request)
        assert (await stream.read()).HasField("heartbeat")
        await until(lambda: world.market.watchers)
        for connected in (False, False, False):
            world.market.state(connected)

        async def refused() -> bool:
            return await world.reasons(dry_run=True) == ["STALE_PRICE"]

        await until(refused)
        assert await world.reasons(**CLOSING) == []
        assert await world.reasons(quantity="1") == ["STALE_PRICE"]
        world.market.state(True)

        async def accepted() -> bool:
            return await world.reasons() == []

        await until(accepted)
        await are(world, ("MARKET_DATA_LOST", ""), ("MARKET_DATA_RECOVERED", ""))
        live = list[str]()
        while len(live) < 3:
            message = await stream.read()
            if message.HasField("event"):
                live.append(error_reason_pb2.ErrorReason.Name(message.event.reason))
        assert live == ["MARKET_DATA_LOST", "STALE_PRICE", "MARKET_DATA_RECOVERED"]
        stream.cancel()


async def test_a_symbol_that_is_traded_and_silent_is_an_event_and_not_opened_any_more() -> None:
    async for world in running(max_price_age_s=0.05):
        world.market.sizes[OTHER] = "10"
        await world.check(symbol=OTHER, contract_size="10", dry_run=True)
        await until(lambda: any(OTHER in symbols for symbols in world.market.watchers.values()))
        world.market.tick(3000, symbol=OTHER)
        world.market.state(True, OTHER)
        await are(world, ("MARKET_DATA_STALE", OTHER))
        order = {"symbol": OTHER, "contract_size": "10", "price": "3000", "reference_price": "3000"}

        async def refused() -> bool:
            return await world.reasons(**order, dry_run=True) == ["STALE_PRICE"]

        await until(refused)
        assert await world.reasons() == []
        world.market.state(True)
        await are(world, ("MARKET_DATA_STALE", OTHER), ("MARKET_DATA_RECOVERED", OTHER))
        assert await world.reasons(**order) == []


async def test_a_stale_position_matters_where_the_days_loss_is_limited() -> None:
    async for world in running(max_price_age_s=0.05):
        world.market.sizes[OTHER] = "10"
        world.trading.position(world.alice.user_id, world.account_id, 1, average=3000, symbol=OTHER)
        await until(lambda: any(OTHER in symbols for symbols in world.market.watchers.values()))
        world.market.tick(3000, symbol=OTHER)
        world.market.state(True, OTHER)
        await are(world, ("MARKET_DATA_STALE", OTHER))
        assert await world.reasons() == []
        await world.limit(max_daily_loss="1000000")

        async def refused() -> bool:
            return await world.reasons(dry_run=True) == ["STALE_PRICE"]

        await until(refused)
        assert await world.reasons(**CLOSING) == []


async def test_risk_states_the_price_that_it_used_its_time_its_age_and_its_source() -> None:
    async for world in running():
        world.trading.position(world.alice.user_id, world.account_id, 2)
        await until(lambda: world.market.watchers)
        world.market.tick(4000, gateway="SIM")
        world.trading.account(world.alice.user_id, world.account_id, gateway="SIM")
        sent = world.market.last[SYMBOL]

        async def valued() -> bool:
            return (await world.exposure()).symbols[0].last_price.time.ToNanoseconds() == sent.time_ns

        await until(valued)
        price = (await world.exposure()).symbols[0].last_price
        assert (price.price, price.gateway_name, price.HasField("unconfirmed")) == ("4000", "SIM", False)
        assert timedelta(0) < price.age.ToTimedelta() < timedelta(minutes=1)
        preview = await world.check(dry_run=True)
        assert preview.last_price.time.ToNanoseconds() == sent.time_ns
        refusal = await world.check(price="9000")
        assert refusal.last_price.gateway_name == "SIM"
        metadata = refusal.violations[0].metadata
        assert metadata["last_price"] == "4000"
        assert metadata["price_gateway"] == "SIM"
        assert float(metadata["price_age_s"]) >= 0
        assert metadata["price_time"].startswith("20")
        await until(world.events)
        (event,) = await world.events()
        assert event.metadata["price_age_s"] == metadata["price_age_s"]


async def test_an_order_that_passes_says_nothing_of_prices() -> None:
    async for world in running():
        assert await world.check() == pb.CheckOrderResponse()


# In simulated time ---------------------------------------------------------------------------------------------------


class Market:
    """One symbol; each stream is what `script` yields for it."""

    def __init__(self) -> None:
        self.streams = 0
        self.script: Any = None
        self.gateways = {SYMBOL: "CTP"}
        self.asked: list[list[str]] = []

    async def ListInstruments(self, request: Any) -> market.ListInstrumentsResponse:
        return market.ListInstrumentsResponse(
            instruments=[
                market.Instrument(symbol=symbol, contract_size="300", gateway_name=gateway)
                for symbol, gateway in self.gateways.items()
            ]
        )

    async def StreamTicks(self, request: market.StreamTicksRequest) -> AsyncIterator[Response]:
        self.streams += 1
        self.asked.append(list(request.symbols))
        yield Response(started=Response.Started(epoch="one"))
        async for message in self.script(self.streams, request):
            yield message


class Engine:
    async def ListGateways(self, request: Any, timeout: float) -> engine_pb2.ListGatewaysResponse:
        real, simulated = engine_pb2.Gateway(gateway_name="CTP"), engine_pb2.Gateway(gateway_name="SIM", simulated=True)
        return engine_pb2.ListGatewaysResponse(gateways=[real, simulated])


class Feed:
    """Risk's prices of a scripted market, and the events that come of it."""

    def __init__(self, script: Any) -> None:
        self.clock: Clock = SimulatedClock(asyncio.get_running_loop())  # type: ignore[arg-type]
        self.market, self.events = Market(), list[str]()
        self.market.script = script
        portfolio = Portfolio(self.clock, Limits())
        self.prices: Prices = portfolio.prices
        self.prices.use(SYMBOL)
        status = MarketStatus(
            self.prices, self.clock, lambda reason, message, metadata: self.events.append(reason.value)
        )
        stubs: Any = (self.market, Engine())
        rate = {"": Decimal(1)}.__getitem__
        self._feed = PriceFeed(*stubs, portfolio, Calendar.load(), self.clock, 0.2, rate, status)

    async def run(self, seconds: float) -> "Feed":
        """Follow for so long."""
        task = asyncio.ensure_future(self._feed.run())
        await asyncio.wait([task], timeout=seconds)
        task.cancel()
        await asyncio.wait([task])
        return self

    @property
    def last(self) -> Any:
        return self.prices.last("", SYMBOL)

    @property
    def unconfirmed_s(self) -> float:
        return self.prices.unconfirmed_s("", SYMBOL, self.clock.monotonic())


def tick(price: float, sequence: int = 1) -> Response:
    return Response(ticks=[market.Tick(symbol=SYMBOL, last_price=price, sequence=sequence, gateway="CTP")])


async def beats(request: market.StreamTicksRequest, count: int = 1000) -> AsyncIterator[Response]:
    """A quiet feed that is heard."""
    for _ in range(count):
        await asyncio.sleep(request.heartbeat_interval.seconds or 3600)
        yield Response(heartbeat=Response.Heartbeat())


@in_simulated_time
async def test_a_market_that_hangs_is_noticed_and_asked_again() -> None:
    async def script(stream: int, request: Any) -> AsyncIterator[Response]:
        yield tick(4000 + stream)
        if stream == 1:
            await asyncio.sleep(1e6)
        async for beat in beats(request):
            yield beat

    feed = await Feed(script).run(SILENCE_S + 5)
    assert feed.last == 4002
    assert feed.events == ["MARKET_DATA_LOST", "MARKET_DATA_RECOVERED"]
    assert feed.unconfirmed_s == 0


@in_simulated_time
async def test_of_a_real_gateway_only_what_is_traded_or_held_is_followed() -> None:
    async def script(stream: int, request: Any) -> AsyncIterator[Response]:
        async for beat in beats(request):
            yield beat

    feed = Feed(script)
    feed.market.gateways |= {"IF2612.CFFEX": "CTP", "rb2701.SHFE": "SIM"}
    await feed.run(5)
    assert feed.market.asked == [[SYMBOL, "rb2701.SHFE"]]


@in_simulated_time
async def test_a_price_that_stays_for_an_hour_is_the_present_one_while_market_is_heard() -> None:
    async def script(stream: int, request: Any) -> AsyncIterator[Response]:
        yield tick(4000)
        async for beat in beats(request):
            yield beat

    feed = await Feed(script).run(3600)
    assert (feed.market.streams, feed.events, feed.unconfirmed_s) == (1, [], 0)
    view = feed.prices.view("", SYMBOL, feed.clock.monotonic())
    assert view is not None
    assert view.age_s == pytest.approx(3600)


@in_simulated_time
async def test_a_short_break_is_no_loss_and_makes_no_price_younger() -> None:
    async def script(stream: int, request: Any) -> AsyncIterator[Response]:
        yield tick(4000)
        async for beat in beats(request, 10):
            yield beat
        yield Response(end=Response.End(reason="SHUTTING_DOWN"))

    feed = await Feed(script).run(50 + BREAK_S)
    assert feed.market.streams == 2
    assert feed.events == []
    view = feed.prices.view("", SYMBOL, feed.clock.monotonic())
    assert view is not None
    assert view.age_s == pytest.approx(50 + BREAK_S)


@in_simulated_time
async def test_a_market_that_is_gone_is_one_event_however_often_it_is_asked() -> None:
    async def script(stream: int, request: Any) -> AsyncIterator[Response]:
        if 1 < stream < 100:
            raise Unavailable("down")
        yield tick(4000, stream)
        if stream == 1:
            raise Unavailable("cut")
        async for beat in beats(request):
            yield beat

    feed = await Feed(script).run(10)
    assert feed.events == ["MARKET_DATA_LOST"]
    assert feed.unconfirmed_s == pytest.approx(10)
    await feed.run(60)
    assert feed.events == ["MARKET_DATA_LOST", "MARKET_DATA_RECOVERED"]
    assert feed.unconfirmed_s == 0


@pytest.mark.parametrize(("connects", "expected"), [(True, []), (False, ["MARKET_DATA_LOST"])])
@in_simulated_time
async def test_a_market_that_only_starts_has_lost_nothing_unless_it_goes_on_to_hear_nothing(
    connects: bool, expected: list[str]
) -> None:
    async def script(stream: int, request: Any) -> AsyncIterator[Response]:
        yield Response(feed_state=Response.FeedState(connected=False))
        yield tick(4000)  # of an earlier run
        if connects:
            await asyncio.sleep(1)
            yield Response(feed_state=Response.FeedState(connected=True))
        async for beat in beats(request):
            yield beat

    feed = await Feed(script).run(0.5)
    assert feed.events == []
    assert feed.unconfirmed_s == pytest.approx(0.5)
    await feed.run(10)
    assert feed.events == expected
    assert (feed.unconfirmed_s > 0) is not connects


@in_simulated_time
async def test_a_replay_that_ended_is_no_loss_and_is_asked_for_rarely() -> None:
    async def script(stream: int, request: Any) -> AsyncIterator[Response]:
        if stream == 1:
            yield tick(4000)
        yield Response(end=Response.End(reason="FEED_ENDED"))

    feed = await Feed(script).run(300)
    assert (feed.events, feed.unconfirmed_s) == ([], 0)
    assert feed.market.streams <= 1 + 300 / FEED_ENDED_PAUSE_S


def test_a_price_of_the_gateway_that_a_symbol_left_is_not_confirmed() -> None:
    prices = Prices()
    prices.set_real_gateways(["CTP"])
    prices.put("SIM", SYMBOL, Decimal(4000), 0, now_s=10, sequence=1)
    assert prices.unconfirmed_s("SIM", SYMBOL, 50) == 0
    prices.put("CTP", SYMBOL, Decimal(4001), 0, now_s=40, sequence=1)
    assert prices.unconfirmed_s("SIM", SYMBOL, 50) == 40
    assert prices.unconfirmed_s("", SYMBOL, 50) == 0
