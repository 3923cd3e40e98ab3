"""Fan-out of ticks: N subscriber processes on one market service, beside vnpy.rpc doing the same in the same run.

    .venv/bin/python -m tests.bench.fan_out --subscribers 16 --baseline ../shared/baselines/rpc_pub.py

Two measurements each: a burst (as fast as the slowest lossless subscriber takes it: aggregate ticks/s) and a steady
rate (latency from the engine's send to the subscriber's parsed message). Five-level ticks; the market service runs
whole, with bars and history, in this process. Prints a line per measurement, asserts nothing. Ends within `--limit`.
"""

import argparse
import asyncio
import json
import resource
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import uvloop
from grpc.experimental import ChannelOptions
from redfire.engine.v1 import engine_pb2
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.kernel.rpc.call import Call
from services.market.ticks.frames import frame
from tests.harness import FakeService, platform
from tests.market.fake_engine import FakeEngine
from tests.market.ticks import SYMBOL

WARM_UP = 200


class BenchEngine(FakeEngine):
    """Sends `count` ticks once it is started, at `rate` a second, or as fast as they are taken (0)."""

    def __init__(self, count: int, rate: float) -> None:
        super().__init__(paced=rate == 0)
        self._count = count
        self._rate = rate
        self.go = asyncio.Event()
        self.took_s = 0.0

    async def StreamTicks(self, request: engine_pb2.StreamTicksRequest, call: Call) -> AsyncIterator[Any]:
        yield engine_pb2.StreamTicksResponse(started=self.started)
        self.queues.append(asyncio.Queue())
        await self.go.wait()
        levels = [3500.0 + n for n in range(5)]
        fixed = pb.Tick(
            symbol=SYMBOL, last_price=3500, last_quantity=3, turnover=1e9, open_interest=5e5, open_price=3490,
            high_price=3510, low_price=3480, limit_up=3800, limit_down=3200, bid_prices=levels, bid_quantities=levels,
            ask_prices=levels, ask_quantities=levels, trading_day=20261120,
        ).SerializeToString()  # fmt: skip
        wall_ns, started, sent = time.time_ns(), time.perf_counter(), 0
        while sent < self._count:
            if self._rate:
                due = min(int((time.perf_counter() - started) * self._rate) + 1, self._count)
                if due <= sent:
                    await asyncio.sleep(0.001)
                    continue
            else:
                due = min(sent + 64, self._count)
                await asyncio.sleep(0)
            batch = []
            for number in range(sent + 1, due + 1):
                # Fields in any order are one message (protobuf's encoding guide), so the rest is appended.
                fresh = pb.Tick(
                    time_ns=wall_ns + number, sequence=number, volume=number, pre_close_price=time.perf_counter_ns()
                )
                batch.append(frame(fixed + fresh.SerializeToString()))
            yield b"".join(batch)
            sent = due
        self.took_s = time.perf_counter() - started
        yield engine_pb2.StreamTicksResponse(feed_ended={})
        await asyncio.Event().wait()


