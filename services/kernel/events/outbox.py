"""The outbox: events written in the transaction of their change, and published from there, oldest first.

Of the replicas of a service one publishes, by a lease; a commit at another wakes it. One whose transport takes nothing
leaves it to another for a while, which may reach the broker.

What a transport does not take is published again until it does, later each time; what lies behind it waits, so that
order is kept. What cannot be read any more is a dead letter at once: it stays in the table with `is_dead` set, is
counted (`outbox_dead_letters_total`) and logged, and holds up nobody.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

from prometheus_client import Counter, Gauge
from redfire.events.v1.events_pb2 import Event
from sqlalchemy import Boolean, LargeBinary, String, false, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.clock import Clock
from services.kernel.data.database import Database
from services.kernel.data.repositories import after_commit
from services.kernel.data.writes import Write, write_rows
from services.kernel.errors import RedFireError
from services.kernel.events.contract import UnreadableEvent, aggregate_of, read_event
from services.kernel.events.transport import Message, Transport
from services.kernel.identifiers import new_id
from services.kernel.shards.leases import Leases, SoleLeases
from services.kernel.tasks import wait_for_event

log = logging.getLogger(__name__)
BATCH = 500
# A commit wakes the relay; this is for what another process left, such as `redfire admin create-user`.
LOOK_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0
GIVE_UP_S = 5.0
"""Time for which a transport may take nothing before another replica tries."""
RELAY = "outbox"
dead_letters = Counter("outbox_dead_letters_total", "Events of an outbox that could not be read.", ["database"])
waiting_events = Gauge("outbox_waiting_events", "Events of an outbox that the transport does not take.", ["database"])


class OutboxColumns:
    """The outbox table: `class OutboxRow(OutboxColumns, Base): __tablename__ = "outbox"`."""

    event_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    is_dead: Mapped[bool] = mapped_column(Boolean, server_default=false())


class Outbox:
    """A producer's outbox and its relay."""

    def __init__(
        self,
        name: str,
        database: Database,
        row: type[DeclarativeBase],
        transport: Transport,
        clock: Clock,
        leases: Leases | None = None,
    ) -> None:
        """`name` is the service's; without `leases` this is the only process that publishes."""
        self._name = name
        self._database = database
        self._transport = transport
        self._clock = clock
        self._insert = database.insert(row)
        self._delete, self._bury = database.delete(row, ["event_id"]), database.update(row, ["event_id"])
        table = row.__table__
        self._count = select(func.count()).select_from(table).where(~table.c.is_dead)
        waiting = select(table.c.event_id, table.c.payload).where(~table.c.is_dead)
        self._select = waiting.order_by(table.c.event_id).limit(BATCH)
        self._fresh, self._ready = asyncio.Event(), asyncio.Event()
        transport.on_ready(self._ready.set)
        self._leases = leases or SoleLeases(lambda: "")
        self._leases.on_notified(RELAY, self._fresh.set)
        self._warned = False

    def carries(self, routing_key: str) -> bool:
        """Test for somebody who wants it: an event that nobody wants is not written."""
        return self._transport.carries(routing_key)

    def event(self, routing_key: str) -> Event:
        """A new event; set its payload."""
        event = Event(event_id=new_id(), routing_key=routing_key)
        event.create_time.FromNanoseconds(self._clock.now_ns())
        return event

    async def add(self, session: AsyncSession, event: Event) -> None:
        """Write an event in the transaction of its change, if somebody wants it; it is published after the commit."""
        if self.carries(event.routing_key):
            await write_rows(session, self._insert, [self._values(event)])
            after_commit(session, self.wake)

    def write(self, event: Event) -> Write:
        """The write of an event for the group-commit writer; call `wake` after the commit."""
        return self._insert, self._values(event)

    def wake(self) -> None:
        """Have what was committed published now, not when the relay looks next."""
        self._fresh.set()
        if self._leases.epoch(RELAY) is None:
            self._leases.notify(RELAY)

    async def run(self) -> None:
        """Publish what is in the outbox whenever this process has the lease, until cancelled."""
        while True:
            await self._leases.while_held(RELAY, self._relay)
            await wait_for_event(self._ready, LONGEST_PAUSE_S)

    async def _relay(self) -> None:
        """Publish what is in the outbox, oldest first, until the transport has taken nothing for a while."""
        pause_s = FIRST_PAUSE_S
        took_at = time.monotonic()
        while True:
            self._fresh.clear()
            self._ready.clear()
            rows = await self._rows()
            messages = await self._read(rows)
            published = await self._publish(messages)
            await self._forget(published)
            if published or not messages:
                took_at = time.monotonic()
            if len(published) < len(messages):
                await self._show_waiting()
                if time.monotonic() - took_at > GIVE_UP_S:
                    return
                # A commit is no reason to try sooner.
                await wait_for_event(self._ready, pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            pause_s = FIRST_PAUSE_S
            if self._warned:
                log.info("events of %s are published again", self._name)
                self._warned = False
            waiting_events.labels(self._name).set(0)
            if len(rows) < BATCH:
                await wait_for_event(self._fresh, LOOK_S)

    async def _rows(self) -> list[tuple[str, bytes]]:
        async with self._database.repositories(lambda session: session).read_one() as session:
            return [(row[0], row[1]) for row in (await session.execute(self._select)).all()]

    async def _show_waiting(self) -> None:
        async with self._database.repositories(lambda session: session).read_one() as session:
            waiting_events.labels(self._name).set(await session.scalar(self._count) or 0)

    async def _read(self, rows: Sequence[tuple[str, bytes]]) -> list[Message]:
        messages = []
        for event_id, payload in rows:
            try:
                event = read_event(payload)
            except UnreadableEvent as error:
                dead_letters.labels(self._name).inc()
                log.error("event %s of %s's outbox is a dead letter: %s", event_id, self._name, error)
                await self._database.writer().submit([(self._bury, {"event_id": event_id, "is_dead": True})])
            else:
                messages.append(Message(event_id, event.routing_key, aggregate_of(event), payload))
        return messages

    async def _publish(self, messages: Sequence[Message]) -> Sequence[str]:
        if not messages:
            return ()
        try:
            return await self._transport.publish(messages)
        except RedFireError as error:
            self._warn(error.message)
        except Exception as error:
            self._warn(f"{type(error).__name__}: {error}", error)
        return ()

    def _warn(self, reason: str, error: Exception | None = None) -> None:
        """Say it once, however often it is tried."""
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        log.log(level, "events of %s are not published yet: %s", self._name, reason, exc_info=error)

    async def _forget(self, event_ids: Sequence[str]) -> None:
        if event_ids:
            await self._database.writer().submit([(self._delete, {"event_id": event_id}) for event_id in event_ids])

    @staticmethod
    def _values(event: Event) -> dict[str, object]:
        return {"event_id": event.event_id, "payload": event.SerializeToString()}
