"""Takeover: the time in which a user's orders are acknowledged again after the process that takes them has gone.

    .venv/bin/python -m tests.bench.takeover [--repetitions 10] [--rate 20] [--only engine-kill]

Starts PostgreSQL, Redis and RabbitMQ in temporary folders, and `redfire up --processes --replicas 2` on them. A user
creates limits far from the market by REST through Envoy, one after the other; what leaves the outcome open is asked
again with the same key, soon. Other users do the same at a steady rate. Then, so many times each:

- the replica of trading that owns the user's shard is killed (kill -9),
- that replica is stopped in order (SIGTERM),
- the engine is killed, and stopped in order.

Printed are the median and the maximum of the time from the signal to the acknowledgement of the first order that the
user asked for after it, and of the longest time without an acknowledgement until all is whole again: a replica that
stops in order goes on serving for a while. For the engine, which has no replica, also the time until another process
serves in its place, for that is most of it. A time in which this program itself was held up says little, and is taken
once more. Prints figures, asserts nothing.
"""

import argparse
import asyncio
import itertools
import os
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import aiohttp
import grpc
import psutil
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.production.postgres import LocalPostgres
from deploy.production.rabbitmq import LocalRabbitMq
from deploy.production.redis import LocalRedis
from services.kernel.shards.ownership import shard_of
from tests.bench.order_path import ENVIRONMENT
from tests.bench.peer.running import LIMIT_ORDER
from tests.bench.processes import new_traders
from tests.e2e.processes import Processes

START_S = 600.0
PATIENCE_S = 600.0
"""The machine may be busy with others."""
OTHERS = 8
"""Other users, whose orders come at the rate of the load."""
PAUSE_S = 0.01
"""Between the user's orders, and before an order is asked for again."""
SETTLED_S = 2.0
"""Time of orders before each signal and after all is whole."""
LOOK_S = 0.05
CALL_S = 10.0
HELD_UP_S = 0.25
OWNER = "SELECT address FROM shard_leases WHERE shard = {shard} AND owner <> '' AND expires_at > now()"


