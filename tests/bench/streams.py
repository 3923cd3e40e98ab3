"""Ten thousand conflated streams through Envoy, and what they cost the order path.

    .venv/bin/python -m tests.bench.streams

Starts `redfire up` with 200 simulated instruments of ten ticks a second each, once with a process for each service, as
a platform with so many clients should run, and once with all in one: the memory is that of market and Envoy, and then
of the platform and Envoy. Measures CreateOrder at 50/s by gRPC straight to trading; opens 9,000 streams over HTTP/2 and
1,000 as server-sent events over HTTP/1.1, each of 10 of the symbols with a `min_interval` of 1 s
(tests.bench.stream_load); measures for `--seconds` the streams, the memory and CPU of both processes and, again, the
order path. With `--market` there is only market, in a process of its own with an
engine of the test, beside Envoy: no orders, the memory is market's alone, and each user has as many streams as users
may have by default. With `--restart` Envoy is killed at last (SIGKILL), with `--market` then market too. All clients
come back at once, within a second; those that are refused come again when they are told to. It says how many are served
again within 10 s from when what was killed listens again, and what a stream that returned cost, with its messages until
then. Prints figures, asserts nothing.
"""

import argparse
import asyncio
import itertools
import json
import math
import resource
import secrets
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import psutil
import uvloop
import yaml
from redfire.trading.v1 import order_service_pb2 as pb
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.identifiers import new_id
from services.kernel.policy import descriptor_file, descriptor_set
from services.market.settings import MarketSettings
from services.mesh.contract import Contract
from services.mesh.edge.options import EdgeOptions
from services.mesh.envoy import EnvoyProcess
from tests.bench.order_path import ENVIRONMENT, open_loop, trader
from tests.e2e.processes import Processes
from tests.harness import TokenMint
from tests.rabbitmq import installed_broker
from tests.running import ROOT, Running

ORDERS_PER_S = 50
TOPOLOGIES = {"processes": "a process for each service", "one": "all services in one process"}
RETURN_S = 10.0
"""The time in which all streams should be back after a restart."""
PER_USER = MarketSettings().max_streams_per_user
PRODUCTS = ("rb", "hc", "cu", "al", "zn", "au", "ag", "ru", "fu", "bu")


def instruments() -> tuple[dict[str, Any], list[str]]:
    """A catalogue of 200 futures, and their symbols."""
    products: dict[str, Any] = {}
    symbols: dict[str, dict[str, str]] = {}
    for product in PRODUCTS:
        products[f"{product}.SHFE"] = {
            "name": f"{product} future",
            "kind": "FUTURES",
            "contract_size": "10",
            "price_tick": "1",
            "margin_rate": "0.1",
            "commission_rate": "0.0001",
            "close_today_commission_rate": "0.0001",
            "price_limit_ratio": "0.07",
            "simulated": {"price": "3120", "depth": 420, "open_interest": 1850000},
        }
        for year, month in itertools.product((2027, 2028), range(1, 11)):
            symbols[f"{product}{year % 100}{month:02}.SHFE"] = {"expire_date": f"{year}-{month:02}-15"}
    return {"products": products, "symbols": symbols}, sorted(symbols)


