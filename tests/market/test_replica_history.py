"""Bars and history at a replica that does not record: those of the recorder, or a refusal, never a silent hole."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redfire.common.v1 import common_pb2
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.replica_service_pb2_grpc import ReplicaServiceStub

from services.market.convert import timestamp_to_pb
from services.market.recording.history import History
from services.market.replicas.directory import FixedRecorder
from services.market.replicas.remote_unarchived import RemoteUnarchived
from services.quant.archive import layout
from services.quant.bars import LocalClock
from tests.market.fake_engine import FakeEngine
from tests.market.refusal import refused
from tests.market.replicas import FOLLOWER, RECORDER, Replicas, replicas
from tests.market.running_market import OTHER, Market, read_ticks
from tests.market.ticks import SYMBOL, at, tick
from tests.waiting import until

QUICK = {"checkpoint_s": 0.2, "flush_s": 0.05}


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Replicas]:
    async with replicas(tmp_path) as pair:
        yield pair


async def all_ticks(market: Market, **request: Any) -> list[pb.Tick]:
    """All pages."""
    fields = {"page_size": 100, "symbol": SYMBOL, **request}
    ticks: list[pb.Tick] = []
    token = ""
    while True:
        page = await market.stub.ListTicks(pb.ListTicksRequest(page_token=token, **fields))
        ticks += page.ticks
        if not (token := page.next_page_token):
            return ticks


async def bars(market: Market, interval: int = common_pb2.INTERVAL_1M, symbol: str = SYMBOL) -> list[pb.Bar]:
    request = pb.ListBarsRequest(symbol=symbol, interval=interval, page_size=1000)  # type: ignore[arg-type]
    return list((await market.stub.ListBars(request)).bars)


async def streamed(market: Market, *symbols: str, interval: int = common_pb2.INTERVAL_1M) -> tuple[Any, list[pb.Bar]]:
    """A bar stream that is open, and the bars that come by it; its task ends with the stream's end."""
    request = pb.StreamBarsRequest(
        symbols=symbols or [SYMBOL],
        interval=interval,  # type: ignore[arg-type]
        heartbeat_interval={"nanos": 100_000_000},
    )
    call, came, is_open = market.stub.StreamBars(request, timeout=60), list[pb.Bar](), asyncio.Event()

    async def read() -> str:
        async for message in call:
            is_open.set()
            came.extend(message.bars)
            if message.HasField("end"):
                return str(message.end.reason)
        return ""

    reading = asyncio.create_task(read())
    await until(lambda: is_open.is_set() or reading.done(), timeout_s=10)
    if not is_open.is_set():
        await reading
    return reading, came


async def is_archived(pair: Replicas) -> bool:
    """Return whether the recorder has archived all it has."""
    folder = pair.data_dir / "market" / "ticks" / f"symbol={SYMBOL}"
    return folder.is_dir() and any(folder.rglob("*.parquet"))


