"""The order path of a platform in processes, on PostgreSQL, Redis and RabbitMQ, beside the peer of `tests/bench/peer`.

    .venv/bin/python -m tests.bench.processes

Starts the three servers in temporary folders, and on them, one after the other, the peer and `redfire up --processes`.
CreateOrder is measured at the peer by REST, at RedFire by REST through Envoy and by gRPC straight to trading: at
open-loop rates (latency from the moment the order was due) and in closed loops. The orders are limits of several users,
far from the market; each is reported back by the venue. CPU is that of all processes of the platform, then of the three
servers, for each order, until all reports are applied, less what it takes without any. Last: the time from a fill at
the venue, by its own stamp, to each of several streams of the order's user, by gRPC through Envoy. Prints figures,
asserts nothing.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
import uuid
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import psutil
import uvloop
from redfire.trading.v1 import order_service_pb2 as pb
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from deploy.production.postgres import LocalPostgres
from deploy.production.rabbitmq import LocalRabbitMq
from deploy.production.redis import LocalRedis
from deploy.production.server import LocalServer
from tests.bench.order_path import ENVIRONMENT, Call, open_loop, trader
from tests.bench.peer.running import LIMIT_ORDER, Peer
from tests.running import Running

RATES = (50.0, 200.0)
IN_FLIGHT = (16, 64)
USERS = 16
WARM_UP_S = 2.0
START_S = 300.0
QUIET_SLICE_S = 0.25
LONGEST_QUIET_S = 10.0
FILL_RATE = 50.0
LAST_FILLS_S = 5.0
FILL_USERS, STREAMS_OF_USER = 4, 4
HEADER = (
    f"{'':40s}{'p50':>8s}{'p95':>8s}{'p99':>8s} ms{'orders/s':>10s}{'CPU':>8s}{'servers':>9s} ms{'busy after':>12s}"
)


class Meter:
    """CPU of process trees."""

    def __init__(self, roots: Sequence[psutil.Process]) -> None:
        self._roots = roots
        self._rest = 0.0

    def cpu_s(self) -> float:
        """Seconds so far, those of children that have ended included."""
        total = 0.0
        for root in self._roots:
            for process in (root, *root.children(recursive=True)):
                try:
                    total += sum(process.cpu_times()[:4])
                except psutil.NoSuchProcess:
                    continue
        return total

    async def rest(self, seconds: float) -> float:
        """Measure what it takes without orders, as a share of a core."""
        before_s, began = self.cpu_s(), time.perf_counter()
        await asyncio.sleep(seconds)
        self._rest = (self.cpu_s() - before_s) / (time.perf_counter() - began)
        return self._rest

    async def quiet(self) -> float:
        """Wait until it takes hardly more than that; the seconds waited."""
        began = time.perf_counter()
        while time.perf_counter() - began < LONGEST_QUIET_S:
            before_s, slice_began = self.cpu_s(), time.perf_counter()
            await asyncio.sleep(QUIET_SLICE_S)
            if (self.cpu_s() - before_s) / (time.perf_counter() - slice_began) < self._rest + 0.05:
                break
        return max(0.0, time.perf_counter() - began - QUIET_SLICE_S)

    def since(self, before_s: float, began: float) -> float:
        """Seconds of CPU since then beside those that it takes without orders."""
        return self.cpu_s() - before_s - self._rest * (time.perf_counter() - began)


@dataclass
class Subject:
    """A way to create orders, and who takes CPU for it."""

    name: str
    create: Call
    platform: Meter
    servers: Meter
    rates: dict[int, float] = field(default_factory=dict)
    """Orders a second by how many were in flight."""
    _failed: int = 0

    async def measure(self, options: argparse.Namespace) -> None:
        """Print a line for each rate and each number in flight."""
        await self._closed(IN_FLIGHT[0], WARM_UP_S)
        await self.platform.quiet()
        for rate in RATES:
            await self._row(f"{rate:g}/s", open_loop(self._call, rate, options.seconds))
        for in_flight in IN_FLIGHT:
            self.rates[in_flight] = await self._row(f"{in_flight} in flight", self._closed(in_flight, options.seconds))

    async def _row(self, load: str, loop: Awaitable[list[float]]) -> float:
        before_s, servers_before_s, began = self.platform.cpu_s(), self.servers.cpu_s(), time.perf_counter()
        self._failed = 0
        latencies = await loop
        rate = (len(latencies) - self._failed) / (time.perf_counter() - began)
        busy_s = await self.platform.quiet()
        cpu_ms = self.platform.since(before_s, began) / len(latencies) * 1e3
        servers_ms = self.servers.since(servers_before_s, began) / len(latencies) * 1e3
        columns = "".join(f"{value:8.2f}" for value in percentiles(latencies))
        name = f"{self.name}, {load}"
        failed = f"   {self._failed} failed" if self._failed else ""
        print(f"{name:40s}{columns}   {rate:10.0f}{cpu_ms:8.2f}{servers_ms:9.2f}{busy_s:14.1f} s{failed}", flush=True)
        return rate

    async def _call(self) -> None:
        """One order; one that fails is counted, since a machine may be too slow for a rate."""
        try:
            await self.create()
        except (aiohttp.ClientError, grpc.aio.AioRpcError, TimeoutError):
            self._failed += 1

    async def _closed(self, in_flight: int, seconds: float) -> list[float]:
        """Latencies in ms with so many in flight."""
        latencies: list[float] = []
        end = time.perf_counter() + seconds

        async def caller() -> None:
            while (began := time.perf_counter()) < end:
                await self._call()
                latencies.append((time.perf_counter() - began) * 1e3)

        await asyncio.gather(*(caller() for _ in range(in_flight)))
        return latencies


def percentiles(latencies: Sequence[float]) -> tuple[float, float, float]:
    """p50, p95 and p99."""
    ranked = sorted(latencies)
    p50, p95, p99 = (ranked[int((len(ranked) - 1) * part)] for part in (0.5, 0.95, 0.99))
    return p50, p95, p99


def rest_orders(session: aiohttp.ClientSession, url: str, tokens: Sequence[str], body: dict[str, str]) -> Call:
    """Orders by REST, of each user in turn."""
    users = itertools.cycle([{"authorization": f"Bearer {token}"} for token in tokens])
    run, numbers = uuid.uuid4().hex[:8], itertools.count()

    async def create() -> None:
        order = {"clientOrderId": f"{run}-{next(numbers)}", **body}
        async with session.post(f"{url}/api/trading/orders", json=order, headers=next(users)) as answer:
            answer.raise_for_status()
            await answer.read()

    return create


def grpc_orders(channel: grpc.aio.Channel, tokens: Sequence[str], symbol: str, price: str) -> Call:
    """The same by gRPC."""
    users = itertools.cycle([(("authorization", f"Bearer {token}"),) for token in tokens])
    run, numbers = uuid.uuid4().hex[:8], itertools.count()
    create_order = OrderServiceStub(channel).CreateOrder

    async def create() -> None:
        request = pb.CreateOrderRequest(
            client_order_id=f"{run}-{next(numbers)}", symbol=symbol, side=1, type=2, quantity="1", price=price,
            time_in_force=2,
        )  # fmt: skip
        await create_order(request, metadata=next(users), timeout=30)

    return create


class Fills:
    """Latencies from the venue's stamp of a trade to the streams of the order's user, in ms."""

    def __init__(self, edge: str, symbol: str) -> None:
        self._edge, self._symbol = edge, symbol
        self._ready: asyncio.Queue[None] = asyncio.Queue()
        self._latencies: list[float] = []

    async def run(self, tokens: Sequence[str], seconds: float) -> tuple[list[float], int]:
        """Have market orders of these users filled; (latencies, how many orders there were)."""
        tasks = [asyncio.create_task(self._watch(token)) for token in tokens for _ in range(STREAMS_OF_USER)]
        for _ in tasks:
            await asyncio.wait_for(self._ready.get(), 30)
        numbers, users = itertools.count(), itertools.cycle(tokens)
        async with grpc.aio.insecure_channel(self._edge) as channel:
            stub = OrderServiceStub(channel)

            async def create() -> None:
                request = pb.CreateOrderRequest(
                    client_order_id=f"fill-{next(numbers)}", symbol=self._symbol, side=1, type=1, quantity="1"
                )
                metadata = (("authorization", f"Bearer {next(users)}"),)
                with suppress(grpc.aio.AioRpcError):  # its fill is missed below
                    await stub.CreateOrder(request, metadata=metadata, timeout=30)

            sent = len(await open_loop(create, FILL_RATE, seconds))
        end = time.perf_counter() + LAST_FILLS_S
        while len(self._latencies) < sent * STREAMS_OF_USER and time.perf_counter() < end:
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        failed = [one for one in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(one, Exception)]
        if failed:
            raise failed[0]
        return self._latencies, sent

    async def _watch(self, token: str) -> None:
        # A connection of its own, as each client has.
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(self._edge, options) as channel:
            metadata = (("authorization", f"Bearer {token}"),)
            async for update in OrderServiceStub(channel).StreamOrders(pb.StreamOrdersRequest(), metadata=metadata):
                now_ns = time.time_ns()
                if update.WhichOneof("event") == "snapshot_complete":
                    self._ready.put_nowait(None)
                elif update.WhichOneof("event") == "trade":
                    self._latencies.append((now_ns - update.trade.time.ToNanoseconds()) / 1e6)


async def new_traders(session: aiohttp.ClientSession, edge: str, count: int) -> tuple[list[str], str, str]:
    """(tokens, symbol, a price far from the market) of new users, each with an account."""
    tokens = []
    for _ in range(count):
        token, symbol, price = await trader(session, edge)
        headers = {"authorization": f"Bearer {token}"}
        accounts: list[Any] = []
        while not accounts:
            async with session.get(f"http://{edge}/api/trading/accounts", headers=headers) as answer:
                accounts = (await answer.json()).get("accounts", [])
        tokens.append(token)
    return tokens, symbol, price


async def measure_peer(peer: Peer, servers: Meter, options: argparse.Namespace) -> Subject:
    """The peer's table."""
    platform = Meter(peer.processes)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=max(IN_FLIGHT))) as session:
        orders = rest_orders(session, peer.url, peer.users(USERS), LIMIT_ORDER)
        subject = Subject("peer by REST", orders, platform, servers)
        await show_rest("peer", platform, servers)
        await subject.measure(options)
    return subject


