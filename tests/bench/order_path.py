"""The order path of a running platform: CreateOrder by gRPC and by REST through Envoy, beside a bare gRPC echo.

    .venv/bin/python -m tests.bench.order_path

Starts `redfire up` with the simulated feed in a temporary folder, then measures, in this order: a bare echo in a
process of its own, CreateOrder by gRPC straight to trading, CreateOrder by REST through Envoy. Each at an open-loop
rate (latency from the moment the order was due) and in a closed loop (orders a second). The orders are limits
far from the market, half of them canceled again between the measurements. Prints figures, asserts nothing. The CPU
is that of `redfire up` (all threads, its feed included, without Envoy) in the closed loop, for each call, and what it
takes at rest in the same time. With `--profile` a table says where it goes; the samples make it a little slower.
"""

import argparse
import asyncio
import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import uvloop
from redfire.trading.v1 import order_service_pb2 as pb
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

ROOT = Path(__file__).parents[2]
# No limit and no lack of money shall be met: the path is measured, not the rules.
ENVIRONMENT = {
    "REDFIRE_TRADING__PAPER_CASH": "900000000000000",
    "REDFIRE_RISK__MAX_OPEN_ORDERS": "1000000000",
    "REDFIRE_RISK__MAX_ORDERS_PER_SECOND": "1000000000",
    "REDFIRE_RISK__MAX_GROSS_NOTIONAL": "900000000000000000",
    "REDFIRE_RISK__MAX_POSITION_QUANTITY": "900000000000",
}
ECHO = "/bench.Echo/Echo"
REST_S = 3.0
Call = Callable[[], Awaitable[object]]


async def serve_echo() -> None:
    """A server that answers what it gets; prints its port on stdout."""

    async def echo(request: bytes, context: object) -> bytes:
        return request

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


