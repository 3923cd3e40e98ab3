"""A user, as the service knows one."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class UserStatus(StrEnum):
    """Status of a user: active ones may log in."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True)
class User:
    """A user and their role; the password is no part of it."""

    user_id: str
    username: str
    email: str
    phone: str
    display_name: str
    role: str
    status: UserStatus
    create_time: datetime
    update_time: datetime
    email_verified: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user with the hash of their password, which is never shown."""

    user: User
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class EmailToken:
    """A token that was sent to an address, of which only the hash is kept."""

    token_hash: str
    user_id: str
    email: str
    create_time: datetime
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """New values of a profile; None leaves a field as it is."""

    email: str | None = None
    phone: str | None = None
    display_name: str | None = None


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Filter of users; empty parts match all."""

    query: str = ""
    role: str = ""
    status: UserStatus | None = None


@dataclass(frozen=True, slots=True)
class SessionRevocation:
    """The order to end a user's sessions but one, and perhaps the API keys and the second factor; auth does it."""

    revocation_id: str
    user_id: str
    except_session_id: str = ""
    api_keys: bool = False
    second_factor: bool = False
