"""Two replicas of strategy on PostgreSQL: either serves any user, and one alone runs a user's strategies."""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from redfire.strategy.v1 import strategy_pb2 as pb
from sqlalchemy import text

from services.kernel.identifiers import new_id
from services.kernel.shards.ownership import ALL_SHARDS, shard_of
from services.strategy.jobs.execution.process import JobProcess, ProcessExit
from tests.harness import platform
from tests.postgres import shared_server
from tests.strategy.conftest import StrategyClient
from tests.strategy.jobs.backtests import STRATEGIES, BacktestClient, store_bars
from tests.strategy.user_files import GOOD
from tests.strategy.worker_processes import ticks_until, workers
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WAIT_S = 90

HOSTING = """
import asyncio, sys
from redfire.strategy.v1 import strategy_pb2 as pb
from tests.harness import platform
from tests.strategy.conftest import StrategyClient
from tests.strategy.fakes import FakePlatform
from tests.strategy.worker_processes import workers
from tests.waiting import until

async def main():
    world = FakePlatform()
    settings = {"strategy": {"strategies_dir": sys.argv[1]}, "database": {"url": sys.argv[2]}}
    async with platform("strategy", settings=settings, fakes=world.fakes()) as p:
        p.mint = world.auth.mint
        client = StrategyClient(world, p.identity())
        while not (await client.stub.ListStrategyClasses(pb.ListStrategyClassesRequest(), timeout=30)).classes:
            await asyncio.sleep(0.1)
        strategy_id = await client.run("Counter")
        ended = set(workers(p))
        print(strategy_id, *ended, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        # Its status is RUNNING until the service has noticed that its leases and workers are gone.
        await until(lambda: set(workers(p)) - ended, 90)
        await client.until_status(strategy_id, "RUNNING", 90)
        print(*workers(p), flush=True)

asyncio.run(main())
"""


def _url() -> str:
    return shared_server().url(f"s{new_id().replace('-', '')[-12:]}_{{name}}_db")


class Replicas:
    """Replicas that share a database and the fake peers."""

    def __init__(self, stack, world, strategies_dir, data_dir):
        self.world, self._stack, self._strategies_dir, self._url = world, stack, strategies_dir, _url()
        self.data_dir = data_dir

    @asynccontextmanager
    async def replica(self, **limits):
        settings = {"strategy": {"strategies_dir": self._strategies_dir, **limits}, "database": {"url": self._url}}
        fakes, mint = self.world.fakes(), self.world.auth.mint
        async with platform("strategy", settings=settings, fakes=fakes, mint=mint, data_dir=self.data_dir) as running:
            yield running

    async def start(self, **limits):
        return await self._stack.enter_async_context(self.replica(**limits))

    async def two(self, **limits):
        """Two replicas that share the users."""
        one, other = await self.start(**limits), await self.start(**limits)
        await _shared(one, other)
        return one, other

    def client(self, running, user_id):
        return StrategyClient(self.world, running.identity(user_id=user_id))


@pytest.fixture
async def replicas(world, strategies_dir, tmp_path):
    (strategies_dir / "good.py").write_text(GOOD)
    async with AsyncExitStack() as stack:
        yield Replicas(stack, world, strategies_dir, tmp_path / "data")


def owned(running):
    return set(running.host.resources.shards("strategy").owned())


async def _shared(one, other):
    def is_shared():
        return len(owned(one)) == len(owned(other)) == len(ALL_SHARDS) // 2 and not owned(one) & owned(other)

    await until(is_shared, WAIT_S)


def user_of(running) -> str:
    return next(user for user in iter(new_id, "") if shard_of(user) in owned(running))


async def _classes_known(client) -> None:
    async def known():
        request = pb.ListStrategyClassesRequest()
        return (await client.stub.ListStrategyClasses(request, timeout=15)).classes

    await until(known, WAIT_S)


async def _run(client) -> str:
    await _classes_known(client)
    made = await client.create("Counter")
    await client.start(made.strategy_id)
    await client.until_status(made.strategy_id, "RUNNING", WAIT_S)
    return made.strategy_id


async def test_either_replica_serves_any_user_and_the_other_goes_on_with_strategies_of_one_that_stops(replicas, world):
    async with AsyncExitStack() as first:
        one = await first.enter_async_context(replicas.replica())
        other = await replicas.start()
        await _shared(one, other)
        user_id = user_of(one)
        mine, theirs = replicas.client(one, user_id), replicas.client(other, user_id)
        strategy_id = await _run(theirs)
        stream = theirs.stub.StreamStrategyEvents(pb.StreamStrategyEventsRequest(strategy_id=strategy_id), timeout=None)
        assert (await stream.read()).strategy.status == pb.STRATEGY_STATUS_RUNNING
        assert (await mine.get(strategy_id)).status == pb.STRATEGY_STATUS_RUNNING
        await ticks_until(world, lambda: len(world.trading_state.trades) == 1)
        assert len(world.market.streams) == 1
        before = await theirs.stub.ListStrategies(pb.ListStrategiesRequest())
        assert [item.strategy_id for item in before.strategies] == [strategy_id]
    # It left the market in order, and runs at the other one.
    await theirs.until_status(strategy_id, "RUNNING", WAIT_S)
    await until(lambda: len(world.market.streams) == 1, WAIT_S)
    ticks = (await theirs.get(strategy_id)).variables["ticks"]
    assert ticks >= 3

    async def goes_on():
        return (await theirs.get(strategy_id)).variables["ticks"] > ticks

    await ticks_until(world, goes_on, WAIT_S)
    await theirs.stop(strategy_id)
    assert (await theirs.until_status(strategy_id, "STOPPED", WAIT_S)).position == "1"
    assert len(world.trading_state.trades) == 1


