"""Replicas that share shards on a real PostgreSQL: who owns what when they come, go, die, and lose their database."""

import asyncio
import itertools
import random
from collections import Counter

import pytest

from services.kernel.data.backend import PostgresOptions
from services.kernel.shards import lease_table, leased_ownership
from services.kernel.shards.leased_ownership import AT_ONCE
from services.kernel.shards.ownership import SHARDS
from tests.kernel.data.line import Line
from tests.kernel.shards.replicas import Base, Replica, epochs_written, is_shared, owners
from tests.postgres import ROLE, opened
from tests.waiting import until

pytestmark = pytest.mark.slow
LONG_S = 60.0
_names = itertools.count(1)


class Listener:
    """Stands in for what a process listens on, and all that is connected to it."""

    def __init__(self) -> None:
        self.address = ""
        self._connected: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> "Listener":
        self._server = await asyncio.start_server(lambda _, writer: self._connected.append(writer), "127.0.0.1", 0)
        self.address = "127.0.0.1:{1}".format(*self._server.sockets[0].getsockname())
        return self

    def close(self) -> None:
        """End as a process does that is killed."""
        self._server.close()
        for writer in self._connected:
            writer.transport.abort()


class Cluster:
    """Replicas of one database, each with a line of its own to it."""

    def __init__(self, postgres) -> None:
        self._port = postgres.port
        self.name = f"shards{next(_names)}"
        self.replicas: list[Replica] = []
        self.lines: dict[str, Line] = {}
        self.listeners: dict[str, Listener] = {}
        self._contexts = []

    async def add(self, load_fails: bool = False, listens: bool = False, waits_out: bool = False) -> Replica:
        line = Line(self._port)
        self._contexts.append(line)
        await line.__aenter__()
        url = f"postgresql+asyncpg://{ROLE}@127.0.0.1:{line.port}/{self.name}"
        context = opened(url, Base, options=PostgresOptions(connect_timeout_s=2))
        self._contexts.append(context)
        name, address = f"replica{len(self.lines)}", ""
        if listens:
            self.listeners[name] = await Listener().start()
            address = self.listeners[name].address
        replica = Replica(name, await context.__aenter__(), address)
        if waits_out:
            replica.shards.wait_out_leases()
        replica.load_fails = load_fails
        self.lines[replica.name] = line
        self.replicas.append(replica)
        return await replica.start()

    async def kill(self, replica: Replica) -> None:
        await replica.kill()
        if replica.name in self.listeners:
            self.listeners.pop(replica.name).close()
        self.lines[replica.name].is_down = True
        self.lines[replica.name].hang_up()
        self.replicas.remove(replica)

    async def release(self, replica: Replica) -> None:
        await replica.shards.release()
        self.replicas.remove(replica)

    async def close(self) -> None:
        for replica in self.replicas:
            await replica.tasks.stop()
        for listener in self.listeners.values():
            listener.close()
        for context in reversed(self._contexts):
            await context.__aexit__(None, None, None)


@pytest.fixture
async def cluster(postgres):
    cluster = Cluster(postgres)
    yield cluster
    await cluster.close()


async def test_the_first_replica_has_all_when_it_has_started(cluster):
    first = await cluster.add()
    assert len(first.shards.owned()) == SHARDS == len(first.loaded)
    assert first.shards.owner(5) == "replica0" and first.shards.owns(5) == 1


async def test_a_replica_that_comes_gets_its_share_and_no_more_moves(cluster):
    first, second = await cluster.add(), await cluster.add()
    await until(lambda: is_shared(first, second), LONG_S)
    assert (len(first.loaded), len(second.loaded)) == (32, 32)
    third = await cluster.add()
    await until(lambda: is_shared(first, second, third), LONG_S)
    assert sum(third.loads.values()) == 21
    assert sum(first.loads.values()) == SHARDS and sum(second.loads.values()) == 32
    for replica in cluster.replicas:
        shown = Counter(replica.shards.owner(shard) for shard in range(SHARDS))
        assert sorted(shown.values()) == [21, 21, 22]


