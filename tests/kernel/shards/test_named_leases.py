"""Leases by name: one replica at a time works by each, and another goes on when it stops, dies or is cut off."""

import asyncio
import itertools

import pytest

from services.kernel.data.backend import PostgresOptions
from services.kernel.shards import lease_table
from services.kernel.shards.leases import SoleLeases
from services.kernel.shards.named_leases import SharedLeases
from services.kernel.tasks import Tasks
from tests.kernel.data.line import Line
from tests.kernel.shards.replicas import Base
from tests.postgres import ROLE, opened
from tests.waiting import until

LONG_S = 60.0
_names = itertools.count(1)


class Worker:
    """A process's part, which works by the lease `relay`."""

    def __init__(self, name, database, line):
        self.tasks, self.line = Tasks(), line
        self.leases = SharedLeases(database.connect, lambda: name, self.tasks)
        self.is_working = False
        self.times = 0
        self.task = asyncio.create_task(self.leases.while_held("relay", self.work))

    async def work(self):
        self.is_working, self.times = True, self.times + 1
        try:
            await asyncio.Event().wait()
        finally:
            self.is_working = False

    async def stop(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.leases.release()
        await self.tasks.stop()


@pytest.fixture
async def workers(postgres):
    database_name, made, contexts = f"names{next(_names)}", [], []
    for number in range(2):
        line = Line(postgres.port)
        url = f"postgresql+asyncpg://{ROLE}@127.0.0.1:{{}}/{database_name}"
        contexts.append(line)
        await line.__aenter__()
        context = opened(url.format(line.port), Base, options=PostgresOptions(connect_timeout_s=2))
        contexts.append(context)
        made.append(Worker(f"worker{number}", await context.__aenter__(), line))
    yield made
    for worker in made:
        await worker.stop()
    for context in reversed(contexts):
        await context.__aexit__(None, None, None)


def working(workers):
    return [worker for worker in workers if worker.is_working]


async def test_one_of_two_works_and_the_other_goes_on_at_once_when_it_stops(workers, monkeypatch):
    first = (await until(lambda: working(workers), LONG_S))[0]
    second = next(worker for worker in workers if worker is not first)
    await until(lambda: second.leases.owner("relay") == first.leases.owner("relay") is not None, LONG_S)
    epoch = first.leases.epoch("relay")
    await first.stop()
    assert not first.is_working and first.leases.epoch("relay") is None
    await until(lambda: second.is_working, LONG_S)
    assert second.leases.epoch("relay") == epoch + 1


@pytest.mark.slow
async def test_who_is_cut_off_stops_working_before_another_begins(workers):
    first = (await until(lambda: working(workers), LONG_S))[0]
    second = next(worker for worker in workers if worker is not first)
    first.line.is_down = True
    first.line.hang_up()
    while not second.is_working:
        await asyncio.sleep(0.001)
    assert not first.is_working
    first.line.is_down = False
    await until(lambda: first.leases.owner("relay") == second.leases.owner("relay"), LONG_S)
    assert working(workers) == [second]


async def test_work_that_raises_gives_the_lease_up_and_says_why(workers):
    first = (await until(lambda: working(workers), LONG_S))[0]

    async def fail():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await asyncio.wait_for(first.leases.while_held("other", fail), LONG_S)
    assert first.leases.epoch("other") is None and first.is_working


async def test_a_notification_reaches_the_others_and_what_comes_at_once_needs_one(workers):
    heard = []
    for worker in workers:
        worker.leases.on_notified("news", lambda worker=worker: heard.append(worker))
    await until(lambda: all(worker.leases.owner("relay") for worker in workers), LONG_S)
    for _ in range(1000):
        workers[0].leases.notify("news")
    await until(lambda: workers[1] in heard, LONG_S)
    assert len(heard) < 100
    heard.clear()
    workers[1].leases.notify("news")
    await until(lambda: workers[0] in heard, LONG_S)


async def test_a_lease_is_wanted_once_by_a_process(workers):
    with pytest.raises(ValueError, match="relay"):
        await workers[0].leases.while_held("relay", workers[0].work)


async def test_the_only_process_holds_all_leases():
    leases, done = SoleLeases(lambda: "here:1"), []

    async def work():
        done.append(leases.epoch("relay"))

    await leases.while_held("relay", work)
    assert done == [1] and leases.owner("relay") == "here:1"


def test_leases_end_soon_enough_for_their_takeover_within_five_seconds():
    assert lease_table.LEASE_S <= 4
