"""Hundreds of conflated streams through a real Envoy to a real market: all are served, and in time."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redfire.engine.v1 import engine_pb2
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.policy import descriptor_file
from services.kernel.rpc import telemetry
from services.kernel.rpc.call import Call
from services.mesh.contract import Contract
from services.mesh.edge.options import EdgeOptions
from services.mesh.envoy import EnvoyProcess
from tests.edge.conftest import OPENAPI
from tests.harness import FakeService, User, platform
from tests.market.fake_engine import FakeEngine
from tests.market.running_market import Market
from tests.market.ticks import tick
from tests.waiting import until

INTERVAL_S = 0.5
STEP_S = 0.02
MESSAGES = 4
WRITERS = pytest.mark.parametrize("writer", ["grpc", "http2"])
SYMBOLS = [f"rb27{number:02}.SHFE" for number in range(1, 41)]


class SteadyEngine(FakeEngine):
    """Sends a tick of each symbol in every step. Their time goes on by steps, not by the machine's clock."""

    def __init__(self, depth: int) -> None:
        super().__init__(realtime=True)
        self.symbols = SYMBOLS
        self._prices = [1.5] * depth

    async def StreamTicks(self, request: engine_pb2.StreamTicksRequest, call: Call) -> AsyncIterator[Any]:
        started = engine_pb2.StreamTicksResponse.Started(epoch="many", first_sequence=1, realtime=True)
        yield engine_pb2.StreamTicksResponse(started=started)
        step = 0
        while True:
            step += 1
            time_ns = 1_795_000_000_000_000_000 + int(step * STEP_S * 1e9)
            ticks = [tick(step, symbol, time_ns=time_ns, bid_prices=self._prices) for symbol in self.symbols]
            yield engine_pb2.StreamTicksResponse(ticks=ticks)
            if not step % 50:
                yield engine_pb2.StreamTicksResponse(heartbeat={"watermarks_ns": {"SIM": time_ns}})
            await asyncio.sleep(STEP_S)


class Edge:
    """Envoy in front of a market, and a user's ways to it."""

    def __init__(self, market: Market, user: User, channel: grpc.aio.Channel, http: httpx.AsyncClient) -> None:
        self.market = market
        self.http = http
        self.headers = {"authorization": f"Bearer {user.token}"}
        self._stub = MarketServiceStub(channel)

    def stream(self, symbols: list[str], interval_s: float = INTERVAL_S) -> Any:
        interval = Duration()
        interval.FromNanoseconds(int(interval_s * 1e9))
        mode = pb.DELIVERY_MODE_CONFLATED
        request = pb.StreamTicksRequest(symbols=symbols, mode=mode, min_interval=interval)
        return self._stub.StreamTicks(request, metadata=tuple(self.headers.items()))

    def sse(self, symbols: list[str]) -> Any:
        query = {"symbols": symbols, "mode": "DELIVERY_MODE_CONFLATED", "minInterval": f"{INTERVAL_S}s"}
        headers = {**self.headers, "accept": "text/event-stream"}
        return self.http.stream("GET", "/api/market/ticks:stream", params=query, headers=headers)


@asynccontextmanager
async def edge_of(
    folder: Path, contract: Contract, *, depth: int = 5, stall_s: int = 30, **settings: Any
) -> AsyncIterator[Edge]:
    engine = SteadyEngine(depth)
    fakes = {"engine": FakeService(lambda context: [engine])}
    async with platform("market", fakes=fakes, settings={"market": settings}) as made:
        market = Market(made, engine)
        await until(lambda: market.last(SYMBOLS[-1], 1), timeout_s=20)
        options = EdgeOptions(
            services={"market": (market.platform.host.address,)},
            streams={name: (address,) for name, address in market.platform.host.stream_addresses.items()},
            ops=f"127.0.0.1:{market.platform.host.operations.port}",
            descriptors=str(descriptor_file()),
            openapi=str(OPENAPI),
            port=0,
            rate_limits=None,
            stall_s=stall_s,
        )
        async with (
            EnvoyProcess(contract, options, folder, concurrency=1) as envoy,
            grpc.aio.insecure_channel(envoy.address) as channel,
            httpx.AsyncClient(
                base_url=f"http://{envoy.address}", timeout=None, limits=httpx.Limits(max_connections=None)
            ) as http,
        ):
            yield Edge(market, market.platform.identity("alice"), channel, http)