async def measure_redfire(running: Running, servers: Meter, options: argparse.Namespace) -> list[Subject]:
    """RedFire's tables, and the way of fills."""
    edge, trading = running.addresses["edge"], running.addresses["services"]["trading"]
    assert running.process is not None
    platform = Meter([psutil.Process(running.process.pid)])
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=max(IN_FLIGHT))) as session,
        grpc.aio.insecure_channel(trading) as channel,
    ):
        tokens, symbol, price = await new_traders(session, edge, USERS)
        body = {**LIMIT_ORDER, "symbol": symbol, "price": price}
        subjects = [
            Subject("RedFire by REST", rest_orders(session, f"http://{edge}", tokens, body), platform, servers),
            Subject("RedFire by gRPC", grpc_orders(channel, tokens, symbol, price), platform, servers),
        ]
        await show_rest("RedFire", platform, servers)
        for subject in subjects:
            await subject.measure(options)
        traders = (await new_traders(session, edge, FILL_USERS))[0]
    latencies, sent = await Fills(edge, symbol).run(traders, options.seconds)
    p50, p95, p99 = percentiles(latencies)
    print(
        f"\nfill at the venue to {STREAMS_OF_USER} streams of its user, {FILL_RATE:g} fills/s, {FILL_USERS} users:"
        f" p50 {p50:.2f}  p95 {p95:.2f}  p99 {p99:.2f} ms (target: p99 ≤ 10)"
        f"   {len(latencies)} of {sent * STREAMS_OF_USER} came",
        flush=True,
    )
    return subjects


