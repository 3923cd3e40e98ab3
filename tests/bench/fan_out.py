"""Fan-out of ticks to subscriber processes: market beside vnpy.rpc and NATS, which do the same in the same run.

    .venv/bin/python -m tests.bench.fan_out --subscribers 1,4,16

Two measurements each: a burst (as fast as the slowest lossless subscriber takes it: ticks a second of all subscribers)
and a steady rate (latency from the engine's send to the subscriber's decoded batch). Five-level ticks of one symbol;
market runs whole, with bars and history, in a process. The peers alternate (`--rounds`); medians are printed.
vnpy.rpc is vnpy's own publisher and client (`vnpy_peer.py`); NATS is measured when its server is installed (by apt when
run as root). `--baseline` measures another script that drives vnpy.rpc and prints a line of JSON.
"""

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop
from redfire.engine.v1 import engine_pb2

from services.commands.running import SWITCH_INTERVAL_S
from services.engine.streams.tick_stream import UNACKNOWLEDGED
from services.kernel.rpc import telemetry
from tests.bench import nats_peer, vnpy_peer
from tests.bench.tick_source import BURST, SYMBOL, TickSource
from tests.bench.usage import Meter
from tests.harness import FakeService, platform
from tests.market.fake_engine import FakeEngine

Figures = dict[str, Any]
Measure = Callable[[int, int, float], Awaitable[Figures]]
COLUMNS = (
    ("ticks_s", "ticks/s, all", 13), ("lost", "lost", 7), ("p50_us", "p50 µs", 10), ("p99_us", "p99 µs", 10),
    ("max_us", "max µs", 10), ("server_us", "server µs/tick", 15), ("sub_us", "subscriber µs/tick", 19),
    ("server_mb", "server MB", 10), ("sub_mb", "subscriber MB", 14),
)  # fmt: skip

LATENCIES = ("p50_us", "p99_us", "max_us")


class BenchEngine(FakeEngine):
    """Sends `count` ticks once it is started, at `rate` a second, or as fast as they are taken (0)."""

    def __init__(self, count: int, rate: float) -> None:
        super().__init__(paced=rate == 0)
        self._source = TickSource(count, rate)
        self.go = asyncio.Event()
        self._acknowledged = 0
        self._has_room = asyncio.Event()

    async def AcknowledgeTicks(self, request: engine_pb2.AcknowledgeTicksRequest, call: Any) -> Any:
        self._acknowledged = request.position
        self._has_room.set()
        return engine_pb2.AcknowledgeTicksResponse()

    async def StreamTicks(self, request: engine_pb2.StreamTicksRequest, call: Any) -> Any:
        started = engine_pb2.StreamTicksResponse.Started()
        started.CopyFrom(self.started)
        started.epoch, started.position, started.first_sequence, started.reader_id = "bench", 0, 1, "bench"
        yield engine_pb2.StreamTicksResponse(started=started)
        self.queues.append(asyncio.Queue())
        await self.go.wait()
        sent = 0
        async for batch in self._source.batches():
            while self.started.paced and sent - self._acknowledged > UNACKNOWLEDGED:
                self._has_room.clear()
                await self._has_room.wait()
            yield batch
            sent += BURST
        yield engine_pb2.StreamTicksResponse(feed_ended={"position": self._source.count})
        await asyncio.Event().wait()


async def redfire(subscribers: int, count: int, rate: float) -> Figures:
    """One run of market in a process of its own: what an earlier one left to be archived costs this one nothing."""
    command = (sys.executable, "-m", "tests.bench.fan_out", "--one", f"{subscribers},{count},{rate}")
    (figures,) = await run_all([command])
    return figures


async def run_market(subscribers: int, count: int, rate: float) -> Figures:
    """One run of market in this process, with N subscriber processes."""
    engine = BenchEngine(count, rate)
    # The fan-out is measured: a burst of a few seconds shall not wait for Parquet, which is written at low priority.
    settings = {"market": {"history_backlog_mb": 1024}}
    async with platform(
        "market", settings=settings, fakes={"engine": FakeService(lambda context: [engine])}
    ) as running:
        user = running.identity(role="user")
        while not engine.queues:
            await asyncio.sleep(0.01)
        command = (sys.executable, "-m", "tests.bench.tick_subscriber", "--address", running.host.address)
        command += ("--symbols", SYMBOL)
        meter = Meter()

        async def begin() -> None:
            while open_streams() < subscribers:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            meter.begin()
            engine.go.set()

        results = await run_all([command] * subscribers, user.token, begin)
        return {**summary(results, count), **meter.figures(count)}


async def run_all(
    commands: Sequence[Sequence[str]], line: str = "", begin: Callable[[], Awaitable[None]] | None = None
) -> list[Figures]:
    """Run programs that print a line of JSON in the end; `begin` is awaited when they are started."""
    pipe = asyncio.subprocess.PIPE
    processes = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe) for command in commands]
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(f"{line}\n".encode())
        if begin is not None:
            await begin()
        outputs = await asyncio.gather(*(process.communicate() for process in processes))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
    return [json.loads(output.strip().splitlines()[-1]) for output, _ in outputs]


def summary(results: Sequence[Figures], count: int) -> Figures:
    """The subscribers' figures in one line."""
    delivered = sum(one["n"] for one in results)
    return {
        "ticks_s": sum(one["ticks_s"] for one in results),
        "lost": count * len(results) - delivered,
        "p50_us": statistics.median(one["p50_us"] for one in results),
        "p99_us": statistics.median(one["p99_us"] for one in results),
        "max_us": max(one["max_us"] for one in results),
        "sub_us": sum(one["cpu_s"] for one in results) / max(1, delivered) * 1e6,
        "sub_mb": statistics.median(one["rss_mb"] for one in results),
    }


