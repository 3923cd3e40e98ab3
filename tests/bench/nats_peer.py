"""NATS as a peer of fan_out.py: Debian's nats-server, one publisher and N subscribers by nats-py.

The publisher sends the same bytes as market does, a tick a message as NATS is used; a burst is paced by flushes, since
a server ends subscribers that fall behind. Subscribers parse each tick by protobuf.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from redfire.market.v1 import market_pb2 as pb

from tests.bench.tick_source import TickSource
from tests.bench.usage import Usage, percentiles
from tests.machine import free_port

SUBJECT = "ticks"
FLUSH = 256
INSTALL_S = 180


def install() -> str:
    """Install what is missing; returns why it is not there, empty when it is."""
    if shutil.which("nats-server") is None:
        if os.geteuid() or shutil.which("apt-get") is None:
            return "there is no nats-server, and only root may install it"
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "nats-server"]):
            try:
                done = subprocess.run(["apt-get", *command], capture_output=True, timeout=INSTALL_S, check=False)
            except subprocess.TimeoutExpired:
                return "apt-get took too long"
            if done.returncode:
                return "apt-get cannot install nats-server"
    try:
        import nats  # noqa: F401
    except ImportError:
        return "there is no nats-py, which `make setup-dev` installs"
    return ""


async def measure(subscribers: int, count: int, rate: float) -> dict[str, Any]:
    """One run of a server of its own with N subscriber processes."""
    from tests.bench.fan_out import run_all, summary

    # As many seconds as market's, not as many ticks: it is slower.
    count = count if rate else max(3_000, count // 10)
    port = free_port()
    server = await asyncio.create_subprocess_exec(
        "nats-server", "-a", "127.0.0.1", "-p", str(port), stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        url = f"nats://127.0.0.1:{port}"
        common = (sys.executable, "-m", "tests.bench.nats_peer", "--url", url, "--count", str(count))
        reader = (*common, "--subscribe")
        writer = (*common, "--rate", str(rate), "--readers", str(subscribers))
        *results, published = await run_all([*[reader] * subscribers, writer])
        cpu_s, rss_mb = _server_usage(server.pid)
    finally:
        server.terminate()
        await server.wait()
    return {
        **summary(results, count),
        "server_us": (cpu_s + published["cpu_s"]) / count * 1e6,
        "server_mb": rss_mb + published["rss_mb"],
    }


def _server_usage(pid: int) -> tuple[float, int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") >> 20


async def _connect(url: str) -> Any:
    import nats

    for _ in range(100):
        try:
            return await nats.connect(url, max_reconnect_attempts=0)
        except Exception:
            await asyncio.sleep(0.1)
    raise SystemExit("nats-server does not answer")


async def publish(url: str, count: int, rate: float, readers: int) -> None:
    """Publish when all subscribers are there."""
    connection = await _connect(url)
    ready: set[bytes] = set()

    async def on_ready(message: Any) -> None:
        ready.add(message.data)

    await connection.subscribe("ready", cb=on_ready)
    while len(ready) < readers:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    source, usage, sent = TickSource(count, rate), Usage(), 0
    usage.begin()
    async for batch in source.batches():
        for tick in pb.StreamTicksResponse.FromString(batch).ticks:
            await connection.publish(SUBJECT, tick.SerializeToString())
            sent += 1
            if not rate and sent % FLUSH == 0:
                await connection.flush(timeout=60)
    await connection.flush(timeout=60)
    usage.end()
    await connection.publish(SUBJECT, b"")
    await connection.drain()
    print(json.dumps(usage.result(count)), flush=True)


async def subscribe(url: str, count: int) -> None:
    """Receive until the end."""
    connection = await _connect(url)
    subscription = await connection.subscribe(SUBJECT, pending_msgs_limit=10**9, pending_bytes_limit=10**10)
    await connection.flush()

    async def report_ready() -> None:
        # Again and again: who publishes may not listen yet, and a server keeps nothing.
        while True:
            await connection.publish("ready", str(os.getpid()).encode())
            await asyncio.sleep(0.1)

    reporting = asyncio.create_task(report_ready())
    latencies: list[float] = []
    usage, received = Usage(), 0
    async for message in subscription.messages:
        reporting.cancel()
        if not message.data:
            break
        tick = pb.Tick.FromString(message.data)
        latencies.append(usage.now_ns() - tick.pre_close_price)
        usage.begin()
        received += 1
        usage.end()
    print(json.dumps({"n": received, **usage.result(received), **percentiles(latencies)}), flush=True)
    await connection.close()


def main() -> None:
    """One of the two sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--readers", type=int, default=0)
    parser.add_argument("--subscribe", action="store_true")
    args = parser.parse_args()
    run = subscribe(args.url, args.count) if args.subscribe else publish(args.url, args.count, args.rate, args.readers)
    asyncio.run(run)


if __name__ == "__main__":
    main()
