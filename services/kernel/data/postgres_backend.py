"""PostgreSQL databases, through asyncpg."""

import asyncio
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import asyncpg
from sqlalchemy import URL, NullPool, event, text
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine

from services.kernel.data.backend import PostgresOptions
from services.kernel.data.postgres_reader import PostgresReader
from services.kernel.data.postgres_writer import PostgresWriter
from services.kernel.data.writes import Trail

MAINTENANCE_DATABASE = "postgres"
FENCES_HELD_S = 2.5
"""Longest time that a writer's transaction may do nothing: less than what is left of a lease that was not renewed."""


class PostgresBackend:
    """One database of a server."""

    errors: tuple[type[Exception], ...] = (asyncpg.PostgresError, asyncpg.InterfaceError)

    def __init__(self, url: URL, options: PostgresOptions) -> None:
        self._database = url.database or ""
        timeout_ms = str(int(options.statement_timeout_s * 1000))
        arguments: dict[str, Any] = {
            "timeout": options.connect_timeout_s,
            # The server gives up first, unless it is out of reach.
            "command_timeout": options.statement_timeout_s + options.connect_timeout_s,
            "server_settings": {
                "application_name": "redfire",
                "statement_timeout": timeout_ms,
                # The server ends what a client has forgotten, and what waits for one that is gone.
                "idle_in_transaction_session_timeout": timeout_ms,
                "tcp_keepalives_idle": "10",
                "tcp_keepalives_interval": "5",
                "tcp_keepalives_count": "3",
            },
        }
        # To make a database or to migrate it takes as long as it takes, also to wait for another that does.
        patient = {"command_timeout": None, "server_settings": _without_timeouts(arguments["server_settings"])}
        # Errors end up in logs, and parameters may be hashes of passwords.
        make = partial(create_async_engine, url.set(drivername="postgresql+asyncpg"), hide_parameters=True)
        self.engine = make(
            pool_size=options.pool_size,
            max_overflow=options.pool_size,
            pool_timeout=options.connect_timeout_s,
            connect_args=arguments,
        )
        self.migration_engine = make(poolclass=NullPool, connect_args={**arguments, **patient})
        self.turns: AbstractAsyncContextManager[None] = asyncio.Lock()
        event.listen(self.engine.sync_engine, "checkout", _replace_lost)
        self._arguments: dict[str, Any] = {**self.engine.dialect.create_connect_args(url)[1], **arguments}
        self._patient = patient

    async def exists(self) -> bool:
        """Test for the database. Raises what a server that does not answer raises."""
        try:
            connection = await self._connect()
        except asyncpg.InvalidCatalogNameError:
            return False
        await connection.close(timeout=1)
        return True

    async def ensure(self) -> None:
        """Make the database unless it is there; the role needs CREATEDB."""
        if await self.exists():
            return
        connection = await self._connect(database=MAINTENANCE_DATABASE, **self._patient)
        quoted = '"' + self._database.replace('"', '""') + '"'
        # Texts sort by their bytes, as in SQLite and in Python.
        options = "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
        try:
            await connection.execute(f"CREATE DATABASE {quoted} {options}")
        except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            pass  # by another migration at the same time
        finally:
            await connection.close(timeout=1)

    async def probe(self) -> str | None:
        """Ask whether it can be written."""
        try:
            async with self.engine.connect() as connection:
                is_read_only = await connection.scalar(_IS_READ_ONLY)
        except PoolTimeout:
            return None
        except (DBAPIError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return " ".join(str(getattr(error, "orig", None) or error).split()) or type(error).__name__
        return "it is read-only" if is_read_only else ""

    def make_writer(self, trail: Trail) -> PostgresWriter:
        """A writer with a connection of its own."""
        return PostgresWriter(self._connect_writer, self.engine.dialect, trail)

    async def connect(self) -> Any:
        """A connection besides the pool's."""
        return await self._connect()

    def make_reader(self) -> PostgresReader:
        """A reader by the connections of units of work."""
        return PostgresReader(self.engine)

    async def close(self) -> None:
        """Close connections."""
        await self.engine.dispose()

    async def _connect_writer(self) -> Any:
        # A process that stands still holds its fences no longer than its leases.
        short = {"idle_in_transaction_session_timeout": str(int(FENCES_HELD_S * 1000))}
        return await self._connect(server_settings={**self._arguments["server_settings"], **short})

    async def _connect(self, **other: Any) -> Any:
        # For each statement of the order path; those of a dozen tables are long.
        kept = {"statement_cache_size": 256, "max_cached_statement_lifetime": 0, "max_cacheable_statement_size": 0}
        return await asyncpg.connect(**{**self._arguments, **kept, **other})


def _without_timeouts(settings: dict[str, str]) -> dict[str, str]:
    return {**settings, "statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}


def _replace_lost(connection: Any, record: Any, proxy: Any) -> None:
    """Replace the pool's connections after a restart of the server; costs no round trip, as a ping would."""
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError("the connection was lost")


_IS_READ_ONLY = text("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool")
