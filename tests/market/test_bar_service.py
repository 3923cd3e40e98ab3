"""Bars over loopback gRPC: closed by the engine's watermarks, marked over gaps and epochs, unharmed by wrong days."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redfire.common.v1 import common_pb2
from redfire.market.v1 import market_pb2 as pb

from services.market import metrics
from services.quant.calendar.days import MINUTE_NS, SECOND_NS
from tests.market.fake_engine import FakeEngine
from tests.market.running_market import OTHER, Market, bar_streams, running
from tests.market.ticks import SYMBOL, at, tick
from tests.quant.bars.made import quote
from tests.waiting import until


@pytest.fixture
async def market() -> AsyncIterator[Market]:
    async with running() as market:
        yield market


async def bars(market: Market, interval: int = common_pb2.INTERVAL_1M, symbol: str = SYMBOL) -> list[pb.Bar]:
    return list((await market.stub.ListBars(pb.ListBarsRequest(symbol=symbol, interval=interval))).bars)


async def test_bars_of_a_quiet_symbol_close_by_the_watermark_of_its_gateway(market: Market) -> None:
    call = market.stub.StreamBars(pb.StreamBarsRequest(symbols=[SYMBOL]))
    reading = asyncio.create_task(call.read())
    await market.send(quote("09:34:10", 10, 5, 1, gateway="CTP"))
    market.engine.heartbeat(SIM=at("2026-11-20 12:00:00"), CTP=at("2026-11-20 09:34:59"))
    await market.send(quote("09:34:20", 11, 7, 2, gateway="CTP"))
    assert await bars(market) == []
    market.engine.heartbeat(CTP=at("2026-11-20 09:35:00"))
    (bar,) = (await asyncio.wait_for(reading, 10)).bars
    assert (bar.close, bar.volume, bar.incomplete) == (11, 7, False)
    assert await bars(market) == [bar]
    assert [one.volume for one in await bars(market, common_pb2.INTERVAL_5M)] == [7]
    assert await bars(market, common_pb2.INTERVAL_1D) == []
    market.engine.heartbeat(CTP=at("2026-11-20 17:00:00"))

    async def day_closed() -> bool:
        return [one.volume for one in await bars(market, common_pb2.INTERVAL_1D)] == [7]

    await until(day_closed)


async def test_bars_over_lost_ticks_and_over_another_run_of_the_feed_say_so(market: Market) -> None:
    await market.send(quote("09:30:00", 10, 5, 1), quote("09:31:00", 10, 9, 60), quote("09:32:00", 10, 10, 61))
    assert [(one.volume, one.incomplete) for one in await bars(market)] == [(5, True), (4, True)]
    market.engine.restart("e2", first_sequence=1000)
    await until(lambda: market.engine.queues)
    await market.send(quote("09:32:30", 10, 90, 1000, last_quantity=2), quote("09:33:00", 10, 91, 1001))
    await market.send(quote("09:34:00", 10, 92, 1002))
    assert [(one.volume, one.incomplete) for one in (await bars(market))[2:]] == [(3, True), (1, False)]


async def test_an_impossible_day_of_one_symbol_harms_neither_it_nor_others(market: Market) -> None:
    def replaced() -> float:
        return metrics.impossible_days._value.get()

    before = replaced()
    await market.send(quote("09:30:00", 10, 5, 1), quote("09:30:00", 20, 5, 1, symbol=OTHER))
    await market.send(quote("09:31:00", 10, 9, 2, trading_day=20261332), quote("09:31:00", 20, 9, 2, symbol=OTHER))
    await market.send(quote("09:32:00", 10, 10, 3), quote("09:32:00", 20, 10, 3, symbol=OTHER))
    assert [one.volume for one in await bars(market)] == [5, 4]
    assert [one.volume for one in await bars(market, symbol=OTHER)] == [5, 4]
    ticks = (await market.stub.ListTicks(pb.ListTicksRequest(symbol=SYMBOL))).ticks
    assert [one.sequence for one in ticks] == [1, 2, 3]
    assert replaced() - before == 1


async def test_bars_of_a_live_gateway_go_on_over_the_end_of_a_replay_beside_it(tmp_path: Path) -> None:
    engine = FakeEngine()
    at_ns = tick(1).time_ns // MINUTE_NS * MINUTE_NS

    def live(sequence: int, second: int) -> pb.Tick:
        return tick(sequence, OTHER, time_ns=at_ns + second * SECOND_NS, gateway="CTP")

    async with running(engine, tmp_path) as market:
        await market.send(tick(1, time_ns=at_ns, gateway="SIM"), live(1, 1), live(2, 20))
        engine.end_feed("SIM")
        await until(lambda: bars(market))
        await market.send(live(3, 30))
        engine.send_message(None)  # an engine whose replay has ended says so again to each that comes
        await until(lambda: len(engine.requests) == 2 and engine.queues)
        await market.send(live(4, 40))
    async with running(engine, tmp_path) as market:
        await market.send(live(5, 50), live(6, 61))
        await until(lambda: bars(market, symbol=OTHER))
        (bar,) = await bars(market, symbol=OTHER)
        assert (bar.volume, await bars(market, common_pb2.INTERVAL_1D, OTHER)) == (5, [])
        (replayed,) = await bars(market)
        assert replayed.incomplete


@pytest.mark.parametrize("page_size", [1, 2, 3])
async def test_bars_of_one_start_and_two_trading_days_are_both_streamed_and_listed(
    market: Market, page_size: int
) -> None:
    interval = common_pb2.INTERVAL_4H
    call = market.stub.StreamBars(pb.StreamBarsRequest(symbols=[SYMBOL], interval=interval))
    reading = asyncio.create_task(call.read())
    await until(bar_streams)
    await market.send(
        quote("16:59:50", 10, 5, 1),
        quote("17:00:30", 11, 3, 2, trading_day=20261123),
        quote("20:00:30", 11, 4, 3, trading_day=20261123),
    )
    market.engine.restart("e2", first_sequence=1000)  # an earlier recording again: the day before closes last
    await until(lambda: market.engine.queues)
    await market.send(quote("16:30:00", 9, 1, 1000), quote("20:00:30", 12, 1, 1001, trading_day=20261123))
    streamed = list((await asyncio.wait_for(reading, 10)).bars)
    while len(streamed) < 4:
        streamed += (await asyncio.wait_for(call.read(), 10)).bars
    listed, token = list[pb.Bar](), "first"
    while token:
        request = pb.ListBarsRequest(symbol=SYMBOL, interval=interval, page_size=page_size)
        request.page_token = token.removeprefix("first")
        page = await market.stub.ListBars(request)
        listed, token = [*listed, *page.bars], page.next_page_token
    last = {(one.trading_day, one.start_time.ToNanoseconds()): one for one in streamed}
    assert [(one.trading_day, one.open) for one in listed] == [(20261120, 9), (20261123, 11), (20261123, 11)]
    assert listed == [last[key] for key in sorted(last)]


async def test_bars_of_a_day_that_was_stated_too_early_are_on_one_of_the_pages(market: Market) -> None:
    await market.send(quote("09:30:00", 10, 5, 1, trading_day=20261123), quote("09:31:00", 10, 9, 2))
    await market.send(quote("09:32:00", 10, 10, 3), quote("09:33:00", 10, 11, 4))
    first = await market.stub.ListBars(pb.ListBarsRequest(symbol=SYMBOL, page_size=2))
    rest = await market.stub.ListBars(pb.ListBarsRequest(symbol=SYMBOL, page_size=2, page_token=first.next_page_token))
    assert [(one.trading_day, one.volume) for one in rest.bars] == [(20261123, 5)]
