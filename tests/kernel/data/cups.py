"""Tables that the tests of writers write, and short words for it."""

import asyncio

from sqlalchemy import ForeignKey, String, UniqueConstraint, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.data.database import Database
from services.kernel.shards.columns import ShardLeaseColumns


class Base(DeclarativeBase):
    pass


class Cup(Base):
    __tablename__ = "cup"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    level: Mapped[int] = mapped_column()


class Sip(Base):
    __tablename__ = "sip"
    number: Mapped[int] = mapped_column(primary_key=True)
    cup: Mapped[str] = mapped_column(String(40), ForeignKey("cup.name"))


class Order(Base):
    """A client's request, unique by the client's own key."""

    __tablename__ = "cup_order"
    __table_args__ = (UniqueConstraint("client", "client_key"),)
    order_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    client: Mapped[str] = mapped_column(String(36))
    client_key: Mapped[str] = mapped_column(String(36))
    status: Mapped[str] = mapped_column(String(10))


class Lease(ShardLeaseColumns, Base):
    __tablename__ = "shard_leases"


INSERT, SIP = Database.insert(Cup), Database.insert(Sip)
UPSERT, UPDATE, DELETE = Database.upsert(Cup, ["name"]), Database.update(Cup, ["name"]), Database.delete(Cup, ["name"])
ORDER = Database.upsert(Order, ["order_id"], fixed=["client", "client_key"])


def cup(name: str, level: int | None = 1):
    return INSERT, {"name": name, "level": level}


def put(name: str, level: int):
    return UPSERT, {"name": name, "level": level}


def order(order_id: str, client_key: str, status: str = "NEW", client: str = "ann"):
    return ORDER, {"order_id": order_id, "client": client, "client_key": client_key, "status": status}


async def levels(database) -> dict[str, int]:
    async with database.repositories(lambda session: session).read() as session:
        return {row.name: row.level for row in (await session.scalars(select(Cup))).all()}


async def orders(database) -> dict[str, tuple[str, str]]:
    async with database.repositories(lambda session: session).read() as session:
        return {row.order_id: (row.client_key, row.status) for row in (await session.scalars(select(Order))).all()}


async def outcomes(*futures) -> list[str]:
    results = await asyncio.gather(*futures, return_exceptions=True)
    return ["done" if outcome is None else type(outcome).__name__ for outcome in results]
