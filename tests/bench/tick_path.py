"""The way of a tick through the process, stage by stage, and from a gateway's thread to the hub.

    .venv/bin/python -m tests.bench.tick_path

Each stage in µs of CPU a tick, for ticks one by one and in batches of 256, compiled and in pure Python; the best of a
few runs. Then: a thread puts vnpy's ticks into the event engine as a gateway does, and
market's hub takes them from the engine's stream, with rings, bars and a subscriber behind it. Asserts nothing.
"""

import argparse
import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import uvloop
from redfire.market.v1 import market_pb2 as pb
from vnpy.event import Event
from vnpy.trader.constant import Exchange
from vnpy.trader.event import EVENT_TICK
from vnpy.trader.object import TickData

from services.engine.convert import tick_frame
from services.engine.streams.tick_stream import FeedNature, TickStream
from services.engine.vnpy.engine import VnpyEngine
from services.market.control_messages import TickControlMessages
from services.market.ticks.hub import Hub
from services.market.ticks.position import Position
from services.market.ticks.subscriber import LosslessSubscriber
from services.quant.bars import BarBuilder, LocalClock
from services.quant.calendar import Calendar
from services.quant.compile import TICKS, is_built
from services.quant.sdk.events import Tick
from services.quant.ticks.variant import variant
from services.strategy.runner.convert import tick_from_pb

SYMBOL = "IF2101.CFFEX"
SHANGHAI = ZoneInfo("Asia/Shanghai")
BATCH = 256
RUNS = 7


def vnpy_ticks(count: int) -> list[TickData]:
    """Ticks as CTP's gateway makes them: five levels, no field of ours, in a session whatever the hour is."""
    now = datetime(2026, 11, 27, 10, 0, 30, tzinfo=SHANGHAI)
    ticks = []
    for number in range(1, count + 1):
        tick = TickData(gateway_name="BENCH", symbol="IF2101", exchange=Exchange.CFFEX, datetime=now)
        for name in ("last_price", "turnover", "open_interest", "open_price", "high_price", "low_price", "pre_close"):
            setattr(tick, name, 3500.0)
        tick.volume, tick.limit_up, tick.limit_down = float(number), 3800.0, 3200.0
        for level in range(1, 6):
            for side in ("bid", "ask"):
                setattr(tick, f"{side}_price_{level}", 3500.0 + level)
                setattr(tick, f"{side}_volume_{level}", 10.0)
        ticks.append(tick)
    return ticks


