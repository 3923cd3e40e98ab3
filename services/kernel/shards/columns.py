"""The columns of leases, as each service's models have them: owner, epoch and expiry.

Times are the database's, on which alone the machines of all processes agree. On SQLite the tables stay empty.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, String, UniqueConstraint
from sqlalchemy.orm import Mapped, declared_attr, mapped_column


class _LeaseColumns:
    """Columns of both tables. The epoch grows with each new owner; an empty owner has given the lease up."""

    owner: Mapped[str] = mapped_column(String(36))
    address: Mapped[str] = mapped_column(String(255))
    epoch: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ShardLeaseColumns(_LeaseColumns):
    """Shards' table: `class ShardLeaseRow(ShardLeaseColumns, Base): __tablename__ = "shard_leases"`."""

    shard: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:  # noqa: N805 SQLAlchemy's form
        """A change of the epoch is a key's, which waits for the writes that hold the fence."""
        return (UniqueConstraint("shard", "epoch"),)


class NamedLeaseColumns(_LeaseColumns):
    """The table of other leases: `class NamedLeaseRow(NamedLeaseColumns, Base): __tablename__ = "named_leases"`."""

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
