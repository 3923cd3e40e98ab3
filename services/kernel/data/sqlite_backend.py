"""SQLite files."""

import asyncio
import contextlib
import sqlite3
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import create_async_engine

from services.kernel.data.group_commit import GroupCommitWriter
from services.kernel.data.sqlite_connection import BUSY_TIMEOUT_MS, UnitConnection, set_pragmas
from services.kernel.data.sqlite_reader import SqliteReader
from services.kernel.data.write_turn import WriteTurn
from services.kernel.data.writes import Trail


class SqliteBackend:
    """One file."""

    errors: tuple[type[Exception], ...] = ()

    def __init__(self, url: URL) -> None:
        self._url = url
        self._file = url.database if url.database != ":memory:" else None
        self.engine = create_async_engine(
            url.set(drivername="sqlite+aiosqlite"),
            pool_size=5,
            max_overflow=5,
            connect_args={"async_creator_fn": _connect_unit},
            # Errors end up in logs, and parameters may be hashes of passwords.
            hide_parameters=True,
        )
        self.migration_engine = self.engine
        self._turn = WriteTurn()
        self.turns: AbstractAsyncContextManager[None] = self._turn
        event.listen(self.engine.sync_engine, "begin", _begin)

    async def exists(self) -> bool:
        """Test for the file."""
        return self._file is None or Path(self._file).exists()  # noqa: ASYNC240 one look

    async def ensure(self) -> None:
        """Nothing: to connect makes the file."""

    async def probe(self) -> str | None:
        """Try to write into the file."""
        return await asyncio.to_thread(_probe, self._file) if self._file else ""

    def make_writer(self, trail: Trail) -> GroupCommitWriter:
        """A writer with a thread."""
        return GroupCommitWriter(self._connect_writer, self.engine.dialect, trail, self._turn)

    def make_reader(self) -> SqliteReader:
        """A reader with threads."""
        return SqliteReader(self._connect_reader, self.engine.dialect)

    async def connect(self) -> Any:
        """Refused: what holds a connection shares its database with other processes, and a file has one process."""
        raise RuntimeError("a SQLite file is one process's: it has no connections for leases")

    async def close(self) -> None:
        """Close connections."""
        await self.engine.dispose()

    def _connect_writer(self) -> sqlite3.Connection:
        # Used in one thread, closed perhaps in another; for each statement of the order path and number of rows.
        connection = sqlite3.connect(
            self._file or ":memory:", isolation_level=None, check_same_thread=False, cached_statements=256
        )
        set_pragmas(connection)
        return connection

    def _connect_reader(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file or ":memory:", isolation_level=None, cached_statements=256)
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA query_only=ON")
        return connection


def _probe(file: str) -> str | None:
    # A new connection each time, since one that is open writes on into a file that was removed or made read-only.
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(file).absolute().as_uri()}?mode=rw", uri=True)) as connection:
            # A number that nothing here uses is set to what it was: a real write, which need not outlive a crash.
            connection.execute("PRAGMA synchronous=OFF")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute(f"PRAGMA user_version={version}")
    except (sqlite3.Error, OSError) as error:
        return None if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY else str(error)
    return ""


def _connect_unit(database: str, **_: Any) -> UnitConnection:
    # The driver's other arguments are those of its own way to connect.
    return UnitConnection(database)


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("redfire_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
