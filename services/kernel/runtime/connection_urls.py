"""Checks of the URLs in settings: of databases, of RabbitMQ and of Redis."""

from urllib.parse import SplitResult, urlsplit

DATABASE_SCHEMES = ("sqlite:///", "postgresql+asyncpg://")
# Instead of what the parsers say: the part that they cannot read may be one of a password.
UNREADABLE = "it is no address; special characters of a password are written as %XX"


def check_database_url(value: str) -> str:
    """Return the URL as it is. Raises ValueError where it is none of a supported database."""
    if not value.startswith(DATABASE_SCHEMES):
        raise ValueError("sqlite:///… or postgresql+asyncpg://… is needed")
    # Imported where it is needed alone: it takes longer than all else here.
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(value)
    except (ValueError, ArgumentError):
        raise ValueError(UNREADABLE) from None
    return value


def split_server_url(url: str, schemes: tuple[str, ...], needed: str) -> SplitResult:
    """Split the URL of a server, which may be empty. Raises ValueError: `needed` where its scheme is none of these."""
    if url and not url.startswith(schemes):
        raise ValueError(needed)
    try:
        address = urlsplit(url)
        _ = address.port  # raises where there is no number
    except ValueError:
        raise ValueError(UNREADABLE) from None
    if address.fragment:
        raise ValueError(UNREADABLE)
    return address
