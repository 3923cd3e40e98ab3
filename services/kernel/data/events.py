"""Events between services: written in the transaction of their change, delivered at least once.

A producer adds an event to its outbox in the transaction of the change; the relay delivers it to the subscribers of
this process and forgets it once all have taken it. Subscribers apply an event once however often it comes.

Events are delivered in the order they were written. One that its subscriber does not take holds up those behind it for
`MOST_ATTEMPTS` attempts (about a minute and a half), so that a subscriber that is just starting loses no order; then it
becomes a dead letter: it stays in the table with `is_dead` set, is counted (`outbox_dead_letters_total`) and logged,
and is tried again by itself from time to time and after a restart, without holding up the others.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from prometheus_client import Counter
from redfire.events.v1.events_pb2 import Event
from sqlalchemy import Boolean, LargeBinary, Select, String, bindparam, delete, false, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.clock import Clock
from services.kernel.data.database import Database
from services.kernel.data.group_commit import Write
from services.kernel.errors import RedFireError
from services.kernel.identifiers import new_id
from services.kernel.tasks import wait_for_event

log = logging.getLogger(__name__)
Handler = Callable[[Event], Awaitable[None]]
BATCH = 500
# A commit wakes the relay; this is for what another process left, such as `redfire admin create-user`.
POLL_S = 1.0
MOST_ATTEMPTS = 25
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0
DEAD_LETTERS_EVERY_S = 600.0
dead_letters = Counter("outbox_dead_letters_total", "Events that a subscriber did not take.", ["routing_key"])


class OutboxColumns:
    """The outbox table: `class OutboxRow(OutboxColumns, Base): __tablename__ = "outbox"`."""

    event_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    is_dead: Mapped[bool] = mapped_column(Boolean, server_default=false())


class EventBus:
    """Subscriptions of this process to events."""

    def __init__(self) -> None:
        self._handlers: dict[str, list[Handler]] = {}

    def subscribe(self, routing_key: str, handler: Handler) -> None:
        """Hand every event with this key to `handler`; it is tried again until it does not raise."""
        self._handlers.setdefault(routing_key, []).append(handler)

    def has_subscriber(self, routing_key: str) -> bool:
        """Test for a subscriber of this key. A broker subscribes to all keys: it carries them out of here."""
        return routing_key in self._handlers

    async def deliver(self, event: Event) -> None:
        """Hand an event to all its subscribers."""
        for handler in self._handlers.get(event.routing_key, ()):
            await handler(event)


class Outbox:
    """A producer's outbox and its relay."""

    def __init__(self, database: Database, row: type[DeclarativeBase], bus: EventBus, clock: Clock) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock
        self._insert = insert(row)
        table = row.__table__
        by_id = table.c.event_id == bindparam("which")
        self._delete, self._bury = delete(row).where(by_id), update(row).where(by_id).values(is_dead=True)
        waiting = select(table.c.event_id, table.c.payload).order_by(table.c.event_id).limit(BATCH)
        self._select, self._select_dead = waiting.where(~table.c.is_dead), waiting.where(table.c.is_dead)
        self._fresh = asyncio.Event()
        # How often the oldest event was not taken.
        self._attempts: tuple[str, int] = ("", 0)

    def has_subscriber(self, routing_key: str) -> bool:
        """Test for a subscriber: on the order path, an event without one need not be written."""
        return self._bus.has_subscriber(routing_key)

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
        """Deliver what was committed now, not at the next poll."""
        self._fresh.set()

    async def relay(self) -> None:
        """Deliver what is in the outbox, oldest first, until cancelled."""
        loop = asyncio.get_running_loop()
        dead_letters_at = loop.time()
        pause_s = FIRST_PAUSE_S
        while True:
            self._fresh.clear()
            if loop.time() >= dead_letters_at:
                await self._deliver_dead_letters()
                dead_letters_at = loop.time() + DEAD_LETTERS_EVERY_S
            rows = await self._rows(self._select)
            sent, refused = await self._deliver(rows)
            await self._forget(sent)
            if refused:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            pause_s = FIRST_PAUSE_S
            if len(rows) < BATCH:
                await wait_for_event(self._fresh, POLL_S)

    async def _rows(self, query: Select[Any]) -> list[tuple[str, bytes]]:
        async with self._database.repositories(lambda session: session).read() as session:
            return [(row[0], row[1]) for row in (await session.execute(query)).all()]

    async def _deliver(self, rows: Sequence[tuple[str, bytes]]) -> tuple[list[str], bool]:
        """(what is through, whether an event is to be tried again before those behind it)."""
        sent: list[str] = []
        for event_id, payload in rows:
            if await self._taken(event_id, payload):
                sent.append(event_id)
                continue
            attempts = self._attempts[1] + 1 if self._attempts[0] == event_id else 1
            self._attempts = (event_id, attempts)
            if attempts < MOST_ATTEMPTS:
                return sent, True
            dead_letters.labels(_routing_key(payload)).inc()
            log.error(
                "event %s %s is a dead letter: it was not taken %d times", _routing_key(payload), event_id, attempts
            )
            await self._database.writer().submit([(self._bury, {"which": event_id})])
        return sent, False

    async def _deliver_dead_letters(self) -> None:
        rows = await self._rows(self._select_dead)
        await self._forget([event_id for event_id, payload in rows if await self._taken(event_id, payload)])

    async def _taken(self, event_id: str, payload: bytes) -> bool:
        try:
            await self._bus.deliver(Event.FromString(payload))
        except RedFireError as error:
            log.warning("event %s %s is not taken yet: %s", _routing_key(payload), event_id, error.message)
            return False
        except Exception:
            log.exception("event %s %s is not taken yet", _routing_key(payload), event_id)
            return False
        return True

    async def _forget(self, event_ids: Sequence[str]) -> None:
        if event_ids:
            await self._database.writer().submit([(self._delete, {"which": event_id}) for event_id in event_ids])

    @staticmethod
    def _values(event: Event) -> dict[str, object]:
        return {"event_id": event.event_id, "payload": event.SerializeToString()}


def _routing_key(payload: bytes) -> str:
    try:
        return Event.FromString(payload).routing_key
    except DecodeError:
        return "unreadable"