async def times_of(call: Any) -> list[int]:
    """The time of the newest tick of each message."""
    times: list[int] = []
    while len(times) < MESSAGES:
        message = await call.read()
        if message.ticks:
            times.append(max(one.time_ns for one in message.ticks))
    call.cancel()
    return times


async def sse_times_of(edge: Edge, symbols: list[str]) -> list[int]:
    times: list[int] = []
    async with edge.sse(symbols) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            ticks = json.loads(line.removeprefix("data: ")).get("ticks") if line else None
            if ticks:
                times.append(max(int(one["timeNs"]) for one in ticks))
            if len(times) == MESSAGES:
                break
    return times


@pytest.mark.slow
@WRITERS
async def test_hundreds_of_streams_are_all_served_within_twice_their_interval(
    tmp_path: Path, contract: Contract, writer: str
) -> None:
    chance = random.Random(7)
    async with edge_of(tmp_path, contract, max_streams_per_user=300, stream_writer=writer) as edge:
        readers = [times_of(edge.stream(chance.sample(SYMBOLS, 10))) for _ in range(200)]
        readers += [sse_times_of(edge, chance.sample(SYMBOLS, 10)) for _ in range(100)]
        async with asyncio.timeout(60):
            served = await asyncio.gather(*readers)
    assert len(served) == 300
    # The first message is what was known at the beginning; the next comes in the stream's phase.
    gaps = [after - before for times in served for before, after in pairwise(times[1:])]
    assert max(gaps) <= 2 * INTERVAL_S * 1e9


@pytest.mark.slow
@WRITERS
async def test_a_stream_too_many_is_told_when_to_come_again_by_grpc_and_by_rest(
    tmp_path: Path, contract: Contract, writer: str
) -> None:
    async with edge_of(tmp_path, contract, max_streams_per_user=3, stream_writer=writer) as edge:
        calls = [edge.stream(SYMBOLS[:2]) for _ in range(3)]
        for call in calls:
            assert (await call.read()).HasField("started")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await edge.stream(SYMBOLS[:2]).read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = rpc_status.from_call(refused.value)
        retry = error_details_pb2.RetryInfo()
        assert any(detail.Unpack(retry) for detail in status.details)
        assert 0 < retry.retry_delay.ToNanoseconds() <= 5e9
        async with edge.sse(SYMBOLS[:2]) as answer:
            assert answer.status_code == 429
            details = json.loads(await answer.aread())["details"]
            assert any(float(one.get("retryDelay", "0s")[:-1]) > 0 for one in details)


@pytest.mark.slow
@WRITERS
async def test_a_client_that_never_reads_is_ended_and_its_neighbours_are_not(
    tmp_path: Path, contract: Contract, writer: str
) -> None:
    def open_streams() -> int:
        samples = (sample for metric in telemetry.streams.collect() for sample in metric.samples)
        return sum(int(one.value) for one in samples if "redfire.market.v1.MarketService" in one.labels.values())

    async with edge_of(tmp_path, contract, depth=200, stall_s=3, stream_writer=writer) as edge:
        before = open_streams()
        neighbour = edge.stream(SYMBOLS[:2])
        assert (await neighbour.read()).HasField("started")
        deaf = edge.stream(SYMBOLS, interval_s=0.01)
        await deaf.initial_metadata()
        await until(lambda: open_streams() == before + 2)

        async def ended() -> bool:
            assert await neighbour.read()
            return open_streams() == before + 1

        await until(ended, timeout_s=60)
        assert await times_of(neighbour)
        with pytest.raises(grpc.aio.AioRpcError):
            while await deaf.read() is not grpc.aio.EOF:
                pass