async def show_rest(name: str, platform: Meter, servers: Meter) -> None:
    """Measure and print what is taken without orders."""
    await asyncio.sleep(2)  # for what a start leaves to do
    shares = await asyncio.gather(platform.rest(3), servers.rest(3))
    print(f"\n{name} without orders: {shares[0]:.0%} of a core, the servers {shares[1]:.0%}\n{HEADER}", flush=True)


@contextmanager
def redfire(postgres: LocalServer, redis: LocalServer, rabbitmq: LocalServer) -> Iterator[Running]:
    """`redfire up --processes` on these servers."""
    variables = {
        **ENVIRONMENT,
        "REDFIRE_DATABASE__URL": postgres.url(),
        "REDFIRE_REDIS__URL": redis.url,
        "REDFIRE_EVENTS__URL": rabbitmq.url,
    }
    with tempfile.TemporaryDirectory(prefix="redfire-bench-") as folder:
        running = Running("--processes", "--feed", "sim", data_dir=Path(folder) / "data", env=variables)
        try:
            yield running.start(START_S)
        finally:
            running.stop(60)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="how long each loop runs (default 5)")
    options = parser.parse_args()
    with ExitStack() as stack:
        servers = LocalPostgres(), LocalRedis(), LocalRabbitMq()
        for server in servers:
            stack.callback(server.close)
        postgres, redis, rabbitmq = servers
        meter = Meter([psutil.Process(server.running.pid) for server in servers])
        peer = Peer(postgres, rabbitmq.url)
        try:
            peer.start()
            beside = uvloop.run(measure_peer(peer, meter, options))
        finally:
            peer.stop()
        running = stack.enter_context(redfire(postgres, redis, rabbitmq))
        subjects = uvloop.run(measure_redfire(running, meter, options))
    print()
    for subject in subjects:
        ratios = "  ".join(f"{subject.rates[n] / beside.rates[n]:.2f} × at {n} in flight" for n in IN_FLIGHT)
        print(f"{subject.name} against the peer, orders/s: {ratios} (target: 2.5 ×)", flush=True)


if __name__ == "__main__":
    main()
