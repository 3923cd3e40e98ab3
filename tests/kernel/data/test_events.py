"""The outbox: in order, at least once, and no event holds up the others without end."""

import asyncio
import contextlib

import pytest
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase

from services.kernel.clock import Clock
from services.kernel.data import events as events_module
from services.kernel.data.database import Database
from services.kernel.data.events import EventBus, Outbox, OutboxColumns
from services.kernel.errors import Unavailable
from tests.waiting import until


class Base(DeclarativeBase):
    pass


class OutboxRow(OutboxColumns, Base):
    __tablename__ = "outbox"


class Relay:
    """An outbox with a relay, and a subscriber that notes what it takes and refuses what it is set to."""

    def __init__(self, database):
        self.database, self.bus = database, EventBus()
        self.outbox = Outbox(database, OutboxRow, self.bus, Clock())
        self.taken, self.asked, self.refused = [], [], {}
        self.bus.subscribe("cup.filled", self.take)

    async def take(self, event):
        name = event.order_filled.order_id
        self.asked.append(name)
        if self.refused.get(name):
            raise self.refused[name]
        self.taken.append(name)

    async def add(self, *names, payload=None):
        for name in names:
            event = self.outbox.event("cup.filled")
            event.order_filled.order_id = name
            statement, values = self.outbox.write(event)
            await self.database.writer().submit([(statement, {**values, "payload": payload or values["payload"]})])
        self.outbox.wake()

    async def rows(self):
        async with self.database.repositories(lambda session: session).read() as session:
            return {row.event_id: row.is_dead for row in (await session.scalars(select(OutboxRow))).all()}

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.ensure_future(self.outbox.relay())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def relay(tmp_path, monkeypatch):
    monkeypatch.setattr(events_module, "MOST_ATTEMPTS", 3)
    monkeypatch.setattr(events_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(events_module, "LONGEST_PAUSE_S", 0.001)
    database = Database(f"sqlite:///{tmp_path}/cups.sqlite", Base)
    await database.start()
    yield Relay(database)
    await database.close()


async def test_a_commit_wakes_the_relay(relay):
    async with relay.running():
        await relay.add("a")
        await until(lambda: relay.taken == ["a"], 5)
        assert await until(lambda: _empty(relay), 5)


async def _empty(relay):
    return not await relay.rows()


@pytest.mark.parametrize("error", [ValueError("bad"), Unavailable("not now")])
async def test_an_event_that_is_never_taken_becomes_a_dead_letter_and_the_others_keep_their_order(relay, error, caplog):
    relay.refused["b"] = error
    await relay.add("a", "b", "c", "d")
    async with relay.running():
        await until(lambda: relay.taken == ["a", "c", "d"], 5)
        assert relay.asked.count("b") == 3 and relay.asked.index("c") > relay.asked.index("b")
        assert list((await until(lambda: _only_dead(relay), 5)).values()) == [True]
    assert "dead letter" in caplog.text


async def _only_dead(relay):
    rows = await relay.rows()
    return rows if all(rows.values()) else None


async def test_an_event_that_is_refused_for_a_while_is_taken_before_those_behind_it(relay, monkeypatch):
    monkeypatch.setattr(events_module, "MOST_ATTEMPTS", 1_000_000)
    relay.refused["a"] = Unavailable("starting")
    await relay.add("a", "b")
    async with relay.running():
        await until(lambda: relay.asked, 5)
        relay.refused.clear()
        await until(lambda: relay.taken == ["a", "b"], 5)


async def test_what_is_no_event_holds_up_nothing(relay):
    await relay.add("x", payload=b"\xff\xff\xff")
    await relay.add("a")
    async with relay.running():
        await until(lambda: relay.taken == ["a"], 5)


async def test_dead_letters_are_tried_again_after_a_restart(relay):
    relay.refused["a"] = ValueError("bad")
    await relay.add("a", "b")
    async with relay.running():
        await until(lambda: relay.taken == ["b"], 5)
        await until(lambda: _only_dead(relay), 5)
    relay.refused.clear()
    async with relay.running():
        await until(lambda: relay.taken == ["b", "a"], 5)
        assert await until(lambda: _empty(relay), 5)
