"""Market with the real engine: a replay reaches a subscriber whole, and the simulated feed moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.engine.vnpy import home as vnpy_home
from services.quant.sdk.bar_builder import BarBuilder
from services.strategy.runner.convert import bar_from_pb, tick_from_pb
from tests.harness import platform
from tests.market.ticks import SYMBOL, daily
from tests.recorded_days import IF, recorded, recorded_days
from tests.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def vnpy_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """vnpy keeps the folder that it was first imported with, which must outlive a test's own."""
    vnpy_home.prepare(tmp_path_factory.mktemp("vnpy"))


@asynccontextmanager
async def market(feed: str) -> AsyncIterator[MarketServiceStub]:
    async with platform("engine", "market", settings={"engine": {"feed": feed}}) as running:
        stub = running.identity(role="user").stub(MarketServiceStub)

        async def known() -> bool:
            return bool((await stub.ListInstruments(pb.ListInstrumentsRequest())).instruments)

        await until(known, timeout_s=20)
        yield stub


async def test_a_replay_at_full_speed_arrives_complete_and_in_order_with_the_exchanges_daily_bars() -> None:
    daily_bars = daily()
    async with market(f"replay:{recorded_days(IF)}@max?start=subscribe") as stub:
        ticks: list[pb.Tick] = []
        events: list[str] = []
        async for message in stub.StreamTicks(pb.StreamTicksRequest(symbols=[SYMBOL]), timeout=120):
            ticks += message.ticks
            events += filter(None, [message.WhichOneof("event")])
        assert len(ticks) == 84_347
        assert [one.sequence for one in ticks] == list(range(ticks[0].sequence, ticks[0].sequence + 84_347))
        assert [kind for kind in events if kind != "heartbeat"] == ["started", "end"]
        days = (await stub.ListBars(pb.ListBarsRequest(symbol=SYMBOL, interval=7))).bars
        for bar, day in zip(days, (20210104, 20210105, 20210106), strict=True):
            names = ("open", "high", "low", "close", "volume", "turnover", "open_interest")
            assert [getattr(bar, name) for name in names] == [daily_bars[day][name] for name in names]


async def test_bars_of_a_replay_are_the_same_streamed_listed_and_made_by_a_strategy() -> None:
    async with market(f"replay:{recorded(IF)}@max?start=subscribe") as stub:
        request = pb.StreamBarsRequest(symbols=[SYMBOL])
        streamed = [bar async for message in stub.StreamBars(request, timeout=120) for bar in message.bars]
        listed = await stub.ListBars(pb.ListBarsRequest(symbol=SYMBOL, page_size=1000))
        assert list(listed.bars) == streamed
        builder, made = BarBuilder(60), []
        ticks = pb.ListTicksRequest(symbol=SYMBOL, page_size=1000)
        while page := await stub.ListTicks(ticks):
            made += filter(None, [builder.add(tick_from_pb(one)) for one in page.ticks])
            ticks.page_token = page.next_page_token
            if not page.next_page_token:
                break
        assert [bar_from_pb(bar) for bar in streamed] == made
        assert len(streamed) > 700 and not any(bar.incomplete for bar in streamed)


async def test_the_simulated_feed_streams_all_its_symbols_without_a_gap() -> None:
    async with market("sim:7") as stub:
        first = (await stub.ListInstruments(pb.ListInstrumentsRequest())).instruments
        last: dict[str, int] = {}
        count = 0
        async for message in stub.StreamTicks(pb.StreamTicksRequest(symbols=[one.symbol for one in first]), timeout=30):
            assert not message.HasField("gap")
            for one in message.ticks:
                assert one.sequence == last.get(one.symbol, one.sequence - 1) + 1
                last[one.symbol] = one.sequence
                count += 1
            if count > 300:
                break
        assert count > 300 and len(last) > 1