async def test_so_many_strategies_run_as_the_platform_may_whichever_replicas_run_them(replicas):
    one, other = await replicas.two(max_running=2)
    clients = [replicas.client(running, user_of(running)) for running in (one, one, other, other)]
    await _classes_known(clients[0])
    await _classes_known(clients[2])
    ids = [(await client.create("Counter")).strategy_id for client in clients]
    answers = await asyncio.gather(
        *(client.start(strategy_id) for client, strategy_id in zip(clients, ids, strict=True)), return_exceptions=True
    )
    refused = [number for number, answer in enumerate(answers) if isinstance(answer, grpc.aio.AioRpcError)]
    assert len(refused) == 2
    for number in refused:
        assert answers[number].code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await clients[number].get(ids[number])).status == pb.STRATEGY_STATUS_CREATED
    began = next(number for number in range(4) if number not in refused)
    await clients[began].stop(ids[began])
    await clients[refused[0]].start(ids[refused[0]])
    await clients[refused[0]].until_status(ids[refused[0]], "RUNNING", WAIT_S)


class Programme:
    """Stands in for the processes of backtests: notes how many run at once, whichever replicas' they are."""

    def __init__(self):
        self.running = 0
        self.seen = []

    async def run(self, _):
        self.running += 1
        self.seen.append(self.running)
        try:
            # Long enough for others to begin, where they may.
            for _ in range(100):
                if self.running > 2:
                    break
                await asyncio.sleep(0.01)
        finally:
            self.running -= 1
        return ProcessExit()


async def test_so_many_backtests_run_as_the_platform_may_whichever_replicas_run_them(
    replicas, strategies_dir, monkeypatch
):
    programme = Programme()
    monkeypatch.setattr(JobProcess, "run", lambda _, further: programme.run(further))
    (strategies_dir / "mine.py").write_text(STRATEGIES)
    store_bars(replicas.data_dir)
    one, other = await replicas.two(max_backtests=2)
    clients = [BacktestClient(running.identity(user_id=user_of(running))) for running in (one, other)]
    for client, running in zip(clients, (one, other), strict=True):
        await _classes_known(replicas.client(running, client.user.user_id))
    asked = [(client, await client.create("Trader")) for _ in range(6) for client in clients]
    for client, job in asked:
        await client.ended(job.backtest_id, WAIT_S)
    assert len(programme.seen) == len(asked) and max(programme.seen) <= 2


async def test_a_strategy_moves_to_a_replica_that_comes_and_no_two_workers_run_it(replicas, world):
    one = await replicas.start()
    clients = [replicas.client(one, user_of(one)) for _ in range(4)]
    ids = [await _run(client) for client in clients]
    seen = []
    watching = asyncio.create_task(_watch(world, seen))
    other = await replicas.start()
    await _shared(one, other)
    for client, strategy_id in zip(clients, ids, strict=True):
        await client.until_status(strategy_id, "RUNNING", WAIT_S)
    await until(lambda: len(world.market.streams) == len(ids), WAIT_S)
    watching.cancel()
    assert max(seen) == len(ids), "each is run once"
    # One of each owner, wherever it is: those whose owners moved end.
    await until(lambda: len(workers(one)) == len(ids), WAIT_S)


async def _watch(world, seen) -> None:
    while True:
        seen.append(len(world.market.streams))
        await asyncio.sleep(0.01)


async def test_a_replica_whose_leases_are_another_s_ends_its_workers(replicas, world):
    one = await replicas.start()
    client = replicas.client(one, user_of(one))
    strategy_id = await _run(client)
    pids = workers(one)
    async with one.host.resources.database("strategy", None).repositories(lambda session: session)() as session:
        await session.execute(
            text("UPDATE shard_leases SET owner = 'x', epoch = epoch + 1, address = '127.0.0.1:1', "
                 "expires_at = now() + interval '3 s'")
        )  # fmt: skip
    await until(lambda: not set(pids) & set(workers(one)), WAIT_S)
    # Nobody renews these leases; then they are its own again.
    await until(lambda: len(owned(one)) == len(ALL_SHARDS), WAIT_S)
    await client.until_status(strategy_id, "RUNNING", WAIT_S)


async def test_workers_of_a_service_that_stands_still_end_by_themselves(strategies_dir):
    (strategies_dir / "good.py").write_text(GOOD)
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOSTING, str(strategies_dir), _url(),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert host.stdout and host.stdin
        _, *pids = (await asyncio.wait_for(host.stdout.readline(), WAIT_S)).decode().split()
        os.kill(host.pid, signal.SIGSTOP)
        await until(lambda: not any(_runs(int(pid)) for pid in pids), WAIT_S)
        os.kill(host.pid, signal.SIGCONT)
        host.stdin.write(b"\n")
        later = (await asyncio.wait_for(host.stdout.readline(), WAIT_S)).decode().split()
        assert later and not set(later) & set(pids)
    finally:
        os.kill(host.pid, signal.SIGKILL)
        await host.wait()


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
