"""Tables of the risk service. Keys lead with the user's id, by which they would be sharded."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, Boolean, Index, Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.data.columns import Amount, JsonDocument, UtcTime
from services.kernel.events.outbox import OutboxColumns
from services.kernel.shards.columns import NamedLeaseColumns


class Base(DeclarativeBase):
    """The schema of the risk database."""


class LimitsRow(Base):
    """Limits of one account that differ from the defaults, or of a user, where both ids are the user's."""

    __tablename__ = "account_limits"

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    granted: Mapped[dict[str, str]] = mapped_column(JsonDocument)
    own: Mapped[dict[str, str]] = mapped_column(JsonDocument)
    # Since when an administrator limits it, nanoseconds: accounts that its user opened later have these limits, too.
    # 0: not known, or never.
    granted_time_ns: Mapped[int] = mapped_column(BigInteger, server_default="0")


class StateRow(Base):
    """The trading state of an account, or of everybody when both ids are empty, or of a user when both are the user's.

    Of an account there may be two: its owner's, and an administrator's, which has no user_id.
    """

    __tablename__ = "trading_states"

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    state: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str] = mapped_column(String(500))
    updated_by: Mapped[str] = mapped_column(String(64))
    update_time: Mapped[datetime] = mapped_column(UtcTime)


class DayRow(Base):
    """An account's profit and loss of the trading day."""

    __tablename__ = "daily_pnl"

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    trading_day: Mapped[int] = mapped_column(Integer)
    baseline: Mapped[Decimal] = mapped_column(Amount)
    last_total: Mapped[Decimal] = mapped_column(Amount)
    loss_reached: Mapped[bool] = mapped_column(Boolean)


class CountRow(Base):
    """Counts of an account in a symbol on one trading day."""

    __tablename__ = "day_counts"

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    symbol: Mapped[str] = mapped_column(String(32), primary_key=True)
    trading_day: Mapped[int] = mapped_column(Integer, primary_key=True)
    orders: Mapped[int] = mapped_column(Integer)
    cancels: Mapped[int] = mapped_column(Integer)
    replaces: Mapped[int] = mapped_column(Integer)


class FeedRow(Base):
    """Position up to which trading's stream is in `day_counts`.

    The one row of the stream `trading`; where replicas share the users, one of `trading/N` for each shard N, with the
    epoch of the shard's owner, who alone may write what is of its users.
    """

    __tablename__ = "feed_positions"

    stream: Mapped[str] = mapped_column(String(32), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    time_ns: Mapped[int] = mapped_column(BigInteger)
    canceling: Mapped[list[str]] = mapped_column(JsonDocument)
    replacing: Mapped[list[str]] = mapped_column(JsonDocument)
    epoch: Mapped[int] = mapped_column(BigInteger, server_default="0")
    # A sequence of a second ago or more: what came since may count for the orders of the present second.
    rate_sequence: Mapped[int] = mapped_column(BigInteger, server_default="0")


class SettingChangeRow(Base):
    """The number of changes of limits and states so far, in one row: replicas see by it that they have to read them."""

    __tablename__ = "setting_changes"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)


class EventRow(Base):
    """An event; its id sorts by time."""

    __tablename__ = "risk_events"

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    event_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(36))
    reason: Mapped[str] = mapped_column(String(64))
    message: Mapped[str] = mapped_column(String(1000))
    # Not `metadata`: that name is SQLAlchemy's.
    numbers: Mapped[dict[str, str]] = mapped_column(JsonDocument)
    create_time: Mapped[datetime] = mapped_column(UtcTime)

    __table_args__ = (Index("risk_events_by_account", "account_id", "event_id"),)


class NamedLeaseRow(NamedLeaseColumns, Base):
    """Leases of duties that one replica has at a time: owner, epoch and expiry."""

    __tablename__ = "named_leases"


class OutboxRow(OutboxColumns, Base):
    """Events that are not published yet."""

    __tablename__ = "outbox"