async def open_loop(call: Call, rate: float, seconds: float) -> list[float]:
    """Latencies in ms at a steady rate, each counted from when the call was due."""
    latencies: list[float] = []
    running: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        await call()
        latencies.append((time.perf_counter() - due) * 1e3)

    start = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = start + number / rate
        while (left := due - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        task = asyncio.ensure_future(one(due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return latencies


async def closed_loop(call: Call, in_flight: int, seconds: float) -> tuple[float, int]:
    """Calls a second with so many in flight, and how many there were."""
    end, done = time.perf_counter() + seconds, 0

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await call()
            done += 1

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return done / (time.perf_counter() - start), done


async def measure(name: str, call: Call, options: argparse.Namespace, cpu_s: Callable[[], float] | None = None) -> None:
    """One line of figures; `cpu_s()` is the server's CPU time so far."""
    for _ in range(200):
        await call()
    latencies = sorted(await open_loop(call, options.rate, options.seconds))
    cpu = ""
    if cpu_s is None:
        rate, _ = await closed_loop(call, options.in_flight, options.seconds)
    else:
        before_s = cpu_s()
        await asyncio.sleep(REST_S)
        rest = (cpu_s() - before_s) / REST_S
        before_s = cpu_s()
        rate, done = await closed_loop(call, options.in_flight, options.seconds)
        cpu = f"  {(cpu_s() - before_s) / done * 1e3:.2f} ms CPU each, of it {rest / rate * 1e3:.2f} without any order"
    p50, p95, p99 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.95, 0.99))
    print(
        f"{name:<28} {options.rate:g}/s: p50 {p50:6.2f}  p95 {p95:6.2f}  p99 {p99:6.2f} ms"
        f"   {options.in_flight} in flight: {rate:7.0f}/s{cpu}",
        flush=True,
    )


class Platform:
    """`redfire up` in a folder of its own, with these options besides."""

    def __init__(self, *options: str, profiled: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redfire-bench-"))
        self.log = self.folder / "output.log"
        self.profile_file = self.folder / "profile.json"
        program = [str(Path(sys.executable).with_name("redfire"))]
        if profiled:
            program = [sys.executable, "-m", "tests.bench.profiled", str(self.profile_file)]
        command = [
            *program,
            "up",
            "--port",
            "0",
            "--data-dir",
            str(self.folder / "data"),
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--feed", "sim", "--rate-limits", "off", *options],
                cwd=ROOT, env={**os.environ, **ENVIRONMENT}, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def addresses(self) -> tuple[str, str]:
        """(edge, trading) once everything is healthy."""
        file, end = self.folder / "data" / "addresses.json", time.monotonic() + 60
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            if file.exists():
                document = json.loads(file.read_text())
                return document["edge"], document["services"]["trading"]
            time.sleep(0.1)
        sys.exit(f"redfire up is not healthy:\n{self.log.read_text(errors='replace')[-2000:]}")

    def cpu_s(self) -> float:
        """CPU time of all its threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def profile(self, while_: Awaitable[tuple[float, int]]) -> tuple[dict[str, float], dict[str, int], int]:
        """(seconds of CPU by thread, stacks by package, calls) while a closed loop runs; only where it is profiled."""
        self.process.send_signal(signal.SIGUSR1)
        _, done = await while_
        self.process.send_signal(signal.SIGUSR2)
        while not self.profile_file.exists():
            await asyncio.sleep(0.05)
        profile = json.loads(self.profile_file.read_text())
        return profile["threads_s"], profile["stacks"], done

    def stop(self) -> None:
        """Stop it and remove its folder."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


async def trader(session: aiohttp.ClientSession, edge: str) -> tuple[str, str, str]:
    """(token, symbol, price) of a new user and a limit far from the market."""
    name = "bench" + uuid.uuid4().hex[:8]
    login = {"username": name, "password": "correct-Horse-9"}
    email = {"email": f"{name}@example.com"}
    async with session.post(f"http://{edge}/api/users/register", json=login | email) as answer:
        answer.raise_for_status()
    async with session.post(f"http://{edge}/api/users/login", json=login) as answer:
        answer.raise_for_status()
        token = (await answer.json())["accessToken"]
    headers = {"authorization": f"Bearer {token}"}
    for _ in range(100):
        async with session.get(f"http://{edge}/api/market/instruments", headers=headers) as answer:
            instruments = (await answer.json())["instruments"]
        for instrument in instruments:
            symbol = instrument["symbol"]
            async with session.get(f"http://{edge}/api/market/ticks/{symbol}", headers=headers) as answer:
                tick = (await answer.json()).get("tick", {})
            if tick.get("bidPrices"):
                step = float(instrument["priceTick"])
                return (
                    token,
                    symbol,
                    f"{round(tick['bidPrices'][0] / step) * step - 100 * step:.8f}".rstrip("0").rstrip("."),
                )
        await asyncio.sleep(0.1)
    sys.exit("no instrument has a tick")


async def run(options: argparse.Namespace, platform: Platform) -> None:
    """All measurements against a running platform."""
    edge, trading = platform.addresses()
    numbers = itertools.count()
    run_id = uuid.uuid4().hex[:8]
    connector = aiohttp.TCPConnector(limit=options.in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:
        token, symbol, price = await trader(session, edge)
        metadata = (("authorization", f"Bearer {token}"),)

        echo_process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.order_path", "--echo-server"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert echo_process.stdout is not None
            port = echo_process.stdout.readline().strip()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                echo, payload = channel.unary_unary(ECHO), b"x" * 100
                await measure("bare gRPC echo", lambda: echo(payload, timeout=30), options)
        finally:
            echo_process.terminate()
            echo_process.wait()

        async with grpc.aio.insecure_channel(trading) as channel:
            stub = OrderServiceStub(channel)

            def request() -> pb.CreateOrderRequest:
                return pb.CreateOrderRequest(
                    client_order_id=f"{run_id}-{next(numbers)}", symbol=symbol, side=1, type=2, quantity="1",
                    price=price, time_in_force=2,
                )  # fmt: skip

            async def cancel_all() -> None:
                await stub.CancelAllOrders(pb.CancelAllOrdersRequest(), metadata=metadata, timeout=60)
                await asyncio.sleep(1)

            create = stub.CreateOrder
            await measure(
                "CreateOrder by gRPC",
                lambda: create(request(), metadata=metadata, timeout=30),
                options,
                platform.cpu_s,
            )
            if options.profile:
                call = functools.partial(_created, create, request, metadata)
                show(*await platform.profile(closed_loop(call, options.in_flight, options.seconds)))
            await cancel_all()

            async def rest() -> None:
                body = {
                    "clientOrderId": f"{run_id}-{next(numbers)}", "symbol": symbol, "side": "SIDE_BUY",
                    "type": "ORDER_TYPE_LIMIT", "quantity": "1", "price": price, "timeInForce": "TIME_IN_FORCE_GTC",
                }  # fmt: skip
                headers = {"authorization": f"Bearer {token}"}
                async with session.post(f"http://{edge}/api/trading/orders", json=body, headers=headers) as answer:
                    if answer.status != 200:
                        raise RuntimeError(f"{answer.status}: {await answer.text()}")
                    await answer.read()

            await measure("CreateOrder by REST (Envoy)", rest, options, platform.cpu_s)


async def _created(create: Any, request: Callable[[], pb.CreateOrderRequest], metadata: Any) -> None:
    await create(request(), metadata=metadata, timeout=30)


def show(threads_s: dict[str, float], stacks: dict[str, int], orders: int) -> None:
    """Print where the CPU of an order goes: by thread, and of the event loop's thread by package."""
    whole_s, taken = sum(threads_s.values()), sum(stacks.values()) or 1
    loop_s = threads_s.get("MainThread", 0.0)
    print(f"\nCPU of one of {orders} orders, the feed included: {whole_s / orders * 1e3:.3f} ms")
    for name, seconds in sorted(threads_s.items(), key=lambda item: -item[1])[:8]:
        print(f"  {name:<36}{seconds / orders * 1e3:8.3f} ms {seconds / whole_s:6.1%}")
    print("of it the event loop's thread (MainThread), by package")
    for name, count in sorted(stacks.items(), key=lambda item: -item[1])[:20]:
        share = count / taken
        print(f"  {name:<36}{share * loop_s / orders * 1e3:8.3f} ms {share * loop_s / whole_s:6.1%}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200, help="orders a second of the open loop (default 200)")
    parser.add_argument("--in-flight", type=int, default=64, help="orders in flight of the closed loop (default 64)")
    parser.add_argument("--seconds", type=float, default=5, help="how long each loop runs (default 5)")
    parser.add_argument("--profile", action="store_true", help="print where the CPU of an order by gRPC goes")
    parser.add_argument("--echo-server", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.echo_server:
        uvloop.run(serve_echo())
        return
    platform = Platform(profiled=options.profile)
    try:
        uvloop.run(run(options, platform))
    finally:
        platform.stop()


if __name__ == "__main__":
    main()
