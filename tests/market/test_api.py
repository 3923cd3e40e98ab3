"""The market service over loopback gRPC: every RPC and its errors, with a small engine behind it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from redfire.common.v1 import common_pb2
from redfire.engine.v1 import engine_pb2
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from tests.market.fake_engine import FakeEngine
from tests.market.refusal import refused
from tests.market.running_market import OTHER, Market, bar_streams, read_ticks, running
from tests.market.ticks import SYMBOL, at, daily, recorded, tick
from tests.waiting import until, until_still


@pytest.fixture
async def market() -> AsyncIterator[Market]:
    async with running() as market:
        yield market


async def test_instruments_are_listed_by_symbol_filtered_and_paged(market: Market) -> None:
    everything = (await market.stub.ListInstruments(pb.ListInstrumentsRequest())).instruments
    assert [one.symbol for one in everything] == sorted(market.engine.symbols)
    first = await market.stub.ListInstruments(pb.ListInstrumentsRequest(page_size=2))
    second = await market.stub.ListInstruments(pb.ListInstrumentsRequest(page_size=2, page_token=first.next_page_token))
    assert [*first.instruments, *second.instruments] == list(everything)
    assert second.next_page_token == ""
    shfe = await market.stub.ListInstruments(pb.ListInstrumentsRequest(exchange="SHFE"))
    assert [one.symbol for one in shfe.instruments] == [OTHER]
    named = await market.stub.ListInstruments(pb.ListInstrumentsRequest(query="FUTURE if"))
    assert [one.symbol for one in named.instruments] == [SYMBOL]
    other = pb.ListInstrumentsRequest(page_token=first.next_page_token, exchange="SHFE")
    assert await refused(market.stub.ListInstruments(other)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_PAGE_TOKEN",
        ["page_token"],
    )


async def test_guests_see_instruments_and_nothing_else(market: Market) -> None:
    guest = market.platform.stub(MarketServiceStub)
    assert (await guest.GetInstrument(pb.GetInstrumentRequest(symbol=SYMBOL))).instrument.price_tick == "0.2"
    code, _, _ = await refused(guest.GetTick(pb.GetTickRequest(symbol=SYMBOL)))
    assert code == grpc.StatusCode.UNAUTHENTICATED
    code, _, _ = await refused(guest.StreamTicks(pb.StreamTicksRequest(symbols=[SYMBOL])))
    assert code == grpc.StatusCode.UNAUTHENTICATED


async def test_unknown_symbols_are_not_found(market: Market) -> None:
    unknown = "ZZ9999.SHFE"
    stub = market.stub
    for call in (
        stub.GetInstrument(pb.GetInstrumentRequest(symbol=unknown)),
        stub.StreamTicks(pb.StreamTicksRequest(symbols=[SYMBOL, unknown])),
        stub.StreamBars(pb.StreamBarsRequest(symbols=[unknown])),
        stub.ListTicks(pb.ListTicksRequest(symbol=unknown)),
        stub.ListBars(pb.ListBarsRequest(symbol=unknown)),
        stub.ComputeIndicators(pb.ComputeIndicatorsRequest(symbol=unknown, names=["sma(2)"])),
    ):
        assert await refused(call) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_SYMBOL", [])
    assert await refused(stub.GetTick(pb.GetTickRequest(symbol=SYMBOL))) == (grpc.StatusCode.NOT_FOUND, "NO_TICK", [])


async def test_a_refusal_says_once_what_is_not_found(market: Market) -> None:
    for call, message in (
        (market.stub.GetInstrument(pb.GetInstrumentRequest(symbol="ZZ9999.SHFE")), "instrument ZZ9999.SHFE not found"),
        (market.stub.GetTick(pb.GetTickRequest(symbol=SYMBOL)), f"no tick of {SYMBOL} was seen yet"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call
        assert failed.value.details() == message


async def test_the_last_tick_is_what_the_engine_sent(market: Market) -> None:
    sent = tick(7, bid_prices=[1.0, 2.0], limit_up=9.5)
    await market.send(sent)
    assert (await market.stub.GetTick(pb.GetTickRequest(symbol=SYMBOL))).tick == sent


async def test_a_stream_starts_then_gives_the_last_tick_then_every_one(market: Market) -> None:
    await market.send(tick(1), tick(2))
    call = market.stub.StreamTicks(pb.StreamTicksRequest(symbols=[SYMBOL, SYMBOL]))
    assert (await call.read()).started.stream_id
    assert [one.sequence for one in (await call.read()).ticks] == [2]
    for n in range(3, 50):
        market.engine.send(tick(n), tick(n, OTHER))
    assert await read_ticks(call, 47) == list(range(3, 50))


async def test_a_stream_resumes_after_a_sequence(market: Market) -> None:
    await market.send(*[tick(n) for n in range(1, 11)])
    request = pb.StreamTicksRequest(symbols=[SYMBOL], resume_after_sequence={SYMBOL: 4})
    assert await read_ticks(market.stub.StreamTicks(request), 6) == [5, 6, 7, 8, 9, 10]


async def test_a_silent_stream_sends_heartbeats(market: Market) -> None:
    request = pb.StreamTicksRequest(symbols=[SYMBOL], heartbeat_interval={"nanos": 100_000_000})
    call = market.stub.StreamTicks(request)
    await call.read()
    assert (await call.read()).HasField("heartbeat")
    bars = market.stub.StreamBars(pb.StreamBarsRequest(symbols=[SYMBOL], heartbeat_interval={"nanos": 100_000_000}))
    assert (await bars.read()).HasField("heartbeat")


async def test_a_conflated_stream_gives_the_latest(market: Market) -> None:
    await market.send(tick(1))
    request = pb.StreamTicksRequest(
        symbols=[SYMBOL], mode=pb.DELIVERY_MODE_CONFLATED, min_interval={"nanos": 200_000_000}
    )
    call = market.stub.StreamTicks(request)
    assert await read_ticks(call, 1) == [1]
    await market.send(*[tick(n) for n in range(2, 100)])
    assert await read_ticks(call, 1) == [99]


async def test_a_stream_takes_other_symbols_while_it_runs_but_only_from_its_owner(market: Market) -> None:
    await market.send(tick(1), tick(1, OTHER))
    call = market.stub.StreamTicks(pb.StreamTicksRequest(symbols=[SYMBOL]))
    stream_id = (await call.read()).started.stream_id
    assert await read_ticks(call, 1) == [1]
    update = pb.UpdateSubscriptionRequest(stream_id=stream_id, add_symbols=[OTHER], remove_symbols=[SYMBOL])
    mallory = market.platform.identity(role="user").stub(MarketServiceStub)
    assert await refused(mallory.UpdateSubscription(update)) == (grpc.StatusCode.NOT_FOUND, "STREAM_NOT_FOUND", [])
    for _ in range(2):
        assert list((await market.stub.UpdateSubscription(update)).symbols) == [OTHER]
    market.engine.send(tick(2), tick(2, OTHER))
    pairs: list[tuple[str, int]] = []
    while len(pairs) < 2:
        pairs += [(one.symbol, one.sequence) for one in (await call.read()).ticks]
    assert pairs == [(OTHER, 1), (OTHER, 2)]
    unknown = pb.UpdateSubscriptionRequest(stream_id=stream_id, add_symbols=["ZZ9999.SHFE"])
    assert await refused(market.stub.UpdateSubscription(unknown)) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_SYMBOL", [])
    call.cancel()
    await until(lambda: _gone(market, update))


async def _gone(market: Market, update: pb.UpdateSubscriptionRequest) -> bool:
    try:
        await market.stub.UpdateSubscription(update)
    except grpc.aio.AioRpcError as error:
        return bool(error.code() == grpc.StatusCode.NOT_FOUND)
    return False


@pytest.mark.parametrize(
    "fields",
    [
        {"symbols": []},
        {"symbols": ["nonsense"]},
        {"symbols": [SYMBOL] * 501},
        {"symbols": [SYMBOL], "mode": 99},
        {"symbols": [SYMBOL], "heartbeat_interval": {"seconds": -1}},
        {"symbols": [SYMBOL], "min_interval": {"seconds": 86_400}},
    ],
)
async def test_a_bad_request_for_a_stream_is_invalid(market: Market, fields: dict[str, Any]) -> None:
    code, reason, violations = await refused(market.stub.StreamTicks(pb.StreamTicksRequest(**fields)))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert violations


async def test_the_engine_may_go_away_and_come_back_and_what_was_lost_is_reported(market: Market) -> None:
    await market.send(tick(1))
    call = market.stub.StreamTicks(pb.StreamTicksRequest(symbols=[SYMBOL]))
    await call.read()
    assert await read_ticks(call, 1) == [1]
    market.engine.send_message(None)
    await until(lambda: not market.engine.queues)
    market.engine.subscribed.clear()
    await until(lambda: market.engine.queues and market.engine.subscribed)
    market.engine.send(tick(5))
    assert not (await call.read()).feed_state.connected
    assert (await call.read()).feed_state.connected
    gap = (await call.read()).gap
    assert (gap.symbol, gap.first_sequence, gap.last_sequence) == (SYMBOL, 2, 4)
    assert await read_ticks(call, 1) == [5]


async def test_a_feed_that_waits_for_readers_is_subscribed_when_the_first_stream_opens() -> None:
    engine = FakeEngine(paced=True, on_demand=True)
    async with running(engine) as market:
        assert engine.subscribed == set()
        call = market.stub.StreamTicks(pb.StreamTicksRequest(symbols=[SYMBOL]))
        await until(lambda: engine.subscribed == {SYMBOL})
        engine.send(tick(1), tick(2))
        engine.send_message(engine_pb2.StreamTicksResponse(feed_ended={}))
        messages = [message async for message in call]
        assert [one.sequence for message in messages for one in message.ticks] == [1, 2]
        assert messages[-1].end.reason == "FEED_ENDED"


async def test_a_service_that_looks_on_starts_no_waiting_feed_by_any_stream() -> None:
    engine = FakeEngine(paced=True, on_demand=True)
    async with running(engine) as market:
        stub = market.platform.service_stub(MarketServiceStub, caller="risk")
        ticks = stub.StreamTicks(pb.StreamTicksRequest(symbols=[SYMBOL]))
        stream_id = (await ticks.read()).started.stream_id
        await stub.UpdateSubscription(pb.UpdateSubscriptionRequest(stream_id=stream_id, add_symbols=[OTHER]))
        bars = stub.StreamBars(pb.StreamBarsRequest(symbols=[SYMBOL], heartbeat_interval={"seconds": 1}))
        assert (await bars.read()).WhichOneof("event") == "heartbeat"
        assert engine.subscribed == set()
        call = market.stub.StreamBars(pb.StreamBarsRequest(symbols=[SYMBOL]))
        reading = asyncio.ensure_future(call.read())
        await until(lambda: engine.subscribed == {SYMBOL})
        reading.cancel()


@pytest.mark.parametrize("acknowledged", [True, False])
@pytest.mark.slow
async def test_a_paced_feed_is_read_as_fast_as_the_slowest_lossless_stream_takes_it(acknowledged: bool) -> None:
    engine = FakeEngine(paced=True)
    engine.waits_for_acknowledgements = acknowledged
    async with running(engine, buffer_ticks=1000) as market:
        call = market.stub.StreamTicks(pb.StreamTicksRequest(symbols=[SYMBOL]), timeout=60)
        await call.read()
        blob = [float(n) for n in range(200)]
        for first in range(1, 20_001, 50):
            engine.send(*[tick(n, bid_prices=blob) for n in range(first, first + 50)])
        await until(lambda: engine.taken > 5)
        assert await until_still(lambda: engine.taken) < 400
        assert await read_ticks(call, 20_000) == list(range(1, 20_001))


async def test_stopping_ends_streams_with_what_to_resume_after() -> None:
    messages: list[pb.StreamTicksResponse] = []

    async def read(call: Any) -> None:
        async for message in call:
            messages.append(message)

    async with running() as market:
        await market.send(tick(1), tick(2))
        reading = asyncio.create_task(read(market.stub.StreamTicks(pb.StreamTicksRequest(symbols=[SYMBOL]))))
        await until(lambda: len(messages) == 2)
        await market.platform.host.stop()
        await asyncio.wait_for(reading, 5)
    assert messages[-1].end.reason == "SHUTTING_DOWN"
    assert dict(messages[-1].end.resume_after_sequence) == {SYMBOL: 2}


async def test_closed_bars_are_streamed_and_listed(market: Market) -> None:
    call = market.stub.StreamBars(pb.StreamBarsRequest(symbols=[SYMBOL]))
    five = market.stub.StreamBars(
        pb.StreamBarsRequest(symbols=[SYMBOL], interval=common_pb2.INTERVAL_5M, heartbeat_interval={"seconds": 3})
    )
    waiting = [asyncio.create_task(stream.read()) for stream in (call, five)]
    await until(lambda: bar_streams() == 2)
    await market.send(*[tick(n) for n in range(1, 1200)])
    (bar,) = (await waiting[0]).bars[:1]
    assert bar.start_time.ToNanoseconds() == at("2026-11-20 09:30:00")
    assert (bar.interval, bar.volume) == (common_pb2.INTERVAL_1M, 119)
    (longer,) = (await waiting[1]).bars[:1]
    assert (longer.interval, longer.volume) == (common_pb2.INTERVAL_5M, 599)
    first = await market.stub.ListBars(pb.ListBarsRequest(symbol=SYMBOL, page_size=4))
    rest = await market.stub.ListBars(pb.ListBarsRequest(symbol=SYMBOL, page_token=first.next_page_token, page_size=4))
    starts = [one.start_time.ToNanoseconds() for one in [*first.bars, *rest.bars]]
    assert starts == [at(f"2026-11-20 09:{minute}:00") for minute in range(30, 38)]
    ticks = await market.stub.ListTicks(pb.ListTicksRequest(symbol=SYMBOL, page_size=5000))
    assert [one.sequence for one in ticks.ticks] == list(range(1, 1001))


async def test_ranges_beyond_all_time_are_empty_and_upside_down_ones_invalid(market: Market) -> None:
    await market.send(*[tick(n) for n in range(1, 200)])
    for times in (
        {"start_time": {"seconds": 253_402_300_799}},
        {"end_time": {"seconds": -62_135_596_800}},
    ):
        assert not (await market.stub.ListTicks(pb.ListTicksRequest(symbol=SYMBOL, **times))).ticks
        assert not (await market.stub.ListBars(pb.ListBarsRequest(symbol=SYMBOL, **times))).bars
    upside_down = {"start_time": {"seconds": 2}, "end_time": {"seconds": 1}}
    for call in (
        market.stub.ListTicks(pb.ListTicksRequest(symbol=SYMBOL, **upside_down)),
        market.stub.ListBars(pb.ListBarsRequest(symbol=SYMBOL, **upside_down)),
        market.stub.ComputeIndicators(pb.ComputeIndicatorsRequest(symbol=SYMBOL, names=["sma(2)"], **upside_down)),
    ):
        code, _, fields = await refused(call)
        assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["end_time"])


async def test_indicators_are_computed_over_closed_bars(market: Market) -> None:
    await market.send(*[tick(n, last_price=5000.0 + n // 120) for n in range(1, 1200)])
    request = pb.ComputeIndicatorsRequest(symbol=SYMBOL, names=["sma(2)", "macd"])
    series = (await market.stub.ComputeIndicators(request)).series
    assert [one.name for one in series] == ["sma(2)", "macd.macd", "macd.signal", "macd.histogram"]
    assert list(series[0].values) == [5000.5 + n for n in range(8)]
    later = pb.ComputeIndicatorsRequest(
        symbol=SYMBOL, names=["sma(2)"], start_time={"seconds": at("2026-11-20 09:35:00") // 10**9}
    )
    (one,) = (await market.stub.ComputeIndicators(later)).series
    assert one.times[0].seconds == at("2026-11-20 09:35:00") // 10**9
    assert await refused(market.stub.ComputeIndicators(pb.ComputeIndicatorsRequest(symbol=SYMBOL, names=["no"]))) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FIELD",
        ["names"],
    )


async def test_a_restart_goes_on_with_last_ticks_open_bars_and_history(tmp_path: Path) -> None:
    async with running(data_dir=tmp_path) as market:
        await market.send(*[tick(n) for n in range(1, 150)])
    async with running(data_dir=tmp_path) as market:
        assert (await market.stub.GetTick(pb.GetTickRequest(symbol=SYMBOL))).tick.sequence == 149
        await market.send(*[tick(n) for n in range(150, 250)])
        bars = (await market.stub.ListBars(pb.ListBarsRequest(symbol=SYMBOL))).bars
        assert [bar.volume for bar in bars] == [119, 120]
        ticks = (await market.stub.ListTicks(pb.ListTicksRequest(symbol=SYMBOL, page_size=1000))).ticks
        assert [one.sequence for one in ticks] == list(range(1, 250))


@pytest.mark.slow
async def test_recorded_days_reach_a_subscriber_whole_and_their_bars_equal_the_exchanges() -> None:
    engine = FakeEngine(paced=True, on_demand=True)
    async with running(engine) as market:
        call = market.stub.StreamTicks(pb.StreamTicksRequest(symbols=[SYMBOL]), timeout=120)
        await until(lambda: engine.subscribed)
        sent = list(recorded())
        for first in range(0, len(sent), 200):
            engine.send(*sent[first : first + 200])
        engine.send_message(engine_pb2.StreamTicksResponse(feed_ended={}))
        ticks_read: list[pb.Tick] = []
        async for message in call:
            ticks_read += message.ticks
        assert ticks_read == sent
        request = pb.ListBarsRequest(symbol=SYMBOL, interval=common_pb2.INTERVAL_1D)
        bars = (await market.stub.ListBars(request)).bars
        assert [(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars] == [
            tuple(daily()[day][name] for name in ("open", "high", "low", "close", "volume"))
            for day in (20210104, 20210105, 20210106)
        ]