def subscribe(address: str, token: str) -> None:
    """A subscriber process: counts ticks, checks their sequence, measures latency; prints one JSON line."""
    latencies: list[float] = []
    count = lost = messages = 0
    expected, first, last, reason = 0, 0.0, 0.0, ""
    # Saves a thread's wake per message; what a client does that only reads streams.
    options = [(ChannelOptions.SingleThreadedUnaryStream, 1)]
    with grpc.insecure_channel(address, options=options) as channel:
        request = pb.StreamTicksRequest(symbols=[SYMBOL])
        call = MarketServiceStub(channel).StreamTicks(request, metadata=(("authorization", f"Bearer {token}"),))
        for message in call:
            now = time.perf_counter_ns()
            messages += 1
            if message.ticks:
                count += len(message.ticks)
                sequence = message.ticks[0].sequence
                lost += sequence - expected if expected else 0
                expected = message.ticks[-1].sequence + 1
                last = now / 1e9
                first = first or last
                latencies += [now - one.pre_close_price for one in message.ticks[:8]]
            elif message.HasField("end"):
                reason = message.end.reason
    used = resource.getrusage(resource.RUSAGE_SELF)
    slowest = max(range(WARM_UP, len(latencies)), key=latencies.__getitem__, default=0)
    latencies_us = [one / 1e3 for one in sorted(latencies[WARM_UP:]) or [0.0]]
    result = {
        "n": count,
        "lost": lost,
        "messages": messages,
        "end": reason,
        "ticks_s": round(count / (last - first)) if last > first else 0,
        "p50_us": round(latencies_us[len(latencies_us) // 2], 1),
        "p99_us": round(latencies_us[int(len(latencies_us) * 0.99)], 1),
        "slowest_at": round(slowest / max(1, len(latencies)), 2),
        "cpu_s": used.ru_utime + used.ru_stime,
    }
    print(json.dumps(result), flush=True)


async def measure(subscribers: int, count: int, rate: float, limit_s: float) -> dict[str, Any]:
    """One run of the market service with N subscriber processes."""
    engine = BenchEngine(count, rate)
    async with platform("market", fakes={"engine": FakeService(lambda context: [engine])}) as running:
        user = running.identity(role="user")
        address = running.host.address
        while not engine.queues:
            await asyncio.sleep(0.01)
        command = (sys.executable, "-m", "tests.bench.fan_out", "--subscribe", address, "--token", user.token)
        processes = [
            await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE) for _ in range(subscribers)
        ]
        try:
            async with asyncio.timeout(limit_s):
                while _open_streams() < subscribers:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.5)
                cpu = time.process_time()
                engine.go.set()
                lines = [(await process.communicate())[0] for process in processes]
                cpu = time.process_time() - cpu
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
    results = [json.loads(line) for line in lines]
    return {
        "sys": "redfire",
        "subs": subscribers,
        "rate": rate,
        "n": count,
        "delivered": sum(one["n"] for one in results),
        "expect": count * subscribers,
        "lost": sum(one["lost"] for one in results) + sum(count - one["n"] for one in results),
        "agg_ticks_s": sum(one["ticks_s"] for one in results),
        "p50_us": statistics.median(one["p50_us"] for one in results),
        "p99_us": statistics.median(one["p99_us"] for one in results),
        "p99_worst_us": max(one["p99_us"] for one in results),
        "ticks_per_message": round(sum(one["n"] for one in results) / sum(one["messages"] for one in results), 1),
        "server_cpu_us_per_tick": round(cpu / count * 1e6, 1),
        "sub_cpu_us_per_tick": round(sum(one["cpu_s"] for one in results) / max(1, count * subscribers) * 1e6, 1),
        "slowest_at": sorted(one["slowest_at"] for one in results)[:: max(1, subscribers // 4)],
        "ends": sorted({one["end"] for one in results}),
    }


def _open_streams() -> int:
    from services.kernel.rpc import telemetry

    samples = (sample for metric in telemetry.streams.collect() for sample in metric.samples)
    return sum(int(one.value) for one in samples if "redfire.market.v1.MarketService" in one.labels.values())


async def baseline(script: Path, subscribers: int, count: int, rate: float, limit_s: float) -> dict[str, Any]:
    """The same by vnpy.rpc."""
    command = (sys.executable, "-W", "ignore", str(script), "--subs", str(subscribers), "--n", str(count))
    process = await asyncio.create_subprocess_exec(
        *command, "--rate", str(rate), "--spawn", stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(limit_s):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return dict(json.loads(output.strip().splitlines()[-1]))


async def run(args: argparse.Namespace) -> None:
    """All measurements, one after the other."""
    for name, count, rate in (("burst", args.burst, 0.0), ("steady", int(args.rate * args.seconds), args.rate)):
        if args.only not in (None, name):
            continue
        ours = await measure(args.subscribers, count, rate, args.limit)
        print(name, json.dumps(ours), flush=True)
        if args.baseline is not None:
            theirs = await baseline(args.baseline, args.subscribers, min(count, args.baseline_burst), rate, args.limit)
            print(name, json.dumps(theirs), flush=True)
            print(
                f"{name}: {ours['agg_ticks_s'] / max(1, theirs['agg_ticks_s']):.1f} x vnpy.rpc's aggregate rate, "
                f"p50 {ours['p50_us'] / 1e3:.2f} ms to {theirs['p50_us'] / 1e3:.2f} ms, "
                f"p99 {ours['p99_us'] / 1e3:.2f} ms to {theirs['p99_us'] / 1e3:.2f} ms, "
                f"lost {ours['lost']} to {theirs['expect'] - theirs['delivered']}",
                flush=True,
            )


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscribers", type=int, default=16, help="subscriber processes (16)")
    parser.add_argument("--burst", type=int, default=200_000, help="ticks of the burst (200000)")
    parser.add_argument("--rate", type=float, default=2000, help="ticks a second of the steady measurement (2000)")
    parser.add_argument("--seconds", type=float, default=6, help="how long the steady measurement takes (6)")
    parser.add_argument("--baseline", type=Path, help="rpc_pub.py of the baselines; without it only ours is measured")
    parser.add_argument("--baseline-burst", type=int, default=20_000, help="ticks of the baseline's burst (20000)")
    parser.add_argument("--only", choices=("burst", "steady"), help="one of the two measurements")
    parser.add_argument("--limit", type=float, default=120, help="seconds that one measurement may take (120)")
    parser.add_argument("--subscribe", help=argparse.SUPPRESS)
    parser.add_argument("--token", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.subscribe:
        subscribe(args.subscribe, args.token)
        return
    uvloop.run(run(args))


if __name__ == "__main__":
    main()
