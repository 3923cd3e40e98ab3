"""A market with a steady engine in a process of its own, so that its memory can be seen. One line of JSON says where.

Ends when stdin is closed.
"""

import argparse
import asyncio
import json
import sys

import uvloop

from tests.bench.stream_market import SteadyEngine
from tests.harness import FakeService, platform

SYMBOLS = [f"rb27{number:02}.SHFE" for number in range(1, 41)]


async def serve(writer: str, stall_s: float, rate: float) -> None:
    """Serve until stdin is closed."""
    market = {"stream_writer": writer, "stall_s": stall_s, "max_streams_per_user": 1000, "ring_mb": 8}
    fakes = {"engine": FakeService(lambda context: [SteadyEngine(SYMBOLS, rate)])}
    async with platform("market", fakes=fakes, settings={"market": market}) as running:
        where = {
            "address": running.host.stream_addresses.get("market", running.host.address),
            "ops": f"127.0.0.1:{running.host.operations.port}",
            "token": running.identity().token,
        }
        print(json.dumps(where), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--writer", required=True)
    parser.add_argument("--stall", type=float, required=True)
    parser.add_argument("--rate", type=float, required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.writer, options.stall, options.rate))
