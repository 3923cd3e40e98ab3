"""A client that reads slowly holds back its own stream: the service notices, memory stays bounded, others go on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from redfire.market.v1 import market_pb2
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.mesh.envoy import EnvoyProcess
from tests.edge.backend import Backend
from tests.edge.conftest import options_for
from tests.waiting import until, until_still

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/api/market/ticks:stream?symbols="


@pytest.mark.slow
async def test_a_stalled_reader_stalls_its_stream_alone(backend: Backend, http: httpx.AsyncClient) -> None:
    sent = {"SLOW.X": 0, "FAST.X": 0}

    async def ticks(request: Any, context: Any, response: Any) -> AsyncIterator[Any]:
        symbol = request.symbols[0]
        message = response(ticks=[{"symbol": symbol, "bid_prices": [1.5] * 1000}])
        while True:
            sent[symbol] += 1
            yield message

    backend.answers["StreamTicks"] = ticks
    async with http.stream("GET", PATH + "SLOW.X", headers=backend.bearer()) as slow:
        assert slow.status_code == 200
        await until(lambda: sent["SLOW.X"])
        stalled = await until_still(lambda: sent["SLOW.X"])
        assert stalled * 8000 < 32 << 20  # bytes that lie in buffers somewhere
        async with http.stream("GET", PATH + "FAST.X", headers=backend.bearer()) as fast:
            lines = 0
            async for _ in fast.aiter_lines():
                lines += 1
                if lines == 2000:
                    break
            assert lines == 2000
        read = 0
        async for _ in slow.aiter_lines():
            read += 1
            if read > stalled:
                break
        assert read > stalled  # it goes on


@pytest.mark.slow
async def test_streams_whose_clients_take_nothing_are_reset_and_quiet_ones_go_on(
    backend: Backend, tmp_path: Path
) -> None:
    open_streams = {"SLOW.X": 0, "QUIET.X": 0}

    async def ticks(request: Any, context: Any, response: Any) -> AsyncIterator[Any]:
        symbol = request.symbols[0]
        open_streams[symbol] += 1
        try:
            while symbol == "SLOW.X":
                yield response(ticks=[{"symbol": symbol, "bid_prices": [1.5] * 1000}])
            while True:
                yield response(heartbeat={})
                await asyncio.sleep(0.3)
        finally:
            open_streams[symbol] -= 1

    backend.answers["StreamTicks"] = ticks
    async with (
        EnvoyProcess(backend.contract, options_for(backend, stall_s=1), tmp_path, concurrency=1) as envoy,
        grpc.aio.insecure_channel(envoy.address) as channel,
        httpx.AsyncClient(base_url=f"http://{envoy.address}") as http,
    ):
        stub = MarketServiceStub(channel)
        metadata = tuple(backend.bearer().items())
        quiet = stub.StreamTicks(market_pb2.StreamTicksRequest(symbols=["QUIET.X"]), metadata=metadata)
        assert await quiet.read()
        slow = [
            stub.StreamTicks(market_pb2.StreamTicksRequest(symbols=["SLOW.X"]), metadata=metadata) for _ in range(20)
        ]
        for call in slow:
            await call.initial_metadata()
        async with http.stream("GET", PATH + "SLOW.X", headers=backend.bearer()) as answer:
            assert answer.status_code == 200
            await until(lambda: open_streams["SLOW.X"] == 21)
            await until(lambda: open_streams["SLOW.X"] == 0, timeout_s=20)
        with pytest.raises(grpc.aio.AioRpcError):
            while await slow[0].read() is not grpc.aio.EOF:
                pass
        for _ in range(10):
            assert (await quiet.read()).HasField("heartbeat")
