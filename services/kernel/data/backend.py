"""The interface of a kind of database to `Database`, and PostgreSQL's options."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from services.kernel.data.reads import Reader
from services.kernel.data.writes import Trail, Writer

WRITE_LOCK, MIGRATION_LOCK = 0x5246_0001, 0x5246_0002
"""Advisory locks: of units of work that write, and of migrations."""


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    """Options of connections; `pool_size`, and as many more at times, are of units of work."""

    pool_size: int = 5
    connect_timeout_s: float = 5.0
    statement_timeout_s: float = 30.0


class Backend(Protocol):
    """One database of a kind."""

    engine: AsyncEngine
    """Of units of work."""
    migration_engine: AsyncEngine
    """Of what makes and migrates tables, however long it takes."""
    turns: AbstractAsyncContextManager[None]
    """The turn to write, entered by each unit of work: who waits for it does so without a connection."""
    errors: tuple[type[Exception], ...]
    """Errors that connecting raises, besides SQLAlchemy's."""

    async def exists(self) -> bool:
        """Test for the database."""

    async def ensure(self) -> None:
        """Make the database unless it is there."""

    async def probe(self) -> str | None:
        """Try to write: empty when it worked, else why not; None when it is only busy."""

    async def connect(self) -> Any:
        """A connection of the driver's."""

    def make_writer(self, trail: Trail) -> Writer:
        """A writer of the hot path, and of the records of what it writes."""

    def make_reader(self) -> Reader:
        """A reader of lists."""

    async def close(self) -> None:
        """Close connections, the writer's excepted."""
