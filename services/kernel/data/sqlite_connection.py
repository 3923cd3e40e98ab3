"""SQLite's connections of units of work: none leaves a file locked, wherever what uses it is cancelled.

A statement that is cancelled is waited for, so that nobody closes a connection while its thread works on it. It is not
interrupted: while rows of another one are left, that ends all that follows, too, and so also a ROLLBACK. To close a
connection ends its transaction first. SQLite keeps a closed connection, and its lock, for as long as somebody holds a
cursor that has rows left: the traceback of a cancelled call does, until the collector of cycles comes by.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import aiosqlite

T = TypeVar("T")
BUSY_TIMEOUT_MS = 5000


class _EndedConnection(sqlite3.Connection):
    """A connection whose transaction ends when it is closed."""

    def close(self) -> None:
        """Close it; once more is nothing, as of any connection."""
        with suppress(sqlite3.Error):
            if self.in_transaction:
                self.execute("ROLLBACK")
        super().close()


class UnitConnection(aiosqlite.Connection):
    """A connection with a thread; its calls end before they are cancelled."""

    _connection: sqlite3.Connection | None

    def __init__(self, database: str) -> None:
        super().__init__(partial(_open, database), iter_chunk_size=64)
        # A thread that waits for a lock does not hold up the process's end.
        self._thread.daemon = True
        self._stopping: asyncio.Future[Any] | None = None

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._running or not self._connection:
            raise ValueError("Connection closed")
        future = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((future, partial(fn, *args, **kwargs)))
        return await through(future)

    async def _connect(self) -> "UnitConnection":
        if self._connection is None:
            future = asyncio.get_running_loop().create_future()
            self._tx.put_nowait((future, self._connector))
            try:
                self._connection = await through(future)
            except BaseException:
                # Opened or not, nobody has it: it goes with the future.
                self.stop()
                raise
        return self

    def stop(self) -> "asyncio.Future[Any] | None":
        """Close it and end the thread; a second stop, which finds the thread gone, is answered with the first's future.

        SQLAlchemy closes the connection of a cancelled statement, and when that is cancelled, too, stops it as well.
        """
        if self._stopping is None:
            self._stopping = super().stop()
        return self._stopping


async def through(future: "asyncio.Future[T]") -> T:
    """Wait for a future to its end, and be cancelled then."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        future.exception()  # seen, whatever it was
        raise cancelled
    return future.result()


def set_pragmas(connection: sqlite3.Connection) -> None:
    """Make a connection one that writes."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _open(database: str) -> sqlite3.Connection:
    # BEGIN is ours: the driver's own would come too late, and readers that turn writers get SQLITE_BUSY.
    connection = sqlite3.connect(database, isolation_level=None, factory=_EndedConnection)
    try:
        set_pragmas(connection)
    except BaseException:
        connection.close()
        raise
    return connection
