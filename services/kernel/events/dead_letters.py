"""Dead letters of one service, in its database: events that could not be applied, or could not be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Table, delete, select, update
from sqlalchemy.orm import DeclarativeBase

from services.kernel.data.database import Database
from services.kernel.data.writes import table_of
from services.kernel.events.inbox import InboxState

MOST_IDS = 500


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event, or bytes that are none, in the inbox or outbox of a service."""

    service: str
    box: str
    """inbox or outbox."""
    event_id: str
    routing_key: str
    aggregate_id: str
    attempts: int
    error: str
    accept_time: datetime | None
    """The time at which an inbox took it."""
    body: bytes


class DeadLetters:
    """The dead letters of a service, which may be running: it takes a change within seconds."""

    def __init__(
        self,
        service: str,
        database: Database,
        outbox: type[DeclarativeBase] | None,
        inbox: type[DeclarativeBase] | None,
    ) -> None:
        self._service = service
        self._sessions = database.repositories(lambda session: session)
        self._outbox = None if outbox is None else table_of(outbox)
        self._inbox = None if inbox is None else table_of(inbox)

    async def list_all(self) -> list[DeadLetter]:
        """All of them, oldest first; those of the inbox before those of the outbox."""
        letters: list[DeadLetter] = []
        async with self._sessions.read() as session:
            if (table := self._inbox) is not None:
                dead = select(table).where(table.c.state == InboxState.DEAD.value).order_by(table.c.position)
                for row in (await session.execute(dead)).mappings():
                    kept = {
                        name: row[name] for name in ("event_id", "routing_key", "aggregate_id", "attempts", "error")
                    }
                    letters.append(
                        DeadLetter(self._service, "inbox", **kept, accept_time=row["accept_time"], body=row["payload"])
                    )
            if (table := self._outbox) is not None:
                dead = select(table).where(table.c.is_dead).order_by(table.c.event_id)
                for row in (await session.execute(dead)).mappings():
                    error = "it cannot be read"
                    letters.append(
                        DeadLetter(self._service, "outbox", row["event_id"], "", "", 0, error, None, row["payload"])
                    )
        return letters

    async def retry(self, letters: Sequence[DeadLetter]) -> None:
        """Have them applied, or published, once more."""
        async with self._sessions() as session:
            for some in _parts(_ids(letters, "inbox")):
                table = _present(self._inbox)
                again = {"state": InboxState.WAITING.value, "attempts": 0, "error": ""}
                dead = table.c.state == InboxState.DEAD.value, table.c.event_id.in_(some)
                await session.execute(update(table).where(*dead).values(again))
            for some in _parts(_ids(letters, "outbox")):
                table = _present(self._outbox)
                await session.execute(update(table).where(table.c.event_id.in_(some)).values(is_dead=False))

    async def drop(self, letters: Sequence[DeadLetter]) -> None:
        """Give them up. An inbox remembers their ids for a while: they do not come back."""
        async with self._sessions() as session:
            for some in _parts(_ids(letters, "inbox")):
                table = _present(self._inbox)
                dropped = {"state": InboxState.DROPPED.value, "payload": b""}
                dead = table.c.state == InboxState.DEAD.value, table.c.event_id.in_(some)
                await session.execute(update(table).where(*dead).values(dropped))
            for some in _parts(_ids(letters, "outbox")):
                table = _present(self._outbox)
                await session.execute(delete(table).where(table.c.is_dead, table.c.event_id.in_(some)))


def _present(table: Table | None) -> Table:
    assert table is not None
    return table


def _ids(letters: Sequence[DeadLetter], box: str) -> list[str]:
    return [letter.event_id for letter in letters if letter.box == box]


def _parts(ids: Sequence[str]) -> list[Sequence[str]]:
    """Databases take so many parameters of a statement and no more."""
    return [ids[start : start + MOST_IDS] for start in range(0, len(ids), MOST_IDS)]
