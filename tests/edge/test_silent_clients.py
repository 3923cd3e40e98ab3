"""A client whose machine or network is gone closes nothing: its streams end all the same, and with them its lease."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.mesh.envoy import EnvoyProcess
from tests.edge.backend import Backend
from tests.edge.conftest import options_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

METHOD = "/redfire.market.v1.MarketService/StreamTicks"
SILENCE_S = 2


class Proxy:
    """A proxy to a server that can go dead: nothing passes any more, and neither end is notified."""

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.rpartition(":")
        self._dead = False
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    def die(self) -> None:
        self._dead = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, int(self._port))
        self._writers += [writer, back]

        async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                if not self._dead:
                    sink.write(data)

        with contextlib.suppress(OSError):
            await asyncio.gather(pipe(reader, back), pipe(there, writer))


class Ticks:
    """The service's stream, and when it was left."""

    def __init__(self, backend: Backend, size: int, pause_s: float) -> None:
        self.left = asyncio.Event()
        self._size, self._pause_s = size, pause_s
        backend.answers["StreamTicks"] = self._stream

    async def _stream(self, request: Any, context: Any, response: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield response(ticks=[{"sequence": 1, "bid_prices": [1.5] * self._size}])
                await asyncio.sleep(self._pause_s)
        finally:
            self.left.set()


@contextlib.asynccontextmanager
async def watched(backend: Backend, folder: Path) -> AsyncIterator[EnvoyProcess]:
    options = options_for(backend, client_silence_s=SILENCE_S)
    async with EnvoyProcess(backend.contract, options, folder, concurrency=1) as envoy:
        yield envoy


@pytest.mark.slow
async def test_a_dead_line_ends_the_stream_of_a_grpc_client_and_a_quiet_one_does_not(
    backend: Backend, tmp_path: Path
) -> None:
    ticks = Ticks(backend, 1, 0.2)
    async with (
        watched(backend, tmp_path) as envoy,
        Proxy(envoy.address) as proxy,
        grpc.aio.insecure_channel(proxy.address) as channel,
    ):
        metadata = [(name, value) for name, value in backend.bearer().items()]
        call = channel.unary_stream(METHOD)(b"", metadata=metadata)
        began = time.monotonic()
        while time.monotonic() < began + 2 * SILENCE_S:
            assert await call.read()  # it answers pings, and says nothing else
        assert not ticks.left.is_set()
        proxy.die()
        await asyncio.wait_for(ticks.left.wait(), 6 * SILENCE_S)


@pytest.mark.slow
async def test_a_rest_client_that_acknowledges_nothing_any_more_loses_its_stream(
    backend: Backend, tmp_path: Path
) -> None:
    ticks = Ticks(backend, 1000, 0)
    async with watched(backend, tmp_path) as envoy:
        host, _, port = envoy.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1)
        headers = "".join(f"{name}: {value}\r\n" for name, value in backend.bearer().items())
        writer.write(f"GET /api/market/ticks:stream?symbols=A.X HTTP/1.1\r\nhost: x\r\n{headers}\r\n".encode())
        assert await reader.read(1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.wait_for(ticks.left.wait(), 10 * SILENCE_S)
        writer.transport.abort()
