"""Sessions and what belongs to them, as the service knows them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


@dataclass(frozen=True, slots=True)
class Client:
    """Address and user agent of a caller."""

    address: str
    user_agent: str
    device_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class AuthUser:
    """A user as auth needs it."""

    user_id: str
    role: str
    active: bool
    username: str = ""
    # The e-mail address has to be verified before a login.
    must_verify_email: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """A login on one device."""

    user_id: str
    session_id: str
    create_time: datetime
    last_seen_time: datetime
    client_address: str
    user_agent: str
    expire_time: datetime
    access_expire_time: datetime
    # When the password was entered last.
    auth_time: datetime
    revoke_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token without the token itself."""

    user_id: str
    session_id: str
    expire_time: datetime
    used: bool


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of a login or refresh, which no representation shows."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in_s: int
    refresh_expires_in_s: int
    session_id: str
    # A second factor is demanded, and there is none.
    must_enroll: bool = False
    device_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ExchangedToken:
    """An access token for a service that acts for a user."""

    access_token: str = field(repr=False)
    expires_in_s: int


@dataclass(frozen=True, slots=True)
class SessionWatermark:
    """Time at which a user's sessions were last ended, and the session id of what acts for the user."""

    end_time: datetime
    delegation_id: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """A session or API key that is revoked; after `expire_time` its tokens have expired anyway."""

    revoked_id: str
    expire_time: datetime


class WatchControlMessage(Enum):
    """Items of a stream of revocations besides revocations."""

    SNAPSHOT_COMPLETE = "snapshot_complete"
    HEARTBEAT = "heartbeat"
