"""The outbox: published in order, at least once; what cannot be read holds up nobody."""

import asyncio
import contextlib

import pytest
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase

from services.kernel.clock import Clock
from services.kernel.errors import Unavailable
from services.kernel.events import outbox as outbox_module
from services.kernel.events.outbox import Outbox, OutboxColumns
from services.kernel.events.transport import EventBus, LeftToRelay
from tests.postgres import opened
from tests.waiting import until

KEY = "trading.order_filled"


class Base(DeclarativeBase):
    pass


class OutboxRow(OutboxColumns, Base):
    __tablename__ = "outbox"


class Relay:
    """An outbox with a relay, and a subscriber that notes what it takes and refuses what it is set to."""

    def __init__(self, database):
        self.database, self.bus = database, EventBus()
        self.outbox = Outbox("cups", database, OutboxRow, self.bus, Clock())
        self.taken, self.asked, self.refused = [], [], {}
        self.bus.subscribe(KEY, self.take)

    async def take(self, event):
        name = event.order_filled.order_id
        self.asked.append(name)
        if self.refused.get(name):
            raise self.refused[name]
        self.taken.append(name)

    def event(self, name):
        event = self.outbox.event(KEY)
        event.order_filled.order_id = name
        return event

    async def add(self, *names, payload=None):
        for name in names:
            statement, values = self.outbox.write(self.event(name))
            await self.database.writer().submit([(statement, {**values, "payload": payload or values["payload"]})])
        self.outbox.wake()

    async def rows(self):
        async with self.database.repositories(lambda session: session).read() as session:
            return {row.event_id: row.is_dead for row in (await session.scalars(select(OutboxRow))).all()}

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.ensure_future(self.outbox.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def relay(database_url, monkeypatch):
    monkeypatch.setattr(outbox_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(outbox_module, "LONGEST_PAUSE_S", 0.001)
    # A relay that is not woken would never be seen to publish.
    monkeypatch.setattr(outbox_module, "LOOK_S", 3600)
    async with opened(database_url, Base) as database:
        yield Relay(database)


async def _empty(relay):
    return not await relay.rows()


async def test_a_commit_wakes_the_relay(relay):
    async with relay.running():
        await relay.add("a")
        await until(lambda: relay.taken == ["a"], 5)
        assert await until(lambda: _empty(relay), 5)
        await relay.add("b")
        await until(lambda: relay.taken == ["a", "b"], 5)


async def test_a_unit_of_work_wakes_the_relay_when_it_commits(relay, monkeypatch):
    monkeypatch.setattr(outbox_module, "LOOK_S", 3600)  # else it would find them by itself
    units = relay.database.repositories(lambda session: session)
    async with relay.running():
        with contextlib.suppress(LookupError):
            async with units() as session:
                await relay.outbox.add(session, relay.event("undone"))
                raise LookupError
        async with units() as session:
            await relay.outbox.add(session, relay.event("a"))
            await relay.outbox.add(session, relay.event("b"))
        await until(lambda: relay.taken == ["a", "b"], 20)


async def test_the_relay_finds_what_another_process_left(relay, monkeypatch):
    monkeypatch.setattr(outbox_module, "LOOK_S", 0.01)
    others = Outbox("cups", relay.database, OutboxRow, LeftToRelay(), Clock())
    async with relay.running():
        await relay.database.writer().submit([others.write(relay.event("a"))])
        await until(lambda: relay.taken == ["a"], 5)


@pytest.mark.parametrize("error", [ValueError("bad"), Unavailable("not now")])
async def test_an_event_that_is_refused_for_a_while_is_taken_before_those_behind_it(relay, error, caplog):
    relay.refused["b"] = error
    await relay.add("a", "b", "c")
    async with relay.running():
        await until(lambda: relay.asked.count("b") > 30, 5)
        assert relay.taken == ["a"]
        relay.refused.clear()
        await until(lambda: relay.taken == ["a", "b", "c"], 5)
        assert await until(lambda: _empty(relay), 5)
    assert "not published yet" in caplog.text


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"\x0a\x01x\x12\x03a.b", b"\x0a\x00"])
async def test_what_is_no_event_of_the_contract_is_a_dead_letter_and_holds_up_nothing(relay, payload, caplog):
    await relay.add("x", payload=payload)
    await relay.add("a")
    async with relay.running():
        await until(lambda: relay.taken == ["a"], 5)
        assert list((await until(lambda: _only_dead(relay), 5)).values()) == [True]
    assert "dead letter" in caplog.text


async def _only_dead(relay):
    rows = await relay.rows()
    return rows if all(rows.values()) else None


async def test_an_event_that_nobody_wants_is_not_written(relay):
    nobody = Outbox("cups", relay.database, OutboxRow, EventBus(), Clock())
    async with relay.database.repositories(lambda session: session)() as session:
        await nobody.add(session, relay.event("a"))
    assert not await relay.rows()
    async with relay.database.repositories(lambda session: session)() as session:
        await relay.outbox.add(session, relay.event("a"))
    assert list((await relay.rows()).values()) == [False]
