"""Replicas of a producing service whose outbox one of them publishes, for tests; `python -m … URL` is one more."""

import asyncio
import sys

from redfire.events.v1.events_pb2 import Event
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase

from services.kernel.clock import Clock
from services.kernel.data.database import Database
from services.kernel.errors import Unavailable
from services.kernel.events.outbox import RELAY, Outbox, OutboxColumns
from services.kernel.shards.columns import NamedLeaseColumns
from services.kernel.shards.named_leases import SharedLeases
from services.kernel.tasks import Tasks
from tests.postgres import opened

KEY = "user.registered"


class Base(DeclarativeBase):
    pass


class OutboxRow(OutboxColumns, Base):
    __tablename__ = "outbox"


class NamedLease(NamedLeaseColumns, Base):
    __tablename__ = "named_leases"


class Broker:
    """Notes what all replicas publish: (replica, user, name)."""

    def __init__(self):
        self.published = []

    def names(self, user_id=None):
        return [name for _, user, name in self.published if user_id in (None, user)]

    def publishers(self):
        return {replica for replica, _, _ in self.published}


class Line:
    """A replica's transport to the broker."""

    def __init__(self, broker, replica):
        self.broker, self.replica, self.is_down = broker, replica, False
        self.ready = []

    def carries(self, routing_key):
        return True

    def consume(self, service, routing_key, take):
        """Nothing comes."""

    def on_ready(self, listener):
        self.ready.append(listener)

    async def publish(self, messages):
        if self.is_down:
            raise Unavailable("the broker is away")
        for message in messages:
            user = Event.FromString(message.body).user_registered
            self.broker.published.append((self.replica, user.user_id, user.username))
        await asyncio.sleep(0)
        return [message.event_id for message in messages]


class Replica:
    """A process's part, within the process of the test."""

    def __init__(self, name: str, database: Database, broker: Broker) -> None:
        self.name, self.database, self.tasks = name, database, Tasks()
        self.line = Line(broker, name)
        self.leases = SharedLeases(database.connect, lambda: name, self.tasks)
        self.outbox = Outbox("user", database, OutboxRow, self.line, Clock(), self.leases)
        self.task = self.tasks.supervise("outbox", self.outbox.run)

    @property
    def publishes(self) -> bool:
        return self.leases.epoch(RELAY) is not None

    async def add(self, *events: tuple[str, str]) -> None:
        """Events, given as (user, name), in a transaction of their own."""
        made = []
        for user_id, name in events:
            event = self.outbox.event(KEY)
            event.user_registered.user_id, event.user_registered.username = user_id, name
            made.append(self.outbox.write(event))
        await self.database.writer().submit(made)
        self.outbox.wake()

    async def rows(self) -> int:
        async with self.database.repositories(lambda session: session).read() as session:
            return len((await session.scalars(select(OutboxRow))).all())

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.leases.release()
        await self.tasks.stop()


async def _hold(url: str) -> None:
    """Hold the relay, though nothing gets through, until killed."""
    async with opened(url, Base) as database:
        replica = Replica("process", database, Broker())
        replica.line.is_down = True
        while not replica.publishes:
            await replica.leases.changed(1.0)
        print("holds", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_hold(sys.argv[1]))
