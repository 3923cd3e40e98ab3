"""A producer and a consuming service with databases of their own, for tests of any transport."""

import asyncio
import contextlib

from sqlalchemy import Integer, String, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.clock import Clock
from services.kernel.data.database import Database
from services.kernel.events.inbox import Inbox, InboxColumns
from services.kernel.events.outbox import Outbox, OutboxColumns

KEY = "user.registered"


class ProducerBase(DeclarativeBase):
    pass


class OutboxRow(OutboxColumns, ProducerBase):
    __tablename__ = "outbox"


class ConsumerBase(DeclarativeBase):
    pass


class InboxRow(InboxColumns, ConsumerBase):
    __tablename__ = "inbox"


class AppliedRow(ConsumerBase):
    """A row for each time that the consumer applied an event."""

    __tablename__ = "applied"

    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(40))


class Producer:
    """An outbox with its relay."""

    def __init__(self, transport, url):
        """`url` is a database's, with its `{name}`."""
        self.database = Database(url.format(name="producer"), ProducerBase)
        self.outbox = Outbox("user", self.database, OutboxRow, transport, Clock())

    def event(self, user_id, name):
        event = self.outbox.event(KEY)
        event.user_registered.user_id, event.user_registered.username = user_id, name
        return event

    async def add(self, *events):
        """Events, given as (user, name), in a transaction of their own."""
        await self.database.writer().submit([self.outbox.write(self.event(*one)) for one in events])
        self.outbox.wake()

    async def waiting(self):
        async with self.database.repositories(lambda session: session).read() as session:
            return (await session.scalars(select(OutboxRow))).all()


class Consumer:
    """The service `trading` with an inbox: notes what it applies, in the transaction that marks it as applied."""

    def __init__(self, transport, url):
        self.database = Database(url.format(name="consumer"), ConsumerBase)
        self.inbox = Inbox("trading", self.database, InboxRow, transport, Clock())
        self.inbox.subscribe(KEY, self.apply)
        # Errors by name, raised before anything is written, or after all of it.
        self.refused, self.broken = {}, {}
        self.asked = []

    async def apply(self, event, receipt):
        user = event.user_registered
        self.asked.append(user.username)
        if error := self.refused.get(user.username):
            raise error
        async with self.database.repositories(lambda session: session)() as session:
            await session.execute(insert(AppliedRow).values(user_id=user.user_id, name=user.username))
            await receipt.add(session)
            if error := self.broken.get(user.username):
                raise error

    async def applied(self, user_id=None):
        query = select(AppliedRow.name).order_by(AppliedRow.number)
        if user_id is not None:
            query = query.where(AppliedRow.user_id == user_id)
        async with self.database.repositories(lambda session: session).read() as session:
            return list((await session.scalars(query)).all())

    async def inbox_rows(self, state):
        async with self.database.repositories(lambda session: session).read() as session:
            query = select(InboxRow).where(InboxRow.state == state).order_by(InboxRow.position)
            return (await session.scalars(query)).all()


@contextlib.asynccontextmanager
async def running(*loops):
    """Run background loops while the block runs."""
    tasks = [asyncio.ensure_future(loop()) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
