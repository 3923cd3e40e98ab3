"""The inbox: events that came, each applied once, those of one aggregate in the order in which they came.

What a transport brings is written here before it is acknowledged. It is applied in the consumer's own transaction,
which marks it as applied too, so that a crash at any moment neither loses an event nor applies it twice. An event that
cannot be applied holds up its aggregate alone, and is tried again later each time, `MOST_ATTEMPTS` times in about a
minute and a half. Then it is a dead letter, as what cannot be read is at once: it is kept for the operator (`redfire
events dead-letters`), counted (`inbox_dead_letters_total`) and logged, and the next ones are applied.
"""

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from prometheus_client import Counter
from redfire.events.v1.events_pb2 import Event
from sqlalchemy import BigInteger, Index, Integer, LargeBinary, String, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from services.kernel.clock import Clock
from services.kernel.data.columns import UtcTime
from services.kernel.data.database import Database
from services.kernel.data.writes import Write, table_of
from services.kernel.errors import RedFireError, ShardMoved
from services.kernel.events.contract import UnreadableEvent, aggregate_of, event_types, read_event
from services.kernel.events.transport import Delivery, Transport
from services.kernel.tasks import wait_for_event

log = logging.getLogger(__name__)
BATCH = 200
MOST_RUNNING = 16
# Aggregates that are waited for; each makes the query that leaves them out longer.
MOST_HELD = 400
# What comes wakes it; this is for what another process left, such as `redfire events dead-letters retry`.
LOOK_S = 2.0
HANDLER_S = 30.0
MOST_ATTEMPTS = 25
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0
FORGET_EVERY_S = 600.0
# No transport brings an event again after so long.
REMEMBERED_NS = 7 * 86_400 * 10**9
MOST_OF_ERROR = 500
dead_letters = Counter("inbox_dead_letters_total", "Events that could not be applied.", ["service", "routing_key"])


class InboxState(StrEnum):
    """State of an event in an inbox. DROPPED ones were dead letters that an operator gave up."""

    WAITING = "WAITING"
    APPLIED = "APPLIED"
    DEAD = "DEAD"
    DROPPED = "DROPPED"


class InboxColumns:
    """The inbox table: `class InboxRow(InboxColumns, Base): __tablename__ = "inbox"`."""

    event_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    # The order in which they came.
    position: Mapped[int] = mapped_column(BigInteger)
    routing_key: Mapped[str] = mapped_column(String(255))
    aggregate_id: Mapped[str] = mapped_column(String(128))
    # Empty once it is applied: then only the id counts.
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(8))
    attempts: Mapped[int] = mapped_column(Integer)
    error: Mapped[str] = mapped_column(String(MOST_OF_ERROR))
    accept_time: Mapped[datetime] = mapped_column(UtcTime)

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Index, ...]:  # noqa: N805 a class's attribute
        """Waiting events are read by state, in order."""
        return (Index("inbox_by_state", "state", "position"),)


class AlreadyApplied(Exception):
    """Another replica of the service has applied the event, or an operator has dropped it."""


class Receipt:
    """The mark that an event is applied, which its handler adds to its transaction."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.used = False

    @property
    def write(self) -> Write:
        """The mark for the group-commit writer, which writes it also where another replica has applied the event.

        What it is written with must have a key that keeps it from being done twice, or a fence.
        """
        self.used = True
        return self._write

    async def add(self, session: AsyncSession) -> None:
        """Write the mark in a session's transaction. Raises AlreadyApplied, which a handler lets through."""
        self.used = True
        write, values = self._write
        changed = {name: value for name, value in values.items() if name not in write.key}
        waits = (
            write.table.c.event_id == values["event_id"],
            write.table.c.state == InboxState.WAITING.value,
        )
        marked = update(write.table).where(*waits).values(changed).returning(write.table.c.event_id)
        if (await session.execute(marked)).first() is None:
            raise AlreadyApplied


