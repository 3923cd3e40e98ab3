"""Events that wait in the outbox and the inbox of a service, for checks that events move."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase

from services.kernel.data.database import Database
from services.kernel.data.writes import table_of
from services.kernel.events.contract import UnreadableEvent, aggregate_of, read_event
from services.kernel.events.inbox import InboxState


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event that is not delivered (of an outbox) or not applied (of an inbox); dead ones need an operator."""

    box: str
    event_id: str
    routing_key: str
    aggregate_id: str
    is_dead: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """Events that wait in both boxes, of one moment, oldest first."""

    events: Sequence[WaitingEvent]


async def read_backlog(
    database: Database, outbox: type[DeclarativeBase] | None, inbox: type[DeclarativeBase] | None
) -> Backlog:
    """Read what waits in a service's boxes. Raises Unavailable."""
    events: list[WaitingEvent] = []
    async with database.repositories(lambda session: session).read() as session:
        if outbox is not None:
            table = table_of(outbox)
            query = select(table.c.event_id, table.c.payload, table.c.is_dead).order_by(table.c.event_id)
            for event_id, payload, is_dead in await session.execute(query):
                events.append(WaitingEvent("outbox", event_id, *_named(payload), is_dead))
        if inbox is not None:
            table = table_of(inbox)
            columns = table.c.event_id, table.c.routing_key, table.c.aggregate_id, table.c.state
            waits = table.c.state.in_([InboxState.WAITING.value, InboxState.DEAD.value])
            for row in await session.execute(select(*columns).where(waits).order_by(table.c.position)):
                dead = row.state == InboxState.DEAD.value
                events.append(WaitingEvent("inbox", row.event_id, row.routing_key, row.aggregate_id, dead))
    return Backlog(events)


def _named(payload: bytes) -> tuple[str, str]:
    """Routing key and aggregate of an event."""
    try:
        event = read_event(payload)
    except UnreadableEvent:
        return "", ""
    return event.routing_key, aggregate_of(event)
