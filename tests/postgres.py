"""A real PostgreSQL server for tests, of Debian's package: made in a temporary folder, stopped by its maker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from deploy.production.postgres import ROLE, LocalPostgres
from services.kernel.data.database import Database
from tests.machine import lacks

__all__ = ["ROLE", "PostgresServer", "close_shared_server", "installed_server", "opened", "shared_server"]


class PostgresServer(LocalPostgres):
    """One server on a free port of 127.0.0.1 that its tests may kill, stop and start again."""

    def __init__(self, fsync: bool = False) -> None:
        """`fsync` is for tests that cut a power cord; a killed process alone loses nothing without it."""
        super().__init__(fsync="on" if fsync else "off", shared_buffers="32MB", autovacuum="off")

    async def connect(self, database: str, role: str = ROLE) -> Any:
        """A connection of a test's own."""
        import asyncpg

        return await asyncpg.connect(host="127.0.0.1", port=self.port, user=role, database=database)


_shared: list[PostgresServer] = []


def shared_server() -> PostgresServer:
    """The server that the tests of a run share; none of them stops it."""
    if not _shared:
        _shared.append(installed_server())
    return _shared[0]


def close_shared_server() -> None:
    """Stop it, at the end of the run."""
    while _shared:
        _shared.pop().close()


def installed_server(**options: Any) -> PostgresServer:
    """A running server. Where PostgreSQL is not installed the test is skipped; under CI it fails."""
    try:
        return PostgresServer(**options)
    except FileNotFoundError as error:
        lacks(str(error))


@asynccontextmanager
async def opened(url: str, base: Any, **options: Any) -> AsyncIterator[Database]:
    """A database with the tables of a base, made where they are not; closed at the end."""
    database = Database(url.replace("{name}", "cups"), base, **options)
    await database.migrate()
    await database.start()
    try:
        yield database
    finally:
        await database.close()