Handler = Callable[[Event, Receipt], Awaitable[None]]
"""Applies an event. It must be harmless where it is applied already, unless it uses the receipt.

ShardMoved leaves the event to the replica that serves its user.
"""


@dataclass(frozen=True, slots=True)
class _Row:
    event_id: str
    routing_key: str
    aggregate_id: str
    payload: bytes
    attempts: int


class Inbox:
    """The inbox of a consuming service."""

    def __init__(
        self, name: str, database: Database, row: type[DeclarativeBase], transport: Transport, clock: Clock
    ) -> None:
        """`name` is the service's."""
        self._name = name
        self._database = database
        self._transport = transport
        self._clock = clock
        self._handlers: dict[str, Handler] = {}
        self._table = table = table_of(row)
        others = [column.name for column in table.columns if column.name != "event_id"]
        # What is there already stays as it is.
        self._insert = database.upsert(row, ["event_id"], others)
        self._update = database.update(row, ["event_id"])
        self._position = 0
        self._woken = asyncio.Event()
        self._running: set[str] = set()
        # Aggregates whose first event could not be applied, and when it is tried again.
        self._held: dict[str, float] = {}

    def subscribe(self, routing_key: str, handler: Handler) -> None:
        """Apply the events with this key by `handler`. The contract must name the service as their consumer."""
        if self._name not in event_types()[routing_key].consumers:
            raise ValueError(f"the contract does not name {self._name} as a consumer of {routing_key}")
        self._handlers[routing_key] = handler
        self._transport.consume(self._name, routing_key, self.accept)

    async def load(self) -> None:
        """Go on after what came before, also where the clock was set back."""
        async with self._database.repositories(lambda session: session).read() as session:
            self._position = await session.scalar(select(func.max(self._table.c.position))) or 0

    async def accept(self, deliveries: Sequence[Delivery]) -> None:
        """Write what came; when this returns it is durable. What is known already changes nothing."""
        now = self._clock.now()
        writes = [(self._insert, self._row(delivery, now)) for delivery in deliveries]
        await self._database.writer().submit(writes)
        self._woken.set()

    async def run(self) -> None:
        """Apply what waits, until cancelled."""
        loop = asyncio.get_running_loop()
        self._running.clear()
        forget_at = loop.time()
        async with asyncio.TaskGroup() as lanes:
            while True:
                self._woken.clear()
                now = loop.time()
                if now >= forget_at:
                    await self._forget()
                    forget_at = now + FORGET_EVERY_S
                self._held = {aggregate: until for aggregate, until in self._held.items() if until > now}
                if len(self._running) < MOST_RUNNING and len(self._held) < MOST_HELD:
                    for aggregate, rows in (await self._waiting()).items():
                        self._running.add(aggregate)
                        lanes.create_task(self._apply_all(aggregate, rows))
                next_s = min(self._held.values(), default=now + LOOK_S) - now
                await wait_for_event(self._woken, min(next_s, LOOK_S))

    async def _forget(self) -> None:
        table, over = self._table, [InboxState.APPLIED.value, InboxState.DROPPED.value]
        before_ns = self._clock.now_ns() - REMEMBERED_NS
        # By position, which is of the time in microseconds or, in a rush, later: the index has it.
        old = table.c.state.in_(over), table.c.position < before_ns // 1000
        async with self._database.repositories(lambda session: session)() as session:
            await session.execute(delete(table).where(*old))

    async def _waiting(self) -> dict[str, list[_Row]]:
        """The first waiting events, by aggregate, without aggregates that are being applied or held up."""
        table = self._table
        columns = table.c.event_id, table.c.routing_key, table.c.aggregate_id, table.c.payload, table.c.attempts
        query = select(*columns).where(table.c.state == InboxState.WAITING.value)
        if busy := [*self._running, *self._held]:
            query = query.where(table.c.aggregate_id.not_in(busy))
        lanes: dict[str, list[_Row]] = {}
        async with self._database.repositories(lambda session: session).read_one() as session:
            for row in await session.execute(query.order_by(table.c.position).limit(BATCH)):
                if row.aggregate_id in lanes or len(lanes) + len(self._running) < MOST_RUNNING:
                    lanes.setdefault(row.aggregate_id, []).append(_Row(*row))
        return lanes

    async def _apply_all(self, aggregate: str, rows: Sequence[_Row]) -> None:
        loop = asyncio.get_running_loop()
        try:
            for row in rows:
                if not await self._apply(row):
                    pause_s = min(FIRST_PAUSE_S * 2 ** min(row.attempts, 20), LONGEST_PAUSE_S)
                    self._held[aggregate] = loop.time() + pause_s
                    return
        except ShardMoved:
            # The replica that serves its user looks, too, and applies it.
            self._held[aggregate] = loop.time() + LOOK_S
        except Exception:
            log.exception("the inbox of %s cannot be written", self._name)
            self._held[aggregate] = loop.time() + LONGEST_PAUSE_S
        finally:
            self._running.discard(aggregate)
            self._woken.set()

    async def _apply(self, row: _Row) -> bool:
        """Apply an event; True when it is applied or a dead letter, so that the next one may be. Raises ShardMoved."""
        applied = {"event_id": row.event_id, "state": InboxState.APPLIED.value, "payload": b"", "error": ""}
        receipt = Receipt((self._update, applied))
        attempts, most = row.attempts + 1, MOST_ATTEMPTS
        try:
            event = read_event(row.payload)
            handler = self._handlers.get(event.routing_key)
            if handler is None:
                raise UnreadableEvent("nothing here applies events with its routing key")
            async with asyncio.timeout(HANDLER_S):
                await handler(event, receipt)
        except AlreadyApplied:
            return True
        except ShardMoved:
            raise
        except UnreadableEvent as failure:
            error, most = str(failure), attempts
        except RedFireError as failure:
            error = failure.message
            log.warning("event %s %s is not applied yet: %s", row.routing_key, row.event_id, error)
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            log.exception("event %s %s is not applied yet", row.routing_key, row.event_id)
        else:
            if not receipt.used:
                await self._database.writer().submit([receipt.write])
            return True
        is_dead = attempts >= most
        if is_dead:
            self._report_dead(row.routing_key, row.event_id, error)
        state = InboxState.DEAD if is_dead else InboxState.WAITING
        # Unless another replica has applied it meanwhile.
        table = self._table
        waits = table.c.event_id == row.event_id, table.c.state == InboxState.WAITING.value
        changed = {"state": state.value, "attempts": attempts, "error": _fit(error)}
        async with self._database.repositories(lambda session: session)() as session:
            await session.execute(update(table).where(*waits).values(changed))
        return is_dead

    def _row(self, delivery: Delivery, now: datetime) -> dict[str, object]:
        self._position = max(self._position + 1, self._clock.now_ns() // 1000)
        state, error, aggregate = InboxState.WAITING, "", ""
        try:
            event = read_event(delivery.body)
            event_id, aggregate = event.event_id, aggregate_of(event)
        except UnreadableEvent as failure:
            # The same bytes once, whatever id they came with: it may be another's.
            event_id = str(uuid.UUID(bytes=hashlib.sha256(delivery.body).digest()[:16], version=5))
            state, error = InboxState.DEAD, str(failure)
            self._report_dead(delivery.routing_key, event_id, error)
        return {
            "event_id": event_id, "position": self._position, "routing_key": _fit(delivery.routing_key, 255),
            "aggregate_id": aggregate, "payload": delivery.body, "state": state.value, "attempts": 0, "error": error,
            "accept_time": now,
        }  # fmt: skip

    def _report_dead(self, routing_key: str, event_id: str, error: str) -> None:
        dead_letters.labels(self._name, routing_key if routing_key in event_types() else "unknown").inc()
        log.error("event %s %s is a dead letter of %s: %s", routing_key, event_id, self._name, error)


def _fit(text: str, most: int = MOST_OF_ERROR) -> str:
    """The text as both databases take it."""
    return text.replace("\0", "")[:most]
