"""A market service by itself, with an engine that sends ticks of many symbols at a steady rate; for bench.streams.

Prints one line of JSON: where it listens, and a token. Ends when stdin is closed.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import uvloop
from redfire.engine.v1 import engine_pb2
from redfire.market.v1 import market_pb2 as pb

from services.kernel.rpc.call import Call
from services.market.ticks.frames import frame
from tests.harness import FakeService, platform
from tests.market.fake_engine import FakeEngine

PERIOD_S = 0.005


class SteadyEngine(FakeEngine):
    """Sends five-level ticks of all symbols in turn, `rate` a second in all."""

    def __init__(self, symbols: list[str], rate: float) -> None:
        super().__init__(realtime=True)
        self.symbols = symbols
        self._rate = rate

    async def StreamTicks(self, request: engine_pb2.StreamTicksRequest, call: Call) -> AsyncIterator[Any]:
        started = engine_pb2.StreamTicksResponse.Started(epoch="bench", first_sequence=1, realtime=True)
        yield engine_pb2.StreamTicksResponse(started=started)
        levels = [3500.0 + level for level in range(5)]
        fixed = [
            pb.Tick(
                symbol=symbol, last_price=3500, last_quantity=3, turnover=1e9, open_interest=5e5, open_price=3490,
                high_price=3510, low_price=3480, limit_up=3800, limit_down=3200, bid_prices=levels, gateway="SIM",
                bid_quantities=levels, ask_prices=levels, ask_quantities=levels,
            ).SerializeToString()
            for symbol in self.symbols
        ]  # fmt: skip
        count, began, beat_at = len(self.symbols), time.perf_counter(), 0.0
        sent = 0
        while True:
            await asyncio.sleep(PERIOD_S)
            now = time.perf_counter()
            batch = []
            for number in range(sent, int((now - began) * self._rate)):
                fresh = pb.Tick(time_ns=time.time_ns(), sequence=number // count + 1, volume=number // count)
                batch.append(frame(fixed[number % count] + fresh.SerializeToString()))
            sent += len(batch)
            if batch:
                yield b"".join(batch)
            if now - beat_at >= 1:
                beat_at = now
                yield engine_pb2.StreamTicksResponse(heartbeat={"watermarks_ns": {"SIM": time.time_ns()}})


async def serve(symbols: list[str], rate: float, streams: int) -> None:
    """Serve until stdin is closed."""
    limits = {"max_streams": 2 * streams, "max_streams_per_user": 2 * streams}
    engine = SteadyEngine(symbols, rate)
    fakes = {"engine": FakeService(lambda context: [engine])}
    async with platform("market", fakes=fakes, settings={"market": limits}) as running:
        ops = f"127.0.0.1:{running.host.operations.port}"
        where = {"address": running.host.address, "ops": ops, "token": running.identity().token}
        print(json.dumps(where), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1].split(","), float(sys.argv[2]), int(sys.argv[3])))