class Watch:
    """Memory and CPU of a process over a span of time."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self._process = psutil.Process(pid)
        self.begin()

    def begin(self) -> None:
        self._since, self._cpu_s = time.perf_counter(), self._cpu()

    def rss_mb(self) -> float:
        return self._process.memory_info().rss / 1e6

    def cores(self) -> float:
        return self.cpu_s() / (time.perf_counter() - self._since)

    def cpu_s(self) -> float:
        return self._cpu() - self._cpu_s

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


class Clients:
    """Processes of tests.bench.stream_load."""

    def __init__(self) -> None:
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(
        self, address: str, token_of: Callable[[], str], folder: Path, symbols: list[str], options: argparse.Namespace
    ) -> None:
        """Begin to open the streams; those of a process take turns with as many tokens as it has users."""
        parts = options.clients
        for number in range(parts):
            tokens = folder / f"tokens-{number}"
            tokens.write_text("\n".join(token_of() for _ in range(math.ceil(options.streams / parts / PER_USER))))
            command = [
                *(sys.executable, "-m", "tests.bench.stream_load", "--address", address, "--tokens", str(tokens)),
                *("--symbols", ",".join(symbols), "--interval", str(options.interval), "--seed", str(number)),
                *("--streams", str((options.streams - options.sse) // parts), "--sse", str(options.sse // parts)),
                *("--opens-per-s", str(options.opens_per_s / parts)),
            ]
            pipe = asyncio.subprocess.PIPE
            self._processes.append(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))

    async def ask(self, command: str) -> dict[str, Any]:
        """`begin` or `end`; the results of all processes as one."""
        results = []
        for process in self._processes:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(f"{command}\n".encode())
        for process in self._processes:
            assert process.stdout is not None
            results.append(json.loads(await asyncio.wait_for(process.stdout.readline(), 60)))
        whole = {key: sum(one[key] for one in results) for key in ("streams", "served", "messages", "ended", "cpu_s")}
        for key in ("longest_gap_s", "gap_p99_s", "first_tick_s"):
            whole[key] = max((one[key] for one in results if one[key] is not None), default=None)
        whole["wrong"] = dict(sum((Counter(one["wrong"]) for one in results), Counter()))
        return whole

    async def all_served(self, limit_s: float) -> tuple[float, dict[str, Any]]:
        """Seconds until each stream has had a tick, or `limit_s`."""
        began = time.perf_counter()
        while True:
            result = await self.ask("look")
            took_s = time.perf_counter() - began
            if result["served"] == result["streams"] or took_s > limit_s:
                return took_s, result
            await asyncio.sleep(0.25)

    async def stop(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


class Orders:
    """Orders at a steady rate, far from the market."""

    def __init__(self, channel: grpc.aio.Channel, token: str, symbol: str, price: str) -> None:
        self._stub = OrderServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._symbol, self._price = symbol, price
        self._numbers = itertools.count()
        self._run = uuid.uuid4().hex[:8]
        self._failed: Counter[str] = Counter()

    async def create(self) -> None:
        request = pb.CreateOrderRequest(
            client_order_id=f"{self._run}-{next(self._numbers)}", symbol=self._symbol, side=1, type=2, quantity="1",
            price=self._price, time_in_force=2,
        )  # fmt: skip
        try:
            await self._stub.CreateOrder(request, metadata=self._metadata, timeout=30)
        except grpc.aio.AioRpcError as failure:
            self._failed[failure.code().name] += 1

    async def measure(self, name: str, seconds: float) -> float:
        """The p95 in ms; prints a line."""
        latencies = sorted(await open_loop(self.create, ORDERS_PER_S, seconds))
        p50, p95, p99 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.95, 0.99))
        print(f"{name:<26} p50 {p50:6.2f}  p95 {p95:6.2f}  p99 {p99:6.2f} ms", *self._failed.items(), flush=True)
        self._failed.clear()
        await self._stub.CancelAllOrders(pb.CancelAllOrdersRequest(), metadata=self._metadata, timeout=60)
        return p95


async def measure_streams(
    options: argparse.Namespace, clients: Clients, watches: tuple[Watch, Watch], during: Callable[[], Awaitable[object]]
) -> None:
    """Figures of streams that are being opened: until all are served, then while `during` runs."""
    took_s, result = await clients.all_served(options.limit)
    print(
        f"all open: {result['served']} of {result['streams']} served after {took_s:.1f} s {result['wrong']}", flush=True
    )
    began = (await clients.ask("begin"))["cpu_s"]
    for watch in watches:
        watch.begin()
    since = time.perf_counter()
    await during()
    result = await clients.ask("end")
    seconds = time.perf_counter() - since
    report("with streams", watches)
    print(
        f"streams: {result['served']} of {result['streams']} served, longest gap {result['longest_gap_s']} s "
        f"(99 % below {result['gap_p99_s']} s), {result['messages'] / seconds:.0f} messages/s, ended {result['ended']} "
        f"{result['wrong']}; the clients took {(result['cpu_s'] - began) / seconds:.2f} cores",
        flush=True,
    )
    each_us = [watch.cores() * seconds / max(1, result["messages"]) * 1e6 for watch in watches]
    print(
        f"CPU for a message: {watches[0].name} {each_us[0]:.0f} us, {watches[1].name} {each_us[1]:.0f} us", flush=True
    )


async def measure_return(
    options: argparse.Namespace, clients: Clients, name: str, restart: Callable[[], Awaitable[Sequence[Watch]]]
) -> None:
    """Kill something, and say how many streams are served again by what took its place."""
    await clients.ask("lose")
    killed = time.perf_counter()
    watches = await restart()
    began = time.perf_counter()
    before = (await clients.ask("look"))["cpu_s"]
    within = 0
    while True:
        result = await clients.ask("look")
        took_s = time.perf_counter() - began
        if took_s <= RETURN_S:
            within = result["served"]
        if result["served"] == result["streams"] or took_s > max(options.limit, RETURN_S):
            break
        await asyncio.sleep(min(0.25, max(0.01, RETURN_S - took_s)) if took_s < RETURN_S else 0.25)
    print(
        f"{name} killed, back after {began - killed:.1f} s: returned {within} of {result['streams']} within "
        f"{RETURN_S:g} s, {result['served']} after {took_s:.1f} s; {result['wrong']}",
        flush=True,
    )
    used_s = [(watch.name, watch.cpu_s()) for watch in watches] + [("clients", result["cpu_s"] - before)]
    each = (f"{who} {cpu_s / max(1, result['served']) * 1e6:.0f} us" for who, cpu_s in used_s)
    print(f"CPU for a stream that returned: {', '.join(each)}", flush=True)


async def until_it_listens(address: str) -> None:
    """Wait for a listener."""
    host, _, port = address.rpartition(":")
    while True:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


def envoy_of(up: Running) -> int:
    """The process of a platform's Envoy."""
    assert up.process is not None
    children = psutil.Process(up.process.pid).children(recursive=True)
    return next(child.pid for child in children if "envoy" in child.name())