@dataclass
class Orders:
    """One user's orders, one after the other, and the times of their acknowledgements."""

    session: aiohttp.ClientSession
    url: str
    token: str
    body: dict[str, str]
    acknowledged: list[tuple[float, float]] = field(default_factory=list)
    """(asked for the last time at, answered at) of each order."""
    answers: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Answers other than an acknowledgement, by status and reason."""

    async def run(self) -> None:
        """Create orders until cancelled."""
        run, numbers = uuid.uuid4().hex[:8], itertools.count()
        for number in numbers:
            key, first_asked = f"{run}-{number}", time.monotonic()
            while not await self._create(key):
                await asyncio.sleep(PAUSE_S)
            self.acknowledged.append((first_asked, time.monotonic()))
            await asyncio.sleep(PAUSE_S)

    async def cancel_all(self) -> None:
        """Leave no order open, so that shards are as large for each repetition."""
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self._post("/api/trading/orders:cancelAll", {}) as answer:
                await answer.read()

    async def _create(self, key: str) -> bool:
        try:
            async with self._post("/api/trading/orders", {"clientOrderId": key, **self.body}) as answer:
                document = await answer.json()
                if answer.status == 200:
                    return True
                reasons = [detail["reason"] for detail in document.get("details", []) if "reason" in detail]
                self.answers[f"{answer.status} {' '.join(reasons)}"] += 1
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self.answers[type(error).__name__] += 1
        return False

    def _post(self, path: str, body: dict[str, str]) -> "aiohttp.client._RequestContextManager":
        headers, timeout = {"authorization": f"Bearer {self.token}"}, aiohttp.ClientTimeout(total=CALL_S)
        return self.session.post(self.url + path, json=body, headers=headers, timeout=timeout)

    async def first_since(self, moment: float) -> float:
        """Time from a moment to the acknowledgement of the first order that was asked for after it."""
        while self.acknowledged[-1][1] < moment or self.acknowledged[-1][0] < moment:
            await asyncio.sleep(PAUSE_S)
        return next(answered for asked, answered in self.acknowledged if asked >= moment) - moment

    def longest_gap(self, since: float) -> float:
        """The longest time between two acknowledgements, from the last one before a moment on."""
        times = [answered for _, answered in self.acknowledged]
        first = max((at for at, answered in enumerate(times) if answered <= since), default=0)
        return max(later - earlier for earlier, later in pairwise(times[first:]))


class Bench:
    """The platform, its databases and the user."""

    def __init__(self, running: Processes, postgres: LocalPostgres, orders: Orders, user_id: str) -> None:
        self._running = running
        self._postgres = postgres
        self._orders = orders
        self._shard = shard_of(user_id)
        self._late_s = 0.0
        """The longest time by which this program's own loop was late."""

    async def watch(self) -> None:
        """Notice that this program is held up, until cancelled."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(LOOK_S)
            self._late_s = max(self._late_s, time.monotonic() - began - LOOK_S)

    async def repeat(self, name: str, number: int, victim: Callable[[], int], sent: signal.Signals) -> None:
        """Signal a process so many times; print a line of each figure."""
        figures: dict[str, list[float]] = defaultdict(list)
        self._orders.answers.clear()
        again = taken = 0
        while taken < number:
            await self._orders.cancel_all()
            await self._whole()
            await asyncio.sleep(SETTLED_S)
            pid = await asyncio.to_thread(victim)
            self._late_s, times = 0.0, {}
            ended = asyncio.create_task(_ended(pid))
            began = time.monotonic()
            psutil.Process(pid).send_signal(sent)
            replaced = asyncio.create_task(self._engine_serves(ended)) if name.startswith("engine") else None
            times["to the next acknowledged order"] = await self._orders.first_since(began)
            times["the process has ended"] = await ended - began
            if replaced is not None:
                times["another serves in its place"] = await replaced - began
            await self._whole()
            await asyncio.sleep(SETTLED_S)
            times["longest time without one"] = self._orders.longest_gap(began)
            print(name, {key: round(value, 2) for key, value in times.items()}, file=sys.stderr, flush=True)
            if self._late_s > HELD_UP_S and again < number:
                again += 1
                continue
            taken += 1
            for figure, value in times.items():
                figures[figure].append(value)
        for figure, values in figures.items():
            columns = f"{len(values):6d}{statistics.median(values):9.2f}{max(values):9.2f}"
            print(f"{name:18s}{figure:34s}{columns}   {' '.join(f'{value:.2f}' for value in values)}", flush=True)
        load = f"load {os.getloadavg()[0]:.1f}, {again} times taken once more"
        print(f"{'':18s}{load}; other answers: {dict(self._orders.answers)}", flush=True)

    def owner(self) -> int:
        """The process that owns the user's shard."""
        address = self._postgres.sql(OWNER.format(shard=self._shard), "trading_db")
        return self._running.pids()["trading"][self._running.addresses_of("trading").index(address)]

    def engine(self) -> int:
        """The engine's process."""
        return self._running.pids()["engine"][0]

    async def _whole(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while not await asyncio.to_thread(self._is_whole):
            if time.monotonic() > end:
                raise TimeoutError(f"not whole after {PATIENCE_S:g} s: {self._running.data_dir}")
            await asyncio.sleep(LOOK_S)

    def _is_whole(self) -> bool:
        pids = self._running.pids()
        if len(pids["trading"]) < 2 or not pids["engine"]:
            return False
        with suppress(Exception):
            return self._running.is_whole()
        return False

    async def _engine_serves(self, ended: "asyncio.Task[float]") -> float:
        """The moment at which another process serves, after this one has ended."""
        await ended
        address = self._running.addresses_of("engine")[0]
        async with grpc.aio.insecure_channel(address, [("grpc.max_reconnect_backoff_ms", 50)]) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            while True:
                with suppress(grpc.aio.AioRpcError):
                    answer = await stub.Check(health_pb2.HealthCheckRequest(service="engine"), timeout=1)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return time.monotonic()
                await asyncio.sleep(LOOK_S)


async def _ended(pid: int) -> float:
    """The moment at which a process has ended."""
    process = psutil.Process(pid)
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(LOOK_S / 5)
    return time.monotonic()


@asynccontextmanager
async def _load(all_orders: list[Orders], rate: float) -> AsyncIterator[None]:
    """Other users' orders at a rate; those that fail are not asked again."""

    async def steadily() -> None:
        running: set[asyncio.Task[bool]] = set()
        for number in itertools.count():
            task = asyncio.ensure_future(all_orders[number % len(all_orders)]._create(uuid.uuid4().hex))
            running.add(task)
            task.add_done_callback(running.discard)
            await asyncio.sleep(1 / rate)

    task = asyncio.create_task(steadily()) if rate else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()


async def measure(running: Processes, postgres: LocalPostgres, options: argparse.Namespace) -> None:
    """Print the table."""
    edge = running.addresses["edge"]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        (token, *tokens), symbol, price = await new_traders(session, edge, 1 + OTHERS)
        async with session.get(f"http://{edge}/api/users/me", headers={"authorization": f"Bearer {token}"}) as answer:
            user_id = (await answer.json())["user"]["userId"]
        body = {**LIMIT_ORDER, "symbol": symbol, "price": price}
        orders = Orders(session, f"http://{edge}", token, body)
        bench = Bench(running, postgres, orders, user_id)
        tasks = [asyncio.create_task(orders.run()), asyncio.create_task(bench.watch())]
        print(f"{options.rate:g} orders/s of {OTHERS} others beside; seconds")
        print(f"{'':18s}{'':34s}{'times':>6s}{'median':>9s}{'maximum':>9s}", flush=True)
        cases = {
            "trading-kill": (bench.owner, signal.SIGKILL),
            "trading-stop": (bench.owner, signal.SIGTERM),
            "engine-kill": (bench.engine, signal.SIGKILL),
            "engine-stop": (bench.engine, signal.SIGTERM),
        }
        async with _load([Orders(session, f"http://{edge}", other, body) for other in tokens], options.rate):
            for name, (victim, sent) in cases.items():
                if options.only in (None, name):
                    await bench.repeat(name, options.repetitions, victim, sent)
        for task in tasks:
            task.cancel()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=10, help="of each (default 10)")
    parser.add_argument("--rate", type=float, default=20, help="orders a second of other users (default 20)")
    parser.add_argument("--only", choices=("trading-kill", "trading-stop", "engine-kill", "engine-stop"))
    options = parser.parse_args()
    with ExitStack() as stack:
        servers = LocalPostgres(), LocalRedis(), LocalRabbitMq()
        for server in servers:
            stack.callback(server.close)
        postgres, redis, rabbitmq = servers
        variables = {
            **ENVIRONMENT,
            "REDFIRE_DATABASE__URL": postgres.url(),
            "REDFIRE_REDIS__URL": redis.url,
            "REDFIRE_EVENTS__URL": rabbitmq.url,
        }
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redfire-bench-")))
        flags = ("--processes", "--replicas", "2", "--feed", "sim:7")
        running = Processes(*flags, data_dir=folder / "data", env=variables)
        try:
            running.start(START_S)
            uvloop.run(measure(running, postgres, options))
        finally:
            if running.process is not None:
                running.stop(60)


if __name__ == "__main__":
    main()