@pytest.mark.slow
async def test_ticks_and_bars_of_both_are_the_same_before_and_after_they_are_archived(tmp_path: Path) -> None:
    async with replicas(tmp_path, checkpoint_s=1.0, flush_s=0.05) as pair:
        sent: list[pb.Tick] = []
        for first in range(1, 1400, 200):
            more = [tick(n, bid_prices=[n - 0.5, n - 1.0], bid_quantities=[1, 2]) for n in range(first, first + 200)]
            sent += more
            await pair.send(*more)
            for market in pair.both:
                assert await all_ticks(market) == sent
            for interval in (common_pb2.INTERVAL_1M, common_pb2.INTERVAL_5M):
                assert await bars(pair.follower, interval) == await bars(pair.recorder, interval)
        await until(lambda: is_archived(pair), timeout_s=60)
        for market in pair.both:
            assert await all_ticks(market) == sent
            first_ns, end_ns = sent[150].time_ns, sent[1250].time_ns
            some = await all_ticks(
                market, start_time={"seconds": first_ns // 10**9, "nanos": first_ns % 10**9},
                end_time={"seconds": end_ns // 10**9, "nanos": end_ns % 10**9},
            )  # fmt: skip
            assert some == sent[150:1250]
        assert len(await bars(pair.follower)) == 11


class RecorderStub:
    """The recorder's stub, and the limits by which unarchived ticks were asked of it."""

    def __init__(self, stub: Any) -> None:
        self.limits: list[int] = []
        self._stub = stub

    async def ReadUnarchivedTicks(self, request: Any) -> Any:
        self.limits.append(request.limit)
        return await self._stub.ReadUnarchivedTicks(request)


async def test_a_page_of_archived_days_takes_no_ticks_from_the_recorder(tmp_path: Path) -> None:
    async with replicas(tmp_path, checkpoint_s=3600) as pair:
        first = [tick(n) for n in range(1, 151)]
        await pair.send(*first)
        pair.engine.end_feed()
        await until(lambda: is_archived(pair), timeout_s=60)
        start = at("2026-11-23 10:00:00")
        second = [tick(n, time_ns=start + n, trading_day=20261123) for n in range(151, 301)]
        await pair.send(*second)
        asked = RecorderStub(pair.recorder.platform.service_stub(ReplicaServiceStub, caller="market"))
        folder = tmp_path / layout.FOLDER
        zone = LocalClock("Asia/Shanghai")
        history = History(
            RemoteUnarchived(FixedRecorder(RECORDER, asked)), layout.ticks(folder), layout.bars(folder), zone
        )
        try:
            rows = await history.list_ticks(SYMBOL, None, None, None, 100)
            assert [row.tick for row in rows] == first[:100]
            assert asked.limits == [0]
            rows = await history.list_ticks(SYMBOL, None, None, rows[-1].position, 100)
            assert [row.tick for row in rows] == [*first[100:], *second[:50]]
            assert asked.limits == [0, 0, 100]
        finally:
            history.close()


async def test_indicators_are_the_same_at_both(pair: Replicas) -> None:
    await pair.send(*[tick(n, last_price=5000.0 + n % 7) for n in range(1, 1400)])
    request = pb.ComputeIndicatorsRequest(symbol=SYMBOL, names=["sma(3)"])
    one, other = [await market.stub.ComputeIndicators(request) for market in pair.both]
    assert one == other and one.series[0].values


@pytest.mark.slow
async def test_a_later_run_of_a_recording_replaces_the_earlier_one_at_both(tmp_path: Path) -> None:
    """Rows of the archive that a later epoch replaces, whose rows are still in the recorder's memory."""
    engine = FakeEngine()
    async with replicas(tmp_path, engine, **QUICK) as pair:
        await pair.send(*[tick(n, last_price=1.0) for n in range(1, 500)])
        await until(lambda: is_archived(pair), timeout_s=60)
    async with replicas(tmp_path, engine) as pair:
        engine.restart("e2", first_sequence=1000)
        await until(lambda: len(engine.queues) == 2)
        again = [tick(1000 + n, last_price=2.0, time_ns=tick(100 + n).time_ns) for n in range(300)]
        await pair.send(*again)
        one, other = [await all_ticks(market) for market in pair.both]
        assert one == other
        assert [row.last_price for row in one] == [1.0] * 99 + [2.0] * 300 + [1.0] * 100


async def test_bars_are_streamed_by_both_and_listed_at_once(pair: Replicas) -> None:
    reading, came = await streamed(pair.recorder, SYMBOL, OTHER)
    other_reading, others = await streamed(pair.follower, SYMBOL, OTHER)
    five_reading, five = await streamed(pair.follower, interval=common_pb2.INTERVAL_5M)
    await pair.send(*[tick(n, symbol) for n in range(1, 1400) for symbol in (SYMBOL, OTHER)])
    await until(lambda: len(others) == 22)
    assert others == came
    assert await bars(pair.follower) == [bar for bar in others if bar.symbol == SYMBOL]
    assert [bar.volume for bar in five] == [599.0, 600.0]
    pair.engine.heartbeat(**{"": at("2026-11-20 09:42:00")})
    await until(lambda: len(others) == 24)
    assert await bars(pair.follower) == await bars(pair.recorder)
    for task in (reading, other_reading, five_reading):
        task.cancel()


async def test_the_last_bars_of_a_feed_come_before_its_end(pair: Replicas) -> None:
    reading, came = await streamed(pair.follower)
    await pair.send(*[tick(n) for n in range(1, 200)])
    pair.engine.end_feed()
    assert await asyncio.wait_for(reading, 10) == "FEED_ENDED"
    assert [bar.volume for bar in came] == [119.0, 80.0]
    assert await bars(pair.follower) == came
    again, _ = await streamed(pair.follower)
    assert await asyncio.wait_for(again, 10) == "FEED_ENDED"


@pytest.mark.parametrize("page_size", [1, 2, 3])
async def test_a_late_tick_that_begins_a_trading_day_is_on_one_of_the_pages(pair: Replicas, page_size: int) -> None:
    at_close, at_open, later = (at(f"2026-11-20 {time}") for time in ("16:59:50", "17:00:10", "17:00:20"))
    late = at_close - 10_000_000_000
    days = [20261120, 20261123, 20261123, 20261123]
    times = [at_close, at_open, late, later]
    await pair.send(*[tick(n, time_ns=times[n - 1], trading_day=days[n - 1]) for n in range(1, 5)])
    for market in pair.both:
        assert [one.sequence for one in await all_ticks(market, page_size=page_size)] == [1, 3, 2, 4]
        since = {"start_time": timestamp_to_pb(at_close)}
        assert [one.sequence for one in await all_ticks(market, page_size=page_size, **since)] == [1, 2, 4]


async def test_without_the_recorder_ticks_go_on_and_bars_and_history_are_refused_until_it_is_back(
    pair: Replicas,
) -> None:
    call = pair.follower.stub.StreamTicks(pb.StreamTicksRequest(symbols=[SYMBOL]), timeout=60)
    await call.read()
    reading, came = await streamed(pair.follower)
    await pair.send(*[tick(n) for n in range(1, 200)])
    assert await read_ticks(call, 199) == list(range(1, 200))
    await until(lambda: len(came) == 1)
    await pair.stop(RECORDER)
    assert await asyncio.wait_for(reading, 10) == "RECORDER_UNAVAILABLE"
    pair.engine.send(*[tick(n) for n in range(200, 400)])
    assert await read_ticks(call, 200) == list(range(200, 400))
    stub = pair.follower.stub
    for asked in (
        stub.ListTicks(pb.ListTicksRequest(symbol=SYMBOL)),
        stub.ListBars(pb.ListBarsRequest(symbol=SYMBOL)),
        stub.ComputeIndicators(pb.ComputeIndicatorsRequest(symbol=SYMBOL, names=["sma(3)"])),
        stub.StreamBars(pb.StreamBarsRequest(symbols=[SYMBOL])),
    ):
        assert (await refused(asked))[:2] == (grpc.StatusCode.UNAVAILABLE, "RECORDER_UNAVAILABLE")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.ListBars(pb.ListBarsRequest(symbol=SYMBOL))
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in rpc_status.from_call(error.value).details)
    await pair.start(RECORDER)
    await until(lambda: pair.recorder.last(SYMBOL, 399), timeout_s=30)  # else bars of what it missed come, too

    async def opens() -> Any:
        try:
            return await streamed(pair.follower)
        except grpc.aio.AioRpcError:
            return None

    reading, came = await until(opens, timeout_s=30)
    await pair.send(*[tick(n) for n in range(400, 600)])
    await until(lambda: len(came) == 1)
    assert [bar.volume for bar in await bars(pair.follower)] == [119.0, 120.0, 120.0, 120.0]
    assert await bars(pair.follower) == await bars(pair.recorder)
    reading.cancel()
    call.cancel()


async def test_a_follower_leaves_the_folder_to_the_recorder(pair: Replicas) -> None:
    before = sorted(file.name for file in (pair.data_dir / "market").iterdir())
    await pair.send(*[tick(n) for n in range(1, 200)])
    await pair.stop(FOLLOWER)
    await pair.start(FOLLOWER)
    assert sorted(file.name for file in (pair.data_dir / "market").iterdir()) == before
    await pair.stop(FOLLOWER)
    assert len(await all_ticks(pair.recorder)) == 199
    await pair.start(FOLLOWER)
    assert len(await all_ticks(pair.follower)) == 199
