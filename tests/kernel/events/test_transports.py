"""One suite for both transports: from an outbox to a consuming service's own transaction, once and in order."""

import asyncio

import pytest
from sqlalchemy import update

from services.kernel.errors import Unavailable
from services.kernel.events import inbox as inbox_module
from services.kernel.events import outbox as outbox_module
from services.kernel.events.inbox import InboxState
from services.kernel.events.rabbitmq import RabbitMq
from services.kernel.events.transport import Delivery, EventBus
from services.kernel.identifiers import new_id
from tests.kernel.events.consumer import KEY, Consumer, InboxRow, Producer, running
from tests.waiting import until

WAIT_S = 60


@pytest.fixture(params=["in process", pytest.param("RabbitMQ", marks=pytest.mark.slow)])
async def transport(request):
    if request.param == "in process":
        yield EventBus()
        return
    broker = request.getfixturevalue("rabbitmq")
    await broker.empty()
    yield RabbitMq(broker.url, "test")


@pytest.fixture
async def world(transport, request, tmp_path, monkeypatch):
    for module in (inbox_module, outbox_module):
        monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.001)
        monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr(inbox_module, "MOST_ATTEMPTS", 4)
    # Nothing is found by looking: all is woken.
    monkeypatch.setattr(inbox_module, "LOOK_S", 3600)
    monkeypatch.setattr(outbox_module, "LOOK_S", 3600)
    # Each transport with databases of another kind.
    databases = f"sqlite:///{tmp_path}/{{name}}.sqlite"
    if isinstance(transport, RabbitMq):
        databases = request.getfixturevalue("postgres").url(f"events_{new_id()[-12:]}_{{name}}")
    world = World(transport, databases)
    await world.producer.database.migrate()
    await world.consumer.database.migrate()
    yield world
    await world.producer.database.close()
    await world.consumer.database.close()


class World:
    def __init__(self, transport, databases):
        self.transport, self.databases = transport, databases
        self.producer, self.consumer = Producer(transport, databases), Consumer(transport, databases)

    def running(self, *others):
        loops = [self.producer.outbox.run, self.consumer.inbox.run, *others]
        if isinstance(self.transport, RabbitMq):
            loops.append(self.transport.run)
        return running(*loops)

    async def applies(self, *names):
        await until(lambda: self._has(sorted(names)), WAIT_S)

    async def _has(self, names):
        return sorted(await self.consumer.applied()) == names

    async def dead(self, count):
        async def all_dead():
            rows = await self.consumer.inbox_rows(InboxState.DEAD)
            return rows if len(rows) == count else None

        return await until(all_dead, WAIT_S)


async def test_what_was_committed_is_applied_and_leaves_the_outbox(world):
    async with world.running():
        await world.producer.add(("alice", "a"))
        await world.applies("a")
        await world.producer.add(("alice", "b"), ("bob", "c"))
        await world.applies("a", "b", "c")
        await until(lambda: _none_waits(world), WAIT_S)
    (first, *_) = await world.consumer.inbox_rows(InboxState.APPLIED)
    assert (first.payload, first.routing_key, first.aggregate_id) == (b"", KEY, "alice")


async def _none_waits(world):
    return not await world.producer.waiting()


@pytest.mark.slow
async def test_many_events_of_some_users_are_applied_in_the_order_of_each(world):
    events = [(f"user {number % 7}", str(number)) for number in range(300)]
    async with world.running():
        for start in range(0, 300, 50):
            await world.producer.add(*events[start : start + 50])
        await until(lambda: _applied(world, 300), 60)
    for user in range(7):
        expected = [str(number) for number in range(300) if number % 7 == user]
        assert await world.consumer.applied(f"user {user}") == expected


async def _applied(world, count):
    return len(await world.consumer.applied()) == count


async def test_an_event_that_comes_again_is_applied_once(world):
    event = world.producer.event("alice", "a")
    again = [Delivery(KEY, event.SerializeToString())]
    async with world.running():
        await world.producer.database.writer().submit([world.producer.outbox.write(event)])
        world.producer.outbox.wake()
        await world.applies("a")
        await world.consumer.inbox.accept(again * 3)
        await world.producer.add(("bob", "b"))
        await world.applies("a", "b")
    assert len(await world.consumer.inbox_rows(InboxState.APPLIED)) == 2


@pytest.mark.parametrize("error", [ValueError("bad"), Unavailable("not now"), TimeoutError()])
async def test_an_event_that_is_refused_for_a_while_holds_up_its_user_alone(world, error, monkeypatch):
    monkeypatch.setattr(inbox_module, "MOST_ATTEMPTS", 1_000_000)
    world.consumer.refused["a"] = error
    async with world.running():
        await world.producer.add(("alice", "a"), ("alice", "b"), ("bob", "c"))
        await world.applies("c")
        await until(lambda: world.consumer.asked.count("a") > 5, WAIT_S)
        world.consumer.refused.clear()
        await world.applies("a", "b", "c")
    assert await world.consumer.applied("alice") == ["a", "b"]


