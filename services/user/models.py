"""Tables of the user service. Keys lead with the user's id, by which they would be sharded."""

from datetime import datetime

from sqlalchemy import Boolean, String, UniqueConstraint, false
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.data.columns import UtcTime
from services.kernel.events.outbox import OutboxColumns
from services.kernel.shards.columns import NamedLeaseColumns


class Base(DeclarativeBase):
    """The schema of the user database."""


class UserRow(Base):
    """A user. The `…_key` columns hold what must be unique, without case."""

    __tablename__ = "users"
    # By these names the repository knows which of the two is taken.
    __table_args__ = (
        UniqueConstraint("username_key", name="uq_users_username_key"),
        UniqueConstraint("email_key", name="uq_users_email_key"),
    )

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    username: Mapped[str] = mapped_column(String(50))
    username_key: Mapped[str] = mapped_column(String(50))
    email: Mapped[str] = mapped_column(String(254))
    # None where there is no address: the first administrator's.
    email_key: Mapped[str | None] = mapped_column(String(254))
    email_verified: Mapped[bool] = mapped_column(Boolean, server_default=false())
    phone: Mapped[str] = mapped_column(String(20))
    display_name: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(256))
    create_time: Mapped[datetime] = mapped_column(UtcTime)
    update_time: Mapped[datetime] = mapped_column(UtcTime)


class EmailTokenRow(Base):
    """A token that was sent to an address; of the token only its hash."""

    __tablename__ = "email_tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(36), index=True)
    email: Mapped[str] = mapped_column(String(254))
    create_time: Mapped[datetime] = mapped_column(UtcTime)
    expire_time: Mapped[datetime] = mapped_column(UtcTime, index=True)


class SessionRevocationRow(Base):
    """Sessions that auth has still to end."""

    __tablename__ = "session_endings"

    ending_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(36))
    except_session_id: Mapped[str] = mapped_column(String(64))
    api_keys: Mapped[bool] = mapped_column(Boolean)
    second_factor: Mapped[bool] = mapped_column(Boolean, server_default=false())


class NamedLeaseRow(NamedLeaseColumns, Base):
    """Leases of duties that one replica has at a time: owner, epoch and expiry."""

    __tablename__ = "named_leases"


class OutboxRow(OutboxColumns, Base):
    """Events that are not delivered yet."""

    __tablename__ = "outbox"
