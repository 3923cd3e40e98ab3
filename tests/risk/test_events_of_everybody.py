"""Events of everybody with two replicas on PostgreSQL: each is recorded once, and comes once on every stream."""

import asyncio
import itertools
from contextlib import AsyncExitStack, aclosing
from functools import partial

import pytest
from redfire.reasons import Reason

from services.kernel.clock import Clock
from services.kernel.identifiers import new_id
from services.kernel.shards.named_leases import SharedLeases
from services.kernel.tasks import Tasks
from services.risk import models
from services.risk.domain.risk_event import RiskEvent
from services.risk.repository import RiskRepository, Upserts
from services.risk.state import event_watch
from services.risk.state.event_watch import not_recorded
from services.risk.state.risk_event_log import RiskEventLog
from tests.postgres import opened
from tests.waiting import until

LONG_S = 60.0
LOST = Reason.MARKET_DATA_LOST, "prices are lost: market is not heard", {"peer": "market"}
BACK = Reason.MARKET_DATA_RECOVERED, "prices are heard again", {}
_names = itertools.count(1)


class Replica:
    """A replica's log of events, and what a stream of a user of it has had."""

    def __init__(self, name, database):
        self.tasks, self.clock, self.seen = Tasks(), Clock(), []
        upserts = Upserts(None, database.upsert(models.EventRow, ["user_id", "event_id"]), None, None)
        self.repositories = database.repositories(partial(RiskRepository, upserts=upserts))
        self.leases = SharedLeases(database.connect, lambda: name, self.tasks)
        self.log = RiskEventLog(self.repositories, self.clock, 1000, self.leases)
        self.tasks.supervise("relay", partial(self.leases.while_held, "outbox", asyncio.Event().wait))
        self.tasks.supervise("write", self.log.write)
        self.tasks.supervise("watch", self.log.watch.run)
        self.is_streaming = False
        self.tasks.supervise("stream", self._stream)

    async def _stream(self):
        async with aclosing(self.log.follow("alice", "", 0.01)) as events:
            async for event in events:
                self.is_streaming = True
                if event is not None:
                    self.seen.append(event.message)

    async def stop(self):
        await self.leases.release()
        await self.tasks.stop()

    async def recorded(self):
        async with self.repositories.read() as repository:
            return [event.message for event in await repository.list_events("alice", "", None, None, None, 100)][::-1]


@pytest.fixture
async def replicas(postgres, monkeypatch):
    # Nothing is found by looking.
    monkeypatch.setattr(event_watch, "LOOK_S", 3600)
    url = postgres.url(f"everybody{next(_names)}")
    async with AsyncExitStack() as stack:
        made = [Replica(name, await stack.enter_async_context(opened(url, models.Base))) for name in ("a", "b")]
        await until(lambda: all(one.is_streaming and one.leases.owner("outbox") for one in made), LONG_S)
        yield made
        for replica in made:
            await replica.stop()


async def _have(replicas, messages):
    return await replicas[0].recorded() == messages and all(one.seen == messages for one in replicas)


@pytest.mark.slow
async def test_what_one_replica_records_for_everybody_comes_once_on_the_streams_of_all(replicas):
    messages = []
    for number in range(6):
        messages.append(f"trading state HALTED: {number}")
        replicas[number % 2].log.record("", "", Reason.TRADING_HALTED, messages[-1], {})
        await until(lambda: _have(replicas, messages), LONG_S)


@pytest.mark.slow
async def test_what_one_replica_records_of_a_user_comes_once_on_the_streams_of_all(replicas):
    messages = []
    for number in range(6):
        messages.append(f"trading state HALTED of alice: {number}")
        replicas[number % 2].log.record("alice", "account-1", Reason.TRADING_HALTED, messages[-1], {})
        replicas[number % 2].log.record("bob", "account-2", Reason.TRADING_HALTED, "of somebody else", {})
        await until(lambda: _have(replicas, messages), LONG_S)


@pytest.mark.slow
async def test_a_stream_that_is_opened_has_nothing_of_before_and_one_of_an_account_all_that_follows(replicas):
    first, second = replicas
    first.log.record("alice", "account-1", None, "before", {})
    await until(lambda: _have(replicas, ["before"]), LONG_S)
    seen = []

    async def follow_account():
        async with aclosing(second.log.follow("admin", "account-1", 0.01)) as events:
            async for event in events:
                seen.append(event.message if event is not None else "")

    second.tasks.supervise("account", follow_account)
    await until(lambda: seen, LONG_S)
    first.log.record("alice", "account-1", None, "after", {})
    await until(lambda: any(seen), LONG_S)
    assert [message for message in seen if message] == ["after"]


@pytest.mark.slow
async def test_what_each_replica_sees_is_recorded_once_and_comes_once_on_each_stream(replicas):
    for _ in range(5):
        for observed in (LOST, BACK):
            for replica in replicas:
                replica.log.observe(*observed)
            await until(lambda: _settled(replicas), LONG_S)
    messages = [LOST[1], BACK[1]] * 5
    await until(lambda: _have(replicas, messages), LONG_S)


@pytest.mark.slow
async def test_what_one_replica_alone_sees_is_recorded(replicas):
    replicas[1].log.observe(*LOST)
    await until(lambda: _have(replicas, [LOST[1]]), LONG_S)
    replicas[1].log.observe(*BACK)
    await until(lambda: _have(replicas, [LOST[1], BACK[1]]), LONG_S)


def _settled(replicas):
    return not any(one.log._waiting for one in replicas)


def _silent(symbols, time, reason=Reason.MARKET_DATA_STALE):
    names = ", ".join(symbols)
    return RiskEvent(new_id(), "", "", reason, f"silent: {names}", time, {"symbols": names, "count": str(len(symbols))})


def test_of_symbols_those_are_recorded_that_another_replica_has_not_recorded_as_silent():
    now = Clock().now()
    recorded = [_silent(["a", "b"], now), _silent(["b"], now, Reason.MARKET_DATA_RECOVERED)]
    assert not_recorded(_silent(["a"], now), recorded) is None
    left = not_recorded(_silent(["a", "b", "c"], now), recorded)
    assert (left.message, left.metadata) == ("silent: b, c", {"symbols": "b, c", "count": "2"})
    fresh = _silent(["c"], now)
    assert not_recorded(fresh, recorded) is fresh
    assert not_recorded(fresh, [*recorded, fresh]) is None
