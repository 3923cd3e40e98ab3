"""Tables of the strategy service. Keys lead with the owner, by whom they would be sharded."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Boolean, Float, Index, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.data.columns import Amount, JsonDocument, UtcTime
from services.kernel.events.outbox import OutboxColumns
from services.kernel.shards.columns import NamedLeaseColumns, ShardLeaseColumns

NO_STATISTIC = -1e308
"""Sorts last where the largest comes first; no database agrees with another on where NULL goes."""


class Base(DeclarativeBase):
    """The schema of the strategy database."""


class StrategyRow(Base):
    """A strategy. `request_id` is the strategy's own id where the client gave none: it is unique per owner."""

    __tablename__ = "strategies"
    __table_args__ = (
        Index("strategies_by_request", "user_id", "request_id", unique=True),
        Index("strategies_by_status", "status"),
    )

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    strategy_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    request_id: Mapped[str] = mapped_column(String(64))
    display_name: Mapped[str] = mapped_column(String(100))
    class_name: Mapped[str] = mapped_column(String(128))
    symbol: Mapped[str] = mapped_column(String(40))
    account_id: Mapped[str] = mapped_column(String(36))
    parameters: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    variables: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    status: Mapped[str] = mapped_column(String(16))
    position: Mapped[Decimal] = mapped_column(Amount)
    error: Mapped[str] = mapped_column(Text)
    ran: Mapped[bool] = mapped_column(Boolean)
    starter: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    create_time: Mapped[datetime] = mapped_column(UtcTime)
    update_time: Mapped[datetime] = mapped_column(UtcTime)


class LogRow(Base):
    """A line of a strategy's log; the oldest are deleted."""

    __tablename__ = "strategy_logs"

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    strategy_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    level: Mapped[str] = mapped_column(String(8))
    message: Mapped[str] = mapped_column(Text)
    create_time: Mapped[datetime] = mapped_column(UtcTime)


class ClassesRow(Base):
    """The last report of the classes that there are: one row, so that they are known at once after a restart."""

    __tablename__ = "strategy_classes"

    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    fingerprint: Mapped[str] = mapped_column(String(64))
    classes: Mapped[list[dict[str, Any]]] = mapped_column(JsonDocument)


class ShardLeaseRow(ShardLeaseColumns, Base):
    """Lease of a shard: the replica that runs the strategies and jobs of its users."""

    __tablename__ = "shard_leases"


class NamedLeaseRow(NamedLeaseColumns, Base):
    """Leases of duties that one replica has at a time: owner, epoch and expiry."""

    __tablename__ = "named_leases"


class OutboxRow(OutboxColumns, Base):
    """Events on their way."""

    __tablename__ = "outbox"


class JobRow(Base):
    """A job. `request_id` is its own id where the client gave none: it is unique per owner and kind."""

    __tablename__ = "strategy_jobs"
    __table_args__ = (
        Index("strategy_jobs_by_request", "user_id", "kind", "request_id", unique=True),
        Index("strategy_jobs_by_status", "status"),
        Index("strategy_jobs_by_end", "end_time"),
    )

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    job_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    request_id: Mapped[str] = mapped_column(String(64))
    display_name: Mapped[str] = mapped_column(String(128))
    class_name: Mapped[str] = mapped_column(String(128))
    symbol: Mapped[str] = mapped_column(String(40))
    setup: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    status: Mapped[str] = mapped_column(String(16))
    done: Mapped[int] = mapped_column(Integer)
    total: Mapped[int] = mapped_column(Integer)
    elapsed_s: Mapped[float] = mapped_column(Float)
    failure: Mapped[str] = mapped_column(String(32))
    error: Mapped[str] = mapped_column(Text)
    error_detail: Mapped[str] = mapped_column(Text)
    result: Mapped[dict[str, Any]] = mapped_column("found", JsonDocument)
    sharpe_ratio: Mapped[float] = mapped_column(Float)
    total_return: Mapped[float] = mapped_column(Float)
    create_time: Mapped[datetime] = mapped_column(UtcTime)
    run_time: Mapped[datetime | None] = mapped_column(UtcTime)
    end_time: Mapped[datetime | None] = mapped_column(UtcTime)
    attempts: Mapped[int] = mapped_column(Integer)