async def test_shards_are_handed_over_one_at_a_time(cluster):
    first = await cluster.add()
    second = await cluster.add()
    unserved = []
    while not is_shared(first, second):
        unserved.append(sum(not names for names in owners(cluster.replicas).values()))
        await asyncio.sleep(0)
    assert max(unserved) == 1


async def test_what_an_orderly_stop_gives_up_is_taken_at_once(cluster, monkeypatch):
    """Not when leases end, which here would take an hour."""
    monkeypatch.setattr(lease_table, "LEASE_S", 3600.0)
    first, second = await cluster.add(), await cluster.add()
    await until(lambda: is_shared(first, second), LONG_S)
    await cluster.release(first)
    assert not first.loaded and first.shards.owns(1) is None
    await until(lambda: len(second.shards.owned()) == SHARDS, LONG_S)
    assert set(second.loads.values()) == {1}


async def test_who_leaves_gives_up_some_shards_at_a_time_the_next_when_these_are_served(cluster, monkeypatch):
    monkeypatch.setattr(lease_table, "LEASE_S", 3600.0)
    monkeypatch.setattr(leased_ownership, "LEAVE_S", LONG_S)
    monkeypatch.setattr(leased_ownership, "HAND_OVER_S", LONG_S)
    first, second = await cluster.add(), await cluster.add()
    await until(lambda: is_shared(first, second), LONG_S)
    asked = []

    async def leave(shards):
        asked.append((len(shards), first.shards.begin_call(max(shards))))

    first.shards.on_leaving(leave)
    leaving = asyncio.create_task(first.shards.release())
    unserved = []
    while not leaving.done():
        unserved.append(sum(not names for names in owners(cluster.replicas).values()))
        await asyncio.sleep(0)
    await leaving
    cluster.replicas.remove(first)
    await until(lambda: len(second.shards.owned()) == SHARDS, LONG_S)
    assert max(unserved) == AT_ONCE
    assert asked[0] == (SHARDS // 2, True), "what is to be done before is done while all is still served"
    assert set(second.loads.values()) == {1}


async def test_replicas_that_all_leave_wait_for_nobody(cluster, monkeypatch):
    monkeypatch.setattr(leased_ownership, "LEAVE_S", LONG_S * 60)
    monkeypatch.setattr(leased_ownership, "HAND_OVER_S", LONG_S * 60)
    first, second = await cluster.add(), await cluster.add()
    await until(lambda: is_shared(first, second), LONG_S)
    await asyncio.gather(cluster.release(first), cluster.release(second))
    third = await cluster.add()
    assert len(third.shards.owned()) == SHARDS


async def test_what_a_process_that_ended_had_is_taken_at_once(cluster, monkeypatch):
    """Not when its leases end, which here would take an hour."""
    monkeypatch.setattr(lease_table, "LEASE_S", 3600.0)
    first, second, third = [await cluster.add(listens=True) for _ in range(3)]
    await until(lambda: is_shared(first, second, third), LONG_S)
    await cluster.kill(first)
    await until(lambda: is_shared(second, third), LONG_S)


async def test_where_leases_are_waited_out_a_process_that_ended_keeps_its_shards_so_long(cluster, monkeypatch):
    monkeypatch.setattr(lease_table, "LEASE_S", 3600.0)
    first, second = [await cluster.add(listens=True, waits_out=True) for _ in range(2)]
    await until(lambda: is_shared(first, second), LONG_S)
    await cluster.kill(first)
    until_before = second.shards.sure_until
    await until(lambda: second.shards.sure_until > until_before + 2, LONG_S)
    assert len(second.shards.owned()) == SHARDS // 2


async def test_what_a_killed_replica_had_is_shared_by_the_others(cluster):
    first, second, third = [await cluster.add() for _ in range(3)]
    await until(lambda: is_shared(first, second, third), LONG_S)
    before = dict(third.shards.owned())
    await cluster.kill(first)
    await until(lambda: is_shared(second, third), LONG_S)
    assert sum(second.loads.values()) + sum(third.loads.values()) >= SHARDS
    assert {shard: third.shards.owns(shard) for shard in before} == before


async def test_what_cannot_be_loaded_is_left_to_others(cluster):
    first, second = await cluster.add(), await cluster.add()
    await until(lambda: is_shared(first, second), LONG_S)
    third = await cluster.add(load_fails=True)
    await until(lambda: third.failed, LONG_S)
    await until(lambda: third.shards._holder.not_before and is_shared(first, second), LONG_S)
    assert not third.loaded
    third.load_fails = False
    await until(lambda: is_shared(first, second, third), LONG_S)


async def test_a_replica_without_its_database_stops_being_owner_before_another_is(cluster):
    first, second = await cluster.add(), await cluster.add()
    await until(lambda: is_shared(first, second), LONG_S)
    line = cluster.lines[first.name]
    line.is_down = True
    line.hang_up()
    while len(second.shards.owned()) < SHARDS:
        assert all(len(names) <= 1 for names in owners(cluster.replicas).values())
        await asyncio.sleep(0.001)
    assert not first.loaded
    line.is_down = False
    await until(lambda: is_shared(first, second), LONG_S)


async def test_who_is_told_the_owner_learns_of_changes_by_itself(cluster):
    first, second = await cluster.add(), await cluster.add()
    await until(lambda: is_shared(first, second), LONG_S)

    def agree():
        return all(
            [one.shards.owner(shard) for one in cluster.replicas] == names * 2
            for shard, names in owners(cluster.replicas).items()
        )

    await until(agree, LONG_S)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_no_two_replicas_own_or_write_a_shard_and_all_are_owned_soon(cluster, seed):
    """Replicas come, stop, die, are cut off for longer than a lease; each writes on what it thinks it owns."""
    chance = random.Random(seed)
    writing = {}

    async def add():
        replica = await cluster.add()
        writing[replica.name] = asyncio.create_task(replica.write_on())

    async def end(replica, how):
        await how(replica)
        writing.pop(replica.name).cancel()

    async def watch():
        while True:
            for shard, names in owners(cluster.replicas).items():
                assert len(names) <= 1, (shard, names)
            await asyncio.sleep(0.002)

    await add()
    watching = asyncio.create_task(watch())
    for _ in range(6):
        replica = chance.choice(cluster.replicas)
        line = cluster.lines[replica.name]
        match chance.choice(["add", "add", "kill", "release", "cut", "away", "pause"]):
            case "add" if len(cluster.replicas) < 4:
                await add()
            case "kill" if len(cluster.replicas) > 1:
                await end(replica, cluster.kill)
            case "release" if len(cluster.replicas) > 1:
                await end(replica, cluster.release)
            case "cut":
                line.hang_up()
            case "away":
                line.is_down = True
                line.hang_up()
                await asyncio.sleep(chance.uniform(0.5, lease_table.LEASE_S + 1))
                line.is_down = False
        await asyncio.sleep(chance.uniform(0, 1.5))
        assert not watching.done(), watching.exception()
    await until(lambda: is_shared(*cluster.replicas), LONG_S)
    epochs = await epochs_written(cluster.replicas[0].database)
    before = {shard: len(of_shard) for shard, of_shard in epochs.items()}

    async def is_written_on():
        now = await epochs_written(cluster.replicas[0].database)
        return len(now) == SHARDS and all(len(now[shard]) > before.get(shard, 0) for shard in now)

    await until(is_written_on, LONG_S)
    assert not watching.done(), watching.exception()
    for task in (watching, *writing.values()):
        task.cancel()
    for of_shard in (await epochs_written(cluster.replicas[0].database)).values():
        assert of_shard == sorted(of_shard)


async def test_a_shard_is_handed_over_once_what_works_for_its_users_has_left_and_leases_are_kept_meanwhile(cluster):
    first = await cluster.add()
    left, asked = asyncio.Event(), []

    async def leave(shards):
        asked.append(list(shards))
        await left.wait()

    first.shards.on_leaving(leave)
    second = await cluster.add()
    await until(lambda: asked, LONG_S)
    until_before = first.shards.sure_until
    # Two more renewals, though what leaves takes its time.
    await until(lambda: first.shards.sure_until > until_before + 1, LONG_S)
    (shard,) = asked[0]
    assert len(asked) == 1 and first.shards.owns(shard) == 1 and not first.shards.begin_call(shard)
    assert not second.shards.owned()
    left.set()
    await until(lambda: second.shards.owns(shard), LONG_S)
