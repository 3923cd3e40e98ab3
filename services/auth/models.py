"""Tables of the auth service. Users' keys lead with the user's id, by which they would be sharded."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.data.columns import JsonDocument, UtcTime
from services.kernel.events.outbox import OutboxColumns
from services.kernel.shards.columns import NamedLeaseColumns


class Base(DeclarativeBase):
    """The schema of the auth database."""


class SessionRow(Base):
    """A login on one device, until its last refresh token has ended."""

    __tablename__ = "sessions"

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    session_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    create_time: Mapped[datetime] = mapped_column(UtcTime)
    last_seen_time: Mapped[datetime] = mapped_column(UtcTime)
    client_address: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(256))
    # The ends of its last refresh token and of its longest living access token.
    expire_time: Mapped[datetime] = mapped_column(UtcTime, index=True)
    access_expire_time: Mapped[datetime] = mapped_column(UtcTime)
    # When the password was entered last; None in sessions of before it was kept: at their beginning.
    auth_time: Mapped[datetime | None] = mapped_column(UtcTime)
    revoke_time: Mapped[datetime | None] = mapped_column(UtcTime)


class RefreshTokenRow(Base):
    """A refresh token, used or not; of the token only its hash."""

    __tablename__ = "refresh_tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(36))
    session_id: Mapped[str] = mapped_column(String(36))
    expire_time: Mapped[datetime] = mapped_column(UtcTime, index=True)
    use_time: Mapped[datetime | None] = mapped_column(UtcTime)


class SessionWatermarkRow(Base):
    """A user's state besides sessions: when they were last ended, and the id of what acts for the user."""

    __tablename__ = "user_marks"

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    # A login that began before this is refused, so none slips in between a suspension and its ending of sessions.
    end_time: Mapped[datetime] = mapped_column(UtcTime)
    # The `sid` of exchanged tokens. Another one after each ending, so that the old ones are dead and new ones are not.
    delegation_id: Mapped[str] = mapped_column(String(36))


class RevocationRow(Base):
    """The id of a session or an API key that is dead before its tokens end."""

    __tablename__ = "revocations"

    revoked_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    expire_time: Mapped[datetime] = mapped_column(UtcTime, index=True)
    # In the order of commits, by which replicas find what others revoked.
    number: Mapped[int] = mapped_column(BigInteger, index=True, server_default="0")


class ApiKeyRow(Base):
    """An API key; of its secret only the hash."""

    __tablename__ = "api_keys"
    __table_args__ = (
        UniqueConstraint("secret_hash", name="uq_api_keys_secret_hash"),
        Index("ix_api_keys_expire_time", "expire_time"),
    )

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    api_key_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    secret_hash: Mapped[str] = mapped_column(String(64))
    display_name: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(JsonDocument)
    allowed_cidrs: Mapped[list[str]] = mapped_column(JsonDocument)
    create_time: Mapped[datetime] = mapped_column(UtcTime)
    expire_time: Mapped[datetime | None] = mapped_column(UtcTime)
    last_used_time: Mapped[datetime | None] = mapped_column(UtcTime)
    revoke_time: Mapped[datetime | None] = mapped_column(UtcTime)
    # The key that made it; None: a session did.
    parent_id: Mapped[str | None] = mapped_column(String(36))


class SecondFactorRow(Base):
    """A user's authenticator app; of its secret only what the keys' folder can open."""

    __tablename__ = "second_factors"

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    sealed_secret: Mapped[str] = mapped_column(String(256))
    create_time: Mapped[datetime] = mapped_column(UtcTime)
    # It counts from then on; None: the app has not proved yet that it has the secret.
    confirm_time: Mapped[datetime | None] = mapped_column(UtcTime)
    # The time step of the last code that was used: no code is good twice (RFC 6238 §5.2).
    last_step: Mapped[int] = mapped_column(BigInteger)


class RecoveryCodeRow(Base):
    """A recovery code that is not used yet; of the code only its hash."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)


class KnownNetworkRow(Base):
    """A network that a user has logged in from."""

    __tablename__ = "known_networks"

    user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    network: Mapped[str] = mapped_column(String(64), primary_key=True)
    last_login_time: Mapped[datetime] = mapped_column(UtcTime, index=True)


class NamedLeaseRow(NamedLeaseColumns, Base):
    """Leases of duties that one replica has at a time: owner, epoch and expiry."""

    __tablename__ = "named_leases"


class OutboxRow(OutboxColumns, Base):
    """Events that are not published yet."""

    __tablename__ = "outbox"