def best(count: int, work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """µs of CPU a tick: other work on the machine does not count."""
    shortest = float("inf")
    for _ in range(RUNS):
        before()
        began = time.thread_time()
        work()
        shortest = min(shortest, time.thread_time() - began)
    return shortest / count * 1e6


def stages(build: str, size: int, count: int) -> Iterable[tuple[str, float]]:
    """Name and µs of each stage of ticks that come in batches of `size`."""
    codec, made = variant(build), vnpy_ticks(count)
    now_ns = time.time_ns()
    day = Calendar.load().trading_day(SYMBOL, now_ns)
    encode, scan = codec.tick_frame, codec.scanner().scan
    yield "engine: encode", best(count, lambda: [encode(one, 9, now_ns, day) for one in made])
    frames = [encode(one, number, now_ns + number, day) for number, one in enumerate(made, 1)]
    batches = [b"".join(frames[first : first + size]) for first in range(0, count, size)]
    yield "market: scan", best(count, lambda: [scan(one).runs() for one in batches])
    scanned: list[Any] = []

    def scan_again() -> None:
        scanned[:] = [scan(one) for one in batches]

    for subscribers in (0, 16):
        hub = Hub(TickControlMessages(), 64 << 20)
        hub.begin_feed(Position("e0"), first_sequence=1)
        streams = []
        for number in range(subscribers):
            symbols = frozenset((SYMBOL,))
            stream = LosslessSubscriber(f"{number}", "u", symbols, TickControlMessages(), 10.0, 1 << 30)
            streams.append(stream)
            hub.add(stream)
        epochs = iter(range(1, 1000))

        def begin(hub: Hub = hub, epochs: Any = epochs) -> None:
            hub.begin_feed(Position(f"e{next(epochs)}"), first_sequence=1)
            scan_again()

        def publish(hub: Hub = hub, streams: Any = streams) -> None:
            for one in scanned:
                hub.publish(one)
                for stream in streams:
                    stream._take()

        yield f"market: hub, {subscribers} subscribers", best(count, publish, begin)
    bars: list[BarBuilder] = []

    def begin_bars() -> None:
        bars[:] = [BarBuilder(LocalClock("Asia/Shanghai"))]
        scan_again()

    yield "market: bars", best(count, lambda: [bars[0].on_batch(one) for one in scanned], begin_bars)
    yield "client: scan into columns", best(count, lambda: [scan(one).column("last_price") for one in batches])
    yield "client: SDK's ticks by the scanner", best(count, lambda: [scan(one).ticks(Tick) for one in batches])

    def by_protobuf() -> None:
        for one in batches:
            for tick in pb.StreamTicksResponse.FromString(one).ticks:
                tick_from_pb(tick)

    yield "client: SDK's ticks by protobuf", best(count, by_protobuf)


async def gateway_to_hub(count: int) -> tuple[float, float]:
    """Ticks a second, and µs of CPU for each, from a gateway's thread to a hub with bars and a subscriber."""
    loop = asyncio.get_running_loop()
    vnpy = VnpyEngine(loop)
    stream = TickStream("bench", FeedNature(False, True, False), tick_frame, vnpy.backlog, 64 << 20)
    stream.begin(1)
    vnpy.on_ticks(stream.publish)
    hub, bars, done = Hub(TickControlMessages(), 64 << 20), BarBuilder(LocalClock("Asia/Shanghai")), asyncio.Event()
    hub.begin_feed(Position("bench"), first_sequence=1)
    hub.on_published(bars.on_batch)
    subscriber = LosslessSubscriber("s", "u", frozenset((SYMBOL,)), TickControlMessages(), 10.0, 1 << 30)
    hub.add(subscriber)
    # A gateway's tick is fresh in the processor's cache.
    made, scan = vnpy_ticks(512), variant().scanner().scan

    async def read() -> None:
        async for message in stream.read():
            if isinstance(message, bytes):
                batch = scan(message)
                if len(batch):
                    hub.publish(batch)
                    subscriber._take()
                if hub.position.number >= count:
                    done.set()

    def gateway() -> None:
        put = vnpy.events.put
        for number in range(1, count + 1):
            tick = made[number % 512]
            tick.volume = float(number)  # one that goes back is a late tick's, which is rare and dear
            put(Event(EVENT_TICK, tick))

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    thread = threading.Thread(target=gateway)
    began, cpu = time.perf_counter(), time.process_time()
    thread.start()
    await done.wait()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    thread.join()
    reading.cancel()
    await asyncio.to_thread(vnpy.close)
    return count / took, cpu / count * 1e6


async def run(args: argparse.Namespace) -> None:
    """Both tables."""
    columns = []
    for build in ("compiled", "pure") if is_built(TICKS) else ("pure",):
        columns += [
            (build, size, dict(stages(build, size, args.count // (1 if size > 1 else 8)))) for size in (BATCH, 1)
        ]
    heads = "".join(f"{f'{build}, {size}':>15s}" for build, size, _ in columns)
    print(f"\n{'µs of CPU a tick, in batches of':36s}{heads}")
    for name in columns[0][2]:
        print(f"{name:36s}" + "".join(f"{figures[name]:15.2f}" for _, _, figures in columns))
    rates = [await gateway_to_hub(args.ticks) for _ in range(3)]
    rate, cpu_us = max(rates)
    print(f"\ngateway's thread to hub: {rate:,.0f} ticks/s, {cpu_us:.2f} µs of CPU a tick (best of 3)")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=16_384, help="ticks of a stage (16384)")
    parser.add_argument("--ticks", type=int, default=100_000, help="ticks of the gateway's thread (100000)")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