async def run(options: argparse.Namespace, up: Running, folder: Path, symbols: list[str]) -> None:
    """All measurements against a running platform."""
    edge, trading = up.addresses["edge"], up.addresses["services"]["trading"]
    assert up.process is not None
    platform = up.pids()["market"][0] if isinstance(up, Processes) else up.process.pid
    name = "market" if isinstance(up, Processes) else "platform"
    watches = Watch(name, platform), Watch("envoy", envoy_of(up))
    clients = Clients()
    async with aiohttp.ClientSession() as session, grpc.aio.insecure_channel(trading) as channel:
        token, symbol, price = await trader(session, edge)
        orders = Orders(channel, token, symbol, price)
        await orders.measure("warm-up", 3)
        for watch in watches:
            watch.begin()
        before_ms = await orders.measure("orders without streams", options.seconds / 3)
        report("without streams", watches)
        with_ms = 0.0

        async def place_orders() -> None:
            nonlocal with_ms
            with_ms = await orders.measure("orders with streams", options.seconds)

        async def restart_envoy() -> Sequence[Watch]:
            psutil.Process(envoy_of(up)).kill()
            await asyncio.sleep(0.1)
            await until_it_listens(edge)
            return Watch(name, platform), Watch("envoy", envoy_of(up))

        try:
            await clients.start(edge, lambda: token, folder, symbols, options)
            await measure_streams(options, clients, watches, place_orders)
            print(f"order path's p95: {with_ms / before_ms:.2f} x that without streams", flush=True)
            if options.restart:
                await measure_return(options, clients, "Envoy", restart_envoy)
        finally:
            await clients.stop()


