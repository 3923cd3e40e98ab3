"""vnpy.rpc as the peer of fan_out.py: vnpy's RpcServer publishes TickData, its RpcClients in other processes take them.

As vnpy's own rpc service uses it: pickled ticks over ZeroMQ, with its defaults. A subscriber that is behind loses ticks
in silence; the numbers in them show how many.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from copy import copy
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.usage import Usage, peak_mb, percentiles
from tests.machine import free_port

TOPIC, END, READY = "eTick.", "end", "report_ready"
STEP = 64
"""Ticks of a burst between two looks at the clock."""
IDLE_S = 3.0
"""Silence after which a subscriber takes the rest, the end too, for lost."""
PREPARED = 512


async def measure(subscribers: int, count: int, rate: float) -> dict[str, Any]:
    """One run, with N subscriber processes."""
    from tests.bench.fan_out import run_all, summary

    # As many seconds of a burst as ours, not as many ticks: it is slower.
    count = count if rate else max(3_000, count // 10)
    request, publish = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    command = (sys.executable, "-W", "ignore", "-m", "tests.bench.vnpy_peer", "--request", request)
    command += ("--publish", publish, "--count", str(count))
    publisher = (*command, "--rate", str(rate), "--readers", str(subscribers))
    *results, published = await run_all([*[(*command, "--subscribe")] * subscribers, publisher])
    return {
        **summary(results, count),
        "server_us": published["cpu_s"] / count * 1e6,
        "server_mb": published["rss_mb"],
    }


def publish(request: str, address: str, count: int, rate: float, readers: int) -> None:
    """Publish when all subscribers are there."""
    from vnpy.rpc import RpcServer

    server, ready = RpcServer(), set[int]()

    def report_ready(number: int) -> bool:
        ready.add(number)
        return True

    server.register(report_ready)
    server.start(request, address)
    prepared = [_tick(number) for number in range(PREPARED)]
    while len(ready) < readers:
        time.sleep(0.05)
    time.sleep(1.0)  # their subscriptions are on their way to the publisher's socket
    cpu_s, began, sent = time.process_time(), time.perf_counter(), 0
    while sent < count:
        due = min(int((time.perf_counter() - began) * rate) + 1 if rate else sent + STEP, count)
        if due <= sent:
            time.sleep(0.0005)
        for number in range(sent, due):
            tick = copy(prepared[number % PREPARED])
            tick.volume, tick.pre_close = number + 1, float(time.perf_counter_ns())
            server.publish(TOPIC, tick)
        sent = due
    result = {"cpu_s": time.process_time() - cpu_s, "rss_mb": peak_mb()}
    time.sleep(0.5)
    server.publish(END, None)
    time.sleep(0.5)  # ZeroMQ's thread sends it
    _finish(result)


def subscribe(request: str, address: str) -> None:
    """Receive until the end, or until nothing comes any more."""
    from vnpy.rpc import RpcClient

    latencies: list[float] = []
    usage, ended, heard = Usage(), list[bool](), [time.perf_counter()]

    class Client(RpcClient):
        def callback(self, topic: str, data: Any) -> None:
            now = usage.now_ns()
            heard[0] = time.perf_counter()
            if topic == END:
                ended.append(True)
                return
            usage.begin()
            latencies.append(now - data.pre_close)
            usage.end()

        def on_disconnected(self) -> None:
            """A publisher under load misses its heartbeats: that shows in the figures."""

    client = Client()
    client.subscribe_topic("")
    client.start(request, address)
    client.report_ready(os.getpid(), timeout=60_000)
    while not ended and not (latencies and time.perf_counter() - heard[0] > IDLE_S):
        time.sleep(0.05)
    n = len(latencies)
    _finish({"n": n, **usage.result(n), **percentiles(latencies)})


def _tick(number: int) -> Any:
    from vnpy.trader.constant import Exchange
    from vnpy.trader.object import TickData

    levels = {f"{side}_{what}_{level}": 3500.0 + level for side in ("bid", "ask") for what in ("price", "volume")
              for level in range(1, 6)}  # fmt: skip
    return TickData(
        gateway_name="SIM", symbol="IF2101", exchange=Exchange.CFFEX, datetime=datetime.now(), name="IF2101",
        turnover=1e9, open_interest=5e5, last_price=3500.0 + number % 200, last_volume=3, limit_up=3800,
        limit_down=3200, open_price=3490, high_price=3510, low_price=3480, **levels,
    )  # fmt: skip


def _finish(result: dict[str, Any]) -> None:
    """Print, and end without waiting for vnpy's threads."""
    print(json.dumps(result), flush=True)
    shutil.rmtree(Path.cwd(), ignore_errors=True)
    os._exit(0)


def main() -> None:
    """One of the two sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--request", required=True)
    parser.add_argument("--publish", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--readers", type=int, default=0)
    parser.add_argument("--subscribe", action="store_true")
    args = parser.parse_args()
    # vnpy makes its folder where it is imported, if there is one of its name already.
    folder = Path(tempfile.mkdtemp(prefix="redfire-vnpy-"))
    (folder / ".vntrader").mkdir()
    os.chdir(folder)
    if args.subscribe:
        subscribe(args.request, args.publish)
    else:
        publish(args.request, args.publish, args.count, args.rate, args.readers)


if __name__ == "__main__":
    main()