def open_streams() -> int:
    """Number of streams of market that are open in this process."""
    samples = (sample for metric in telemetry.streams.collect() for sample in metric.samples)
    return sum(int(one.value) for one in samples if "redfire.market.v1.MarketService" in one.labels.values())


def vnpy_rpc(script: Path) -> Measure:
    """The same by vnpy.rpc."""

    async def measure(subscribers: int, count: int, rate: float) -> Figures:
        # As many seconds as ours, not as many ticks: it is slower.
        count = count if rate else max(3_000, count // 10)
        command = (sys.executable, "-W", "ignore", str(script), "--subs", str(subscribers), "--n", str(count))
        (line,) = await run_all([(*command, "--rate", str(rate), "--spawn")])
        return {
            "ticks_s": line["agg_ticks_s"],
            "lost": line["expect"] - line["delivered"],
            "p50_us": line["p50_us"],
            "p99_us": line["p99_us"],
            "max_us": line["p99_worst_us"],
            "server_us": line["pub_cpu_us_per_tick"],
            # With the start of the interpreter, which is nothing beside a burst only.
            "sub_us": line["sub_cpu_us_per_tick"],
        }

    return measure


async def alternate(
    peers: dict[str, Measure], subscribers: int, count: int, rate: float, rounds: int, limit_s: float
) -> dict[str, Figures]:
    """The peers in turns; each figure's median."""
    runs: dict[str, list[Figures]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, measure in peers.items():
            try:
                async with asyncio.timeout(limit_s):
                    runs[name].append(await measure(subscribers, count, rate))
            except TimeoutError:
                print(f"{name}: not ready after {limit_s:g} s", flush=True)
    return {
        name: {key: statistics.median(one[key] for one in of_peer) for key in of_peer[0]}
        for name, of_peer in runs.items()
        if of_peer
    }


def table(title: str, rows: dict[str, Figures]) -> None:
    """Print the rows."""
    print(f"\n{title}")
    print(f"{'':14s}" + "".join(f"{label:>{width}s}" for _, label, width in COLUMNS))
    for name, figures in rows.items():
        cells = [f"{figures[key]:,.{key.endswith('_us'):d}f}" if key in figures else "–" for key, _, _ in COLUMNS]
        print(f"{name:14s}" + "".join(f"{cell:>{width}s}" for cell, (_, _, width) in zip(cells, COLUMNS, strict=True)))
    ours = rows.get("redfire")
    for name, theirs in rows.items():
        if ours is not None and name not in ("redfire", "redfire (pb)"):
            ratio = ours["ticks_s"] / max(1, theirs["ticks_s"])
            late = f"; p99 {ours['p99_us'] / theirs['p99_us']:.2f} x its" if "p99_us" in ours else ""
            print(f"  {ratio:.1f} x {name}'s rate{late}")
    sys.stdout.flush()


async def run(args: argparse.Namespace) -> None:
    """All measurements, one after the other."""
    peers: dict[str, Measure] = {"redfire": redfire}
    if args.vnpy:
        peers["vnpy.rpc"] = vnpy_peer.measure if args.baseline is None else vnpy_rpc(args.baseline)
    if args.nats and (problem := nats_peer.install()):
        print(f"NATS is left out: {problem}")
    elif args.nats:
        peers["nats"] = nats_peer.measure
    for subscribers in map(int, args.subscribers.split(",")):
        burst = max(20_000, args.burst // subscribers)
        for name, count, rate in (("burst", burst, 0.0), ("steady", int(args.rate * args.seconds), args.rate)):
            if args.only in (None, name):
                rows = await alternate(peers, subscribers, count, rate, args.rounds, args.limit)
                if not rate:  # then a tick waits for those before it, and nothing else
                    rows = {peer: {key: one[key] for key in one if key not in LATENCIES} for peer, one in rows.items()}
                pace = f"{rate:,.0f} ticks/s" if rate else f"{count:,} ticks as fast as they are taken"
                table(f"{subscribers} subscribers, {pace}", rows)


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscribers", default="1,4,16", help="subscriber processes (1,4,16)")
    parser.add_argument("--burst", type=int, default=1_600_000, help="ticks of a burst, all subscribers' (1600000)")
    parser.add_argument("--rate", type=float, default=2000, help="ticks a second of the steady measurement (2000)")
    parser.add_argument("--seconds", type=float, default=5, help="how long the steady measurement takes (5)")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each peer, alternating (1)")
    parser.add_argument("--baseline", type=Path, help="a script that measures vnpy.rpc instead of vnpy_peer.py")
    parser.add_argument("--no-vnpy", dest="vnpy", action="store_false", help="leave vnpy.rpc out")
    parser.add_argument("--no-nats", dest="nats", action="store_false", help="leave NATS out")
    parser.add_argument("--only", choices=("burst", "steady"), help="one of the two measurements")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, default=120, help="seconds that one measurement may take (120)")
    args = parser.parse_args()
    if args.one is not None:
        sys.setswitchinterval(SWITCH_INTERVAL_S)  # as where market serves
        subscribers, count, rate = args.one.split(",")
        print(json.dumps(uvloop.run(run_market(int(subscribers), int(count), float(rate)))), flush=True)
        return
    uvloop.run(run(args))


if __name__ == "__main__":
    main()
