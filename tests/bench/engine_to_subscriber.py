"""Ticks a second from a gateway's thread through the whole engine and market to one subscriber in another process.

    .venv/bin/python -m tests.bench.engine_to_subscriber

The platform runs engine and market in one process, with SIM, bars, recorder and rings; the gateway's thread puts a
burst into vnpy's event engine as fast as it can. Printed are the best and the median of some runs. Asserts nothing.
"""

import argparse
import asyncio
import json
import statistics
import sys

import grpc
import uvloop
from redfire.engine.v1.engine_pb2 import ListGatewaysRequest
from redfire.engine.v1.engine_pb2_grpc import EngineServiceStub
from redfire.market.v1 import market_pb2 as pb

from services.market import metrics
from services.quant.ticks.variant import variant
from tests.bench.fan_out import open_streams, run_all
from tests.bench.tick_subscriber import OPTIONS
from tests.bench.usage import Meter, Usage
from tests.harness import platform

SYMBOL = "IF2612.CFFEX"
GATEWAY = "tests.bench.burst_gateway"


async def measure(count: int) -> None:
    """One run in this process; print a line of JSON."""
    settings = {
        "engine": {
            "sim_ticks_per_second": 1,
            "tick_ring_mb": 512,
            "settle_s": 0.05,
            "gateways": {
                "BENCH": {
                    "module": GATEWAY, "class": "BurstGateway", "setting": {"symbol": SYMBOL, "count": count},
                }
            },
        },
        # The way of the ticks is measured: a burst of seconds shall not wait for Parquet.
        "market": {"buffer_ticks": 1 << 20, "history_backlog_mb": 1024},
    }  # fmt: skip
    async with platform("engine", "market", settings=settings) as running:
        from tests.bench.burst_gateway import GO

        admin = running.identity(role="admin").stub(EngineServiceStub)
        while len([one for one in (await admin.ListGateways(ListGatewaysRequest())).gateways if one.status == 3]) < 2:
            await asyncio.sleep(0.05)
        meter, platform_figures = Meter(), dict[str, float]()

        async def begin() -> None:
            while open_streams() < 1:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            before = metrics.ticks.count
            meter.begin()
            GO.set()
            while metrics.ticks.count < before + count:
                await asyncio.sleep(0.05)
            platform_figures.update(meter.figures(count))

        command = (sys.executable, "-m", "tests.bench.engine_to_subscriber", "--read", running.host.address)
        command += ("--count", str(count))
        (result,) = await run_all([command], running.identity(role="user").token, begin)
    print(json.dumps({**result, **platform_figures}), flush=True)


def read(address: str, count: int) -> None:
    """Read the burst to its end, or the stream's; print a line of JSON."""
    from tests.bench.burst_gateway import MARK

    scan, usage, n = variant().scanner().scan, Usage(), 0
    token = sys.stdin.readline().strip()
    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        call = channel.unary_stream(
            "/redfire.market.v1.MarketService/StreamTicks",
            request_serializer=pb.StreamTicksRequest.SerializeToString,
            response_deserializer=None,
        )(pb.StreamTicksRequest(symbols=[SYMBOL]), metadata=(("authorization", f"Bearer {token}"),))
        for data in call:
            marked = scan(data).column("last_quantity").count(MARK)
            if marked:
                usage.begin()
                n += marked
                usage.end()
            if n >= count:
                break
    print(json.dumps({"n": n, **usage.result(n)}), flush=True)


async def run(args: argparse.Namespace) -> None:
    """The table."""
    command = (sys.executable, "-m", "tests.bench.engine_to_subscriber", "--one", str(args.count))
    results = [(await run_all([command]))[0] for _ in range(args.rounds)]
    rates = [one["ticks_s"] for one in results]
    print(
        f"gateway's thread to a subscriber in another process: {max(rates):,} ticks/s at best, "
        f"{statistics.median(rates):,.0f} in the median of {args.rounds}; "
        f"lost {sum(args.count - one['n'] for one in results)}; {results[0]['server_us']:.2f} µs of CPU a tick by the "
        f"platform, {results[0]['cpu_s'] / max(1, results[0]['n']) * 1e6:.2f} by the subscriber"
    )


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300_000, help="ticks of the burst (300000)")
    parser.add_argument("--rounds", type=int, default=3, help="runs (3)")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read is not None:
        read(args.read, args.count)
    else:
        uvloop.run(run(args) if args.one is None else measure(args.one))


if __name__ == "__main__":
    main()
