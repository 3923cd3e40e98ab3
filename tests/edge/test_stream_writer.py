"""The writer of HTTP/2 and clients in Go, Java, Node.js, Python, and grpcurl, straight and through a real Envoy."""

import asyncio
import json
import shutil
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, StreamEnded, StreamReset
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


HOSTILE = {
    "a body where there is none": [(":method", "HEAD")],
    "a wrong length": [("content-length", "3")],
    "no length": [("content-length", "abc")],
    "blanks around": [("x-blanks", " a ")],
    "an upper-case name": [("X-Upper", "a")],
    "of the connection": [("connection", "close"), ("te", "gzip")],
    "a status": [(":status", "100")],
    "a line's end": [("x-line", "a\r\nb")],
    "another host": [("host", "other")],
}


@pytest.mark.slow
async def test_headers_of_one_client_of_the_edge_end_no_stream_of_another(tmp_path: Path, contract: Contract) -> None:
    async with (
        address_of("edge", tmp_path, contract) as (market, address),
        grpc.aio.insecure_channel(address) as channel,
    ):
        token = market.platform.identity("alice").token
        call: Any = channel.unary_stream(PATH, response_deserializer=pb.StreamTicksResponse.FromString)(
            pb.StreamTicksRequest(symbols=[SYMBOL]).SerializeToString(),
            metadata=(("authorization", f"Bearer {token}"),),
        )
        assert (await call.read()).HasField("started")
        for number, fields in enumerate(HOSTILE.values(), 1):
            await send_headers(address, token, fields)
            await market.send(tick(number))
            message = await asyncio.wait_for(call.read(), 20)
            assert [one.sequence for one in message.ticks] == [number], (fields, message)
        call.cancel()


async def send_headers(address: str, token: str, changed: list[tuple[str, str]]) -> None:
    """Make a call with these headers besides, or instead of, what they should be, and read until it is answered."""
    config = H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    control = H2Connection(config)
    control.initiate_connection()
    fields = {":method": "POST", ":path": PATH, ":scheme": "http", ":authority": "x", "te": "trailers"}
    fields |= {"content-type": "application/grpc", "authorization": f"Bearer {token}"} | dict(changed)
    control.send_headers(1, list(fields.items()))
    request = pb.StreamTicksRequest(symbols=["no2101.CFFEX"]).SerializeToString()
    control.send_data(1, struct.pack(">BI", 0, len(request)) + request, end_stream=True)
    reader, writer = await asyncio.open_connection(*address.rsplit(":", 1))
    writer.write(control.data_to_send())
    with suppress(ConnectionResetError):
        async with asyncio.timeout(20):
            while data := await reader.read(65536):
                events = control.receive_data(data)
                if any(isinstance(event, StreamEnded | StreamReset | ConnectionTerminated) for event in events):
                    break
    writer.close()
