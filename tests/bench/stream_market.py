"""A market service by itself, with an engine that sends ticks of many symbols at a steady rate; for bench.streams.

Prints one line of JSON: where it listens. Ends when stdin is closed.
"""

import argparse
import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import uvloop
from redfire.engine.v1 import engine_pb2
from redfire.market.v1 import market_pb2 as pb

from services.commands.running import SWITCH_INTERVAL_S
from services.kernel.rpc.call import Call
from services.market.ticks.frames import frame
from tests.harness import FakeService, TokenMint, platform
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


async def serve(options: argparse.Namespace) -> None:
    """Serve until stdin is closed."""
    settings: dict[str, dict[str, Any]] = {
        "market": {
            "max_streams": 2 * options.streams,
            "opens_per_s": options.opens_per_s,
            "ring_mb": options.ring_mb,
            "stream_writer": options.writer,
            "stream_port": options.stream_port,
        },
        "server": {"port": options.port, "ops_port": options.ops_port, "grace_s": 10},
    }
    engine = SteadyEngine(options.symbols.split(","), options.rate)
    fakes = {"engine": FakeService(lambda context: [engine])}
    mint = TokenMint(bytes.fromhex(options.seed))
    async with platform("market", fakes=fakes, settings=settings, mint=mint) as running:
        ops = f"127.0.0.1:{running.host.operations.port}"
        where = {"address": running.host.address, "ops": ops}
        where["streams"] = running.host.stream_addresses.get("market", "")
        print(json.dumps(where), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", required=True, help="joined by commas")
    parser.add_argument("--rate", type=float, default=2000, help="ticks a second, of all symbols (2000)")
    parser.add_argument("--streams", type=int, default=10_000, help="so many may be open, and as many again (10000)")
    parser.add_argument("--opens-per-s", type=float, default=1500, help="market.opens_per_s (1500)")
    parser.add_argument("--ring-mb", type=int, default=256, help="market.ring_mb (256)")
    parser.add_argument("--writer", choices=("grpc", "http2"), default="http2", help="market.stream_writer (http2)")
    parser.add_argument("--stream-port", type=int, default=0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ops-port", type=int, default=0)
    parser.add_argument("--seed", default=secrets.token_hex(32), help="of the key of tokens, 64 hex digits")
    sys.setswitchinterval(SWITCH_INTERVAL_S)  # as where market serves
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