async def test_a_transaction_that_fails_leaves_nothing_and_is_tried_again(world, monkeypatch):
    monkeypatch.setattr(inbox_module, "MOST_ATTEMPTS", 1_000_000)
    world.consumer.broken["a"] = ValueError("at the end")
    async with world.running():
        await world.producer.add(("alice", "a"))
        await until(lambda: world.consumer.asked.count("a") >= 2, WAIT_S)
        world.consumer.broken.clear()
        await world.applies("a")


async def test_what_is_refused_too_often_is_a_dead_letter_and_the_next_are_applied(world, caplog):
    world.consumer.refused["a"] = ValueError("no such cup")
    async with world.running():
        await world.producer.add(("alice", "a"), ("alice", "b"), ("bob", "c"))
        await world.applies("b", "c")
        (letter,) = await world.dead(1)
    assert (letter.attempts, letter.error, letter.aggregate_id) == (4, "ValueError: no such cup", "alice")
    assert world.consumer.asked.count("a") == 4 and "dead letter" in caplog.text


async def test_a_dead_letter_that_is_tried_again_is_applied(world, monkeypatch):
    monkeypatch.setattr(inbox_module, "LOOK_S", 0.01)
    world.consumer.refused["a"] = ValueError("bad")
    async with world.running():
        await world.producer.add(("alice", "a"))
        await world.dead(1)
        world.consumer.refused.clear()
        again = update(InboxRow).values(state=InboxState.WAITING.value, attempts=0)
        async with world.consumer.database.repositories(lambda session: session)() as session:
            await session.execute(again)
        await world.applies("a")


JUNK = [b"", b"\xff\xff\xff", b"\x0a\x01x", b"\x0a\x01x\x12\x0fuser.registered", b"\x0a\x01x\x12\x03a.b"]


async def test_what_is_no_event_is_a_dead_letter_at_once_and_stops_nobody(world):
    async with world.running():
        for body in (*JUNK, JUNK[1]):
            await world.consumer.inbox.accept([Delivery(KEY, body)])
        await world.producer.add(("alice", "a"))
        await world.applies("a")
        letters = await world.dead(len(JUNK))
    assert [letter.payload for letter in letters] == JUNK
    assert all(letter.error and not letter.attempts for letter in letters)


async def test_what_came_and_was_not_applied_is_applied_after_a_restart(world):
    event = world.producer.event("alice", "a").SerializeToString()
    await world.consumer.inbox.accept([Delivery(KEY, event)])
    later = Consumer(EventBus(), world.databases)
    await later.inbox.load()
    await later.inbox.accept([Delivery(KEY, world.producer.event("alice", "b").SerializeToString())])
    async with running(later.inbox.run):
        await world.applies("a", "b")
    assert await world.consumer.applied("alice") == ["a", "b"]
    await later.database.close()


async def test_replicas_that_share_an_inbox_apply_each_event_once_and_in_order(world):
    others = [Consumer(EventBus(), world.databases) for _ in range(2)]
    events = [(f"user {number % 3}", str(number)) for number in range(60)]
    async with world.running(*(other.inbox.run for other in others)):
        for start in range(0, 60, 10):
            await world.producer.add(*events[start : start + 10])
            for other in others:
                other.inbox._woken.set()
        await until(lambda: _applied(world, 60), 60)
    for user in range(3):
        assert await world.consumer.applied(f"user {user}") == [str(n) for n in range(60) if n % 3 == user]
    for other in others:
        await other.database.close()


async def test_a_handler_that_never_ends_is_given_up_and_holds_up_nobody_else(world, monkeypatch):
    monkeypatch.setattr(inbox_module, "HANDLER_S", 1.0)
    monkeypatch.setattr(inbox_module, "MOST_ATTEMPTS", 1)

    async def hang(event, receipt):
        if event.user_registered.username == "a":
            await asyncio.Event().wait()
        await world.consumer.apply(event, receipt)

    world.consumer.inbox._handlers[KEY] = hang
    async with world.running():
        await world.producer.add(("alice", "a"), ("alice", "b"), ("bob", "c"))
        await world.applies("b", "c")
        (letter,) = await world.dead(1)
    assert letter.error.startswith("TimeoutError")


async def test_ids_are_forgotten_after_a_while(world, monkeypatch):
    async with world.running():
        await world.producer.add(("alice", "a"))
        await world.applies("a")
    assert not await _no_rows(world)
    old = update(InboxRow).values(position=InboxRow.position - 2 * inbox_module.REMEMBERED_NS // 1000)
    async with world.consumer.database.repositories(lambda session: session)() as session:
        await session.execute(old)
    async with world.running():
        await until(lambda: _no_rows(world), WAIT_S)


async def _no_rows(world):
    return not await world.consumer.inbox_rows(InboxState.APPLIED)


def test_a_service_that_the_contract_does_not_name_cannot_subscribe(world):
    with pytest.raises(ValueError, match="does not name trading"):
        world.consumer.inbox.subscribe("config.changed", world.consumer.apply)