class Market:
    """A process of tests.bench.stream_market, which can be killed and started again at its place."""

    def __init__(self, options: argparse.Namespace, symbols: list[str], seed: str) -> None:
        self._command = [
            *(sys.executable, "-m", "tests.bench.stream_market", "--symbols", ",".join(symbols)),
            *("--streams", str(options.streams), "--ring-mb", str(options.ring_mb), "--seed", seed),
            *("--writer", options.writer, "--opens-per-s", str(options.admitted_per_s)),
        ]
        self._process: asyncio.subprocess.Process | None = None
        self.where: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
        assert self._process.stdout is not None
        again = bool(self.where)
        self.where = json.loads(await asyncio.wait_for(self._process.stdout.readline(), 120))
        if not again:
            port, ops_port = (self.where[name].rpartition(":")[2] for name in ("address", "ops"))
            self._command += ["--port", port, "--ops-port", ops_port]
            if self.where["streams"]:
                self._command += ["--stream-port", self.where["streams"].rpartition(":")[2]]

    async def kill(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


async def run_market(options: argparse.Namespace, folder: Path, symbols: list[str]) -> None:
    """The streams against market alone, behind an Envoy of its own."""
    seed = secrets.token_hex(32)
    mint, market, clients = TokenMint(bytes.fromhex(seed)), Market(options, symbols, seed), Clients()
    try:
        await market.start()
        edge = EdgeOptions(
            services={"market": (market.where["address"],)},
            streams={"market": (market.where["streams"],)} if market.where["streams"] else {},
            ops=market.where["ops"],
            descriptors=str(descriptor_file()),
            openapi=str(ROOT / "gen/openapi/redfire.openapi.json"),
            port=0,
            rate_limits=None,
        )
        async with EnvoyProcess(Contract(descriptor_set()), edge, folder, concurrency=2) as envoy:
            assert envoy.pid is not None
            watches = Watch("market", market.pid), Watch("envoy", envoy.pid)
            await asyncio.sleep(2)
            report("without streams", watches)

            async def restart_envoy() -> Sequence[Watch]:
                restarts, pid = envoy.restarts, envoy.pid
                assert pid is not None
                psutil.Process(pid).kill()
                while envoy.restarts == restarts:
                    await asyncio.sleep(0.01)
                assert envoy.pid is not None
                return Watch("market", market.pid), Watch("envoy", envoy.pid)

            async def restart_market() -> Sequence[Watch]:
                await market.kill()
                await market.start()
                assert envoy.pid is not None
                return Watch("market", market.pid), Watch("envoy", envoy.pid)

            await clients.start(envoy.address, lambda: mint.token(new_id(), "user"), folder, symbols, options)
            await measure_streams(options, clients, watches, lambda: asyncio.sleep(options.seconds))
            if options.restart:
                await measure_return(options, clients, "Envoy", restart_envoy)
                await measure_return(options, clients, "market", restart_market)
    finally:
        await clients.stop()
        await market.kill()


def report(name: str, watches: tuple[Watch, Watch]) -> None:
    """One line about both processes."""
    parts = (f"{watch.name} {watch.rss_mb():.0f} MB {watch.cores():.2f} cores" for watch in watches)
    together = sum(watch.rss_mb() for watch in watches)
    print(f"{name:<26} {',  '.join(parts)};  {together:.0f} MB together", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=10_000, help="in all (10000)")
    parser.add_argument("--sse", type=int, default=1000, help="of them as server-sent events over HTTP/1.1 (1000)")
    parser.add_argument("--interval", type=float, default=1.0, help="their min_interval, seconds (1)")
    parser.add_argument("--seconds", type=float, default=20, help="how long streams are measured (20)")
    parser.add_argument("--clients", type=int, default=2, help="client processes (2)")
    parser.add_argument(
        "--opens-per-s", type=float, default=1000, help="streams opened a second, 0: all at once (1000)"
    )
    parser.add_argument("--limit", type=float, default=60, help="seconds that all streams may take to be served (60)")
    parser.add_argument("--ring-mb", type=int, default=64, help="market's memory for recent ticks, market.ring_mb (64)")
    parser.add_argument("--writer", choices=("grpc", "http2"), default="http2", help="market.stream_writer (http2)")
    parser.add_argument(
        "--admitted-per-s", type=float, default=1500, help="streams admitted a second, market.opens_per_s (1500)"
    )
    parser.add_argument("--market", action="store_true", help="only market and Envoy")
    parser.add_argument("--on", choices=TOPOLOGIES, help="in processes, or in one; both without")
    parser.add_argument(
        "--restart",
        action="store_true",
        help="kill Envoy at the end (then market, with --market), and wait for all streams",
    )
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for the children too: a file each stream of HTTP/1.1
    if options.market:
        with tempfile.TemporaryDirectory(prefix="redfire-streams-") as folder:
            uvloop.run(run_market(options, Path(folder), instruments()[1]))
        return
    for on in TOPOLOGIES if options.on is None else (options.on,):
        print(f"-- {TOPOLOGIES[on]}", flush=True)
        with tempfile.TemporaryDirectory(prefix="redfire-streams-") as folder, ExitStack() as stack:
            up, symbols = started(on, options, Path(folder), stack)
            uvloop.run(run(options, up, Path(folder), symbols))


def started(on: str, options: argparse.Namespace, folder: Path, stack: ExitStack) -> tuple[Running, list[str]]:
    """A platform that is stopped by `stack`, and the symbols of its feed."""
    catalogue, symbols = instruments()
    file = folder / "instruments.yaml"
    file.write_text(yaml.safe_dump(catalogue))
    environment = ENVIRONMENT | {
        "REDFIRE_MARKET__MAX_STREAMS_PER_USER": str(2 * options.streams),
        "REDFIRE_MARKET__MAX_STREAMS": str(2 * options.streams),
        "REDFIRE_MARKET__RING_MB": str(options.ring_mb),
        "REDFIRE_MARKET__STREAM_WRITER": options.writer,
        "REDFIRE_MARKET__OPENS_PER_S": str(options.admitted_per_s),
    }
    arguments, kind = ["--feed", "sim", "--instruments", str(file)], Running
    if on == "processes":
        broker = installed_broker()
        stack.callback(broker.close)
        environment["REDFIRE_EVENTS__URL"] = broker.url
        arguments, kind = [*arguments, "--processes"], Processes
    up = kind(*arguments, data_dir=folder / "data", env=environment)
    up.start(120)
    stack.callback(up.kill9, children_too=True)
    return up, symbols


if __name__ == "__main__":
    main()
