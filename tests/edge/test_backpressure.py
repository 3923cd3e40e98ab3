"""A client that reads slowly holds back its own stream: the service notices, memory stays bounded, others go on."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.edge.backend import Backend
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
