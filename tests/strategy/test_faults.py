"""A strategy outlives faults of the platform: only its own code, its owner and its starter end it."""

import grpc
import pytest
from redfire.reasons import Reason
from redfire.strategy.v1 import strategy_pb2 as pb

from services.kernel.errors import DeadlineExceeded, Internal, ResourceExhausted, Unauthenticated, Unavailable
from services.kernel.identifiers import new_id
from tests.chaos.proxy import TcpProxy
from tests.harness import platform
from tests.postgres import shared_server
from tests.strategy.conftest import StrategyClient
from tests.strategy.user_files import GOOD
from tests.strategy.worker_processes import ticks_until, workers
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WAIT_S = 90
FAILING = """
from services.strategy import BaseStrategy, Tick


class Failing(BaseStrategy):
    bar_seconds = 0

    async def on_tick(self, tick: Tick) -> None:
        raise ValueError("its own fault")
"""
PASSING = [
    Unavailable("auth does not answer"),
    DeadlineExceeded(),
    ResourceExhausted(retry_after_s=0.1),
    Unauthenticated("not a service's token"),
    Internal(),
]


@pytest.fixture
async def away(world, strategies_dir, tmp_path):
    """A strategy service on PostgreSQL that can be cut off, and its database's proxy."""
    (strategies_dir / "good.py").write_text(GOOD)
    (strategies_dir / "failing.py").write_text(FAILING)
    server = shared_server()
    proxy = TcpProxy(lambda: ("127.0.0.1", server.port))
    url = server.url(f"s{new_id().replace('-', '')[-12:]}_{{name}}_db").replace(f":{server.port}/", f":{proxy.port}/")
    settings = {"strategy": {"strategies_dir": strategies_dir}, "database": {"url": url}}
    try:
        async with platform("strategy", settings=settings, fakes=world.fakes(), data_dir=tmp_path / "data") as p:
            p.mint = world.auth.mint
            client = StrategyClient(world, p.identity())

            async def known():
                return (await client.stub.ListStrategyClasses(pb.ListStrategyClassesRequest(), timeout=15)).classes

            await until(known, WAIT_S)
            yield p, client, proxy
    finally:
        proxy.close()


@pytest.fixture
async def good(serve, client_of, strategies_dir):
    """A client of a strategy service that has a good class."""
    (strategies_dir / "good.py").write_text(GOOD)
    async with serve() as p:
        yield client_of(p)


def _cut(proxy):
    proxy.refuses = True
    proxy.cut()


async def _status(client, strategy_id, wanted):
    async def reached():
        try:
            return (await client.get(strategy_id)).status == wanted
        except grpc.aio.AioRpcError:
            return False

    await until(reached, WAIT_S)


async def test_a_strategy_that_fails_while_the_database_is_away_has_failed_when_it_is_back(away, world):
    p, client, proxy = away
    strategy_id = await client.run("Failing")
    (worker,) = workers(p)
    _cut(proxy)
    for _ in range(3):
        world.market.push(5000)
    # It is away for longer than a worker's report is waited for.
    await until(lambda: not world.market.streams, WAIT_S)
    with pytest.raises(grpc.aio.AioRpcError):
        await client.stub.ListStrategies(pb.ListStrategiesRequest(), timeout=6)
    proxy.refuses = False
    await _status(client, strategy_id, pb.STRATEGY_STATUS_ERROR)
    assert "its own fault" in (await client.get(strategy_id)).error
    assert worker not in workers(p) or not world.market.streams
    await client.start(strategy_id)
    await client.until_status(strategy_id, "RUNNING", WAIT_S)


async def test_a_start_that_the_database_did_not_take_can_be_asked_for_again(away, world):
    _, client, proxy = away
    made = await client.create("Counter")
    _cut(proxy)
    with pytest.raises(grpc.aio.AioRpcError):
        await client.start(made.strategy_id)
    proxy.refuses = False

    async def started():
        try:
            return await client.start(made.strategy_id)
        except grpc.aio.AioRpcError:
            return None

    await until(started, WAIT_S)
    await _status(client, made.strategy_id, pb.STRATEGY_STATUS_RUNNING)
    await ticks_until(world, lambda: world.trading_state.trades, WAIT_S)


async def test_faults_of_auth_end_no_strategy(good, world):
    made = await good.create("Counter")
    world.auth.failures = list(PASSING)
    await good.start(made.strategy_id)
    await good.until_status(made.strategy_id, "RUNNING", WAIT_S)
    assert not world.auth.failures


async def test_tokens_are_renewed_after_faults_of_auth(good, world):
    world.auth.life_s = 4
    strategy_id = await good.run("Counter")
    world.auth.failures = list(PASSING)
    exchanged = world.auth.exchanged
    await until(lambda: not world.auth.failures and world.auth.exchanged > exchanged, WAIT_S)
    assert (await good.get(strategy_id)).status == pb.STRATEGY_STATUS_RUNNING


async def test_a_session_that_has_ended_ends_the_strategy(good, world):
    made = await good.create("Counter")
    world.auth.failures = [Unauthenticated("the session was ended", reason=Reason.SESSION_REVOKED)]
    await good.start(made.strategy_id)
    await _status(good, made.strategy_id, pb.STRATEGY_STATUS_ERROR)
    assert "the session was ended" in (await good.get(made.strategy_id)).error


async def test_a_strategy_that_begins_while_market_is_restarted_waits_for_its_history(good, world):
    made = await good.create("DoubleMaStrategy")
    world.market.failures = [Unavailable("restarting"), DeadlineExceeded(), ResourceExhausted(), Unavailable("again")]
    await good.start(made.strategy_id)
    await good.until_status(made.strategy_id, "RUNNING", WAIT_S)
    assert not world.market.failures
