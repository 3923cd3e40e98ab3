"""The writer of HTTP/2 and clients in Go, Java, Node.js, Python, and grpcurl, straight and through a real Envoy."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from redfire.market.v1 import market_pb2 as pb

from services.kernel.policy import descriptor_file
from services.mesh.contract import Contract
from services.mesh.edge.options import EdgeOptions
from services.mesh.envoy import EnvoyProcess
from tests.edge.client_programs import client_in, require
from tests.edge.conftest import OPENAPI
from tests.machine import lacks
from tests.market.running_market import Market, running
from tests.market.ticks import SYMBOL, tick

PATH = "/redfire.market.v1.MarketService/StreamTicks"
GRPCURL = shutil.which("grpcurl") or shutil.which("/root/go/bin/grpcurl")
LARGE = [1.5] * 30_000  # 240 kB: more than a window, many frames
TICKS = 20


@asynccontextmanager
async def address_of(way: str, folder: Path, contract: Contract) -> AsyncIterator[tuple[Market, str]]:
    """A market with the writer, and where to call it: straight, or through Envoy."""
    async with running(stream_writer="http2") as market:
        streams = market.platform.host.stream_addresses["market"]
        if way == "straight":
            yield market, streams
            return
        options = EdgeOptions(
            services={"market": (market.platform.host.address,)},
            streams={"market": (streams,)},
            ops=f"127.0.0.1:{market.platform.host.operations.port}",
            descriptors=str(descriptor_file()),
            openapi=str(OPENAPI),
            port=0,
            rate_limits=None,
        )
        async with EnvoyProcess(contract, options, folder, concurrency=1) as envoy:
            yield market, envoy.address


@pytest.mark.slow
@pytest.mark.parametrize("way", ["straight", "edge"])
@pytest.mark.parametrize("language", ["go", "java", "node"])
async def test_clients_in_other_languages_read_streams_and_errors(
    language: str, way: str, tmp_path: Path, contract: Contract
) -> None:
    require(language)
    async with address_of(way, tmp_path, contract) as (market, address):
        token = market.platform.identity("alice").token
        async with client_in(language, address, token) as client:
            unknown = pb.StreamTicksRequest(symbols=["no2101.CFFEX"])
            code, details = await client.ask("stream", PATH, unknown)
            assert code == grpc.StatusCode.NOT_FOUND.value[0] and details > 0
        async with client_in(language, address, token) as client:
            assert (await client.ask("stream", PATH, pb.StreamTicksRequest(symbols=[SYMBOL])))[0] == 0
            for number in range(1, TICKS + 1):
                await market.send(tick(number, bid_prices=LARGE))
                assert (await client.ask("receive"))[0] == 0
            await market.platform.host.stop()
            # `end`, unless it is past already, and the end of the stream, which each language says in its own way.
            code = 0
            while not code:
                code, _ = await client.ask("receive")
            assert code in (grpc.StatusCode.UNKNOWN.value[0], grpc.StatusCode.OUT_OF_RANGE.value[0])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["straight", "edge"])
async def test_python_reads_all_of_a_burst_in_order(way: str, tmp_path: Path, contract: Contract) -> None:
    async with address_of(way, tmp_path, contract) as (market, address), grpc.aio.insecure_channel(address) as channel:
        token = market.platform.identity("alice").token
        call: Any = channel.unary_stream(PATH, response_deserializer=pb.StreamTicksResponse.FromString)(
            pb.StreamTicksRequest(symbols=[SYMBOL]).SerializeToString(),
            metadata=(("authorization", f"Bearer {token}"),),
        )
        assert (await call.read()).HasField("started")
        for first in range(1, 1001, 10):
            market.engine.send(*(tick(number, bid_prices=LARGE[:2000]) for number in range(first, first + 10)))
        sequences: list[int] = []
        async with asyncio.timeout(60):
            while len(sequences) < 1000:
                sequences += [one.sequence for one in (await call.read()).ticks]
        assert sequences == list(range(1, 1001))
        call.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["straight", "edge"])
async def test_grpcurl_reads_a_stream(way: str, tmp_path: Path, contract: Contract) -> None:
    if GRPCURL is None:
        lacks("grpcurl is not installed")
    async with address_of(way, tmp_path, contract) as (market, address):
        await market.send(tick(1))
        process = await asyncio.create_subprocess_exec(
            *(GRPCURL, "-plaintext", "-max-time", "30", "-protoset", str(descriptor_file())),
            *("-H", f"authorization: Bearer {market.platform.identity().token}"),
            *("-d", json.dumps({"symbols": [SYMBOL], "mode": "DELIVERY_MODE_CONFLATED"}), address, PATH[1:]),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        text = ""
        while '"sequence": "1"' not in text:
            line = await asyncio.wait_for(process.stdout.readline(), 30)
            assert line, (text, await process.communicate())
            text += line.decode()
        await market.platform.host.stop()
        rest, errors = await asyncio.wait_for(process.communicate(), 30)
        assert "SHUTTING_DOWN" in rest.decode(), errors
        assert process.returncode == 0, errors
