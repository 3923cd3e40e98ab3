"""Replicas of a service that share shards on PostgreSQL, and write what they own, for tests."""

import asyncio
import contextlib
from collections import Counter, defaultdict

from sqlalchemy import BigInteger, Identity, String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.data.database import Database
from services.kernel.data.writes import Fence
from services.kernel.errors import RedFireError
from services.kernel.identifiers import new_id
from services.kernel.shards.columns import NamedLeaseColumns, ShardLeaseColumns
from services.kernel.shards.leased_ownership import LeasedOwnership
from services.kernel.shards.ownership import ALL_SHARDS
from services.kernel.tasks import Tasks


class Base(DeclarativeBase):
    pass


class ShardLease(ShardLeaseColumns, Base):
    __tablename__ = "shard_leases"


class NamedLease(NamedLeaseColumns, Base):
    __tablename__ = "named_leases"


class Written(Base):
    """Rows that owners wrote, in the order of `number`."""

    __tablename__ = "written"
    row_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, Identity())
    shard: Mapped[int]
    epoch: Mapped[int] = mapped_column(BigInteger)


WRITE = Database.insert(Written)


class Replica:
    """A process's part in sharing, within the process of the test."""

    def __init__(self, name: str, database: Database, address: str = "") -> None:
        """`address` is where its process listens, where it does; else the name stands for it."""
        self.name = name
        self.database = database
        self.tasks = Tasks()
        self.shards = LeasedOwnership(database.connect, lambda: address or name, self.tasks)
        self.loaded: set[int] = set()
        self.loads: Counter[int] = Counter()
        self.load_fails = False
        self.failed = 0
        self.shards.on_acquired(self._load)
        self.shards.on_lost(self.loaded.difference_update)

    async def start(self) -> "Replica":
        await self.shards.start()
        return self

    async def kill(self) -> None:
        """End without a word: its connections break."""
        await self.tasks.stop()
        self.shards._holder.table.discard()
        self.shards._holder._until = 0

    async def _load(self, shards) -> None:
        await asyncio.sleep(0)
        if self.load_fails:
            self.failed += 1
            raise RuntimeError("it cannot be loaded")
        self.loaded |= set(shards)
        self.loads.update(list(shards))

    async def write(self, shard: int) -> bool:
        """Write as the owner; whether it was written."""
        epoch = self.shards.owns(shard)
        if epoch is None:
            return False
        row = {"row_id": new_id(), "shard": shard, "epoch": epoch}
        try:
            await self.database.writer().submit([(WRITE, row)], fences=[Fence(shard, epoch)])
        except RedFireError:
            return False
        return True

    async def write_on(self) -> None:
        """Write for all shards, again and again, until cancelled."""
        while True:
            with contextlib.suppress(RedFireError):
                await asyncio.gather(*(self.write(shard) for shard in ALL_SHARDS))
            await asyncio.sleep(0.01)


def owners(replicas) -> dict[int, list[str]]:
    """Owners' names by shard."""
    return {shard: [one.name for one in replicas if one.shards.owns(shard) is not None] for shard in ALL_SHARDS}


def is_shared(*replicas) -> bool:
    """True when each shard has one owner, and each owner its share."""
    sizes = [len(one.shards.owned()) for one in replicas]
    return all(len(names) == 1 for names in owners(replicas).values()) and max(sizes) - min(sizes) <= 1


async def epochs_written(database: Database) -> dict[int, list[int]]:
    """Epochs by shard, in the order in which they were written."""
    epochs = defaultdict(list)
    async with database.repositories(lambda session: session).read() as session:
        for row in await session.scalars(select(Written).order_by(Written.number)):
            epochs[row.shard].append(row.epoch)
    return epochs
