"""Facts that services tell each other: written with the change they tell of, delivered at least once.

A producer adds an event to its outbox in the transaction of the change; the relay delivers it to the subscribers of
this process and forgets it once all have taken it. Subscribers apply an event once however often it comes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from redfire.events.v1.events_pb2 import Event
from sqlalchemy import LargeBinary, String, bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.errors import RedFireError
from services.kernel.identifiers import new_id
from services.kernel.writer import Write

log = logging.getLogger(__name__)
Handler = Callable[[Event], Awaitable[None]]
BATCH = 500
POLL_S = 1.0


class OutboxColumns:
    """The outbox table: `class OutboxRow(OutboxColumns, Base): __tablename__ = "outbox"`."""

    event_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    payload: Mapped[bytes] = mapped_column(LargeBinary)


class EventBus:
    """Who of this process wants to hear what."""

    def __init__(self) -> None:
        self._handlers: dict[str, list[Handler]] = {}

    def subscribe(self, routing_key: str, handler: Handler) -> None:
        """Hand every event with this key to `handler`; it is tried again until it does not raise."""
        self._handlers.setdefault(routing_key, []).append(handler)

    def wants(self, routing_key: str) -> bool:
        """Whether anybody hears events with this key. A broker would, of all keys: it carries them out of here."""
        return routing_key in self._handlers

    async def deliver(self, event: Event) -> None:
        """Hand an event to all who want it."""
        for handler in self._handlers.get(event.routing_key, ()):
            await handler(event)


class Outbox:
    """A producer's outbox and its relay."""

    def __init__(self, database: Database, row: type[DeclarativeBase], bus: EventBus, clock: Clock) -> None:
        self._database = database
        self._row = row
        self._bus = bus
        self._clock = clock
        self._insert = insert(row)
        table = row.__table__
        self._delete = delete(row).where(table.c.event_id == bindparam("sent_id"))
        self._select = select(table.c.event_id, table.c.payload).order_by(table.c.event_id).limit(BATCH)
        self._fresh = asyncio.Event()

    def wants(self, routing_key: str) -> bool:
        """Whether such an event reaches anybody: on the order path, what nobody hears need not be written."""
        return self._bus.wants(routing_key)

    def event(self, routing_key: str) -> Event:
        """A new event; set its payload."""
        event = Event(event_id=new_id(), routing_key=routing_key)
        event.create_time.FromNanoseconds(self._clock.now_ns())
        return event

    async def add(self, session: AsyncSession, event: Event) -> None:
        """Write an event in the transaction of its change; call `wake` after the commit."""
        await session.execute(self._insert, [self._values(event)])

    def write(self, event: Event) -> Write:
        """The same for the group-commit writer."""
        return self._insert, self._values(event)

    def wake(self) -> None:
        """Something was committed: deliver now, not at the next poll."""
        self._fresh.set()

    async def relay(self) -> None:
        """Deliver what is in the outbox, oldest first, for ever."""
        pending = self._database.repositories(lambda session: session)
        while True:
            self._fresh.clear()
            async with pending.read() as session:
                rows: Sequence[tuple[str, bytes]] = [tuple(r) for r in (await session.execute(self._select)).all()]
            sent = await self._deliver(rows)
            if sent:
                await self._database.writer().submit([(self._delete, {"sent_id": event_id}) for event_id in sent])
            if len(sent) < BATCH:
                try:
                    await asyncio.wait_for(self._fresh.wait(), POLL_S)
                except TimeoutError:
                    continue

    async def _deliver(self, rows: Sequence[tuple[str, bytes]]) -> list[str]:
        sent = []
        for event_id, payload in rows:
            event = Event.FromString(payload)
            try:
                await self._bus.deliver(event)
            except RedFireError as error:
                log.warning("event %s is not taken yet: %s", event.routing_key, error.message)
                break
            except Exception:
                log.exception("event %s is not taken yet", event.routing_key)
                break
            sent.append(event_id)
        return sent

    @staticmethod
    def _values(event: Event) -> dict[str, object]:
        return {"event_id": event.event_id, "payload": event.SerializeToString()}
