"""The outbox of a service with several replicas: one publishes at a time, woken by all; another goes on after it."""

import asyncio
import itertools
import os
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.kernel.events import outbox as outbox_module
from tests.kernel.events.relays import Base, Broker, Replica
from tests.postgres import opened
from tests.waiting import until

pytestmark = pytest.mark.slow
LONG_S = 60.0
_names = itertools.count(1)


@pytest.fixture
def url(postgres):
    return postgres.url(f"relay{next(_names)}")


@pytest.fixture
async def replicas(url):
    """Two replicas and their broker."""
    broker = Broker()
    async with AsyncExitStack() as stack:
        made = [
            Replica(f"replica{number}", await stack.enter_async_context(opened(url, Base)), broker)
            for number in range(2)
        ]
        yield made
        for replica in made:
            await replica.stop()


async def _sides(replicas):
    """The replica that publishes, and the other."""
    first = (await until(lambda: [one for one in replicas if one.publishes], LONG_S))[0]
    return first, next(one for one in replicas if one is not first)


async def _empty(replica):
    return not await replica.rows()


async def test_one_publishes_what_both_write_each_event_once_and_each_users_in_order(replicas, monkeypatch):
    # Who did not have the lease would find it all, too.
    monkeypatch.setattr(outbox_module, "LOOK_S", 0.005)
    broker, users = replicas[0].line.broker, [f"user {number}" for number in range(4)]
    for number in range(100):
        await asyncio.gather(
            *(replica.add(*((f"{user} of {replica.name}", str(number)) for user in users)) for replica in replicas)
        )
    await until(lambda: _empty(replicas[0]), LONG_S)
    assert len(broker.published) == 800 and len(broker.publishers()) == 1
    for replica, user in itertools.product(replicas, users):
        assert broker.names(f"{user} of {replica.name}") == [str(number) for number in range(100)]


async def test_a_commit_at_another_replica_wakes_the_one_that_publishes(replicas, monkeypatch):
    # Nothing is found by looking.
    monkeypatch.setattr(outbox_module, "LOOK_S", 3600)
    first, second = await _sides(replicas)
    for number in range(20):
        await second.add(("alice", str(number)))
        await until(lambda number=number: first.line.broker.names("alice")[-1:] == [str(number)], LONG_S)
    assert first.line.broker.publishers() == {first.name}


async def test_another_publishes_at_once_when_the_one_that_did_stops(replicas, monkeypatch):
    monkeypatch.setattr(outbox_module, "LOOK_S", 3600)
    first, second = await _sides(replicas)
    await first.add(("alice", "a"))
    await until(lambda: first.line.broker.names() == ["a"], LONG_S)
    await first.stop()
    await second.add(("alice", "b"))
    await until(lambda: second.line.broker.names() == ["a", "b"], LONG_S)


async def test_a_replica_that_cannot_reach_the_broker_leaves_publishing_to_the_other(replicas, monkeypatch):
    monkeypatch.setattr(outbox_module, "GIVE_UP_S", 0.1)
    first, second = await _sides(replicas)
    first.line.is_down = True
    await first.add(("alice", "a"), ("alice", "b"))
    await until(lambda: first.line.broker.names() == ["a", "b"], LONG_S)
    assert first.line.broker.publishers() == {second.name}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_what_a_replica_left_that_died_or_stands_still_is_published_by_another(url, how):
    root = Path(__file__).parents[3]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.kernel.events.relays", url,
        stdout=asyncio.subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": f"{root}:{root}/gen/python"},
    )  # fmt: skip
    broker = Broker()
    try:
        assert await process.stdout.readline() == b"holds\n"
        async with opened(url, Base) as database:
            replica = Replica("heir", database, broker)
            await replica.add(("alice", "a"), ("alice", "b"))
            process.send_signal(how)
            ended = time.monotonic()
            await until(lambda: broker.names() == ["a", "b"], LONG_S)
            print(f"published {time.monotonic() - ended:.2f} s after {how.name}")
            await replica.stop()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
