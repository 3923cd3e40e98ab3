"""SQLite's reader: a few threads, each with a connection, and one hop for a page instead of one for each step."""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Dialect, Select

from services.kernel.data.reads import Query, compile_query
from services.kernel.errors import Unavailable

log = logging.getLogger(__name__)
# Two read at once: one that looks through millions of rows does not stop the others, and more take the interpreter from
# each other.
THREADS = 2
MAX_WAITING = 1000
# The driver gives the interpreter away for each row, and has to get it back from a busy event loop: the rows of a page
# are made one row. JSON texts hold no line feed.
_ONE_ROW = "SELECT group_concat(row_text, char(10)) FROM ({})"

_Job = tuple["asyncio.Future[Sequence[str]]", str, list[Any]]


class SqliteReader:
    """The reader of one SQLite file; `Reader` says what it promises."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], dialect: Dialect) -> None:
        self._connect = connect
        self._dialect = dialect
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting = 0
        self._closed = False
        self._threads: list[threading.Thread] = []

    def prepare(self, select: Select[str]) -> Query:
        """The statement of a SELECT; see `Reader`."""
        return compile_query(select, self._dialect, _ONE_ROW)

    async def fetch(self, query: Query, values: Mapping[str, Any]) -> Sequence[str]:
        """The texts of the rows; see `Reader`."""
        if self._closed or self._waiting >= MAX_WAITING:
            raise Unavailable("the database is closed" if self._closed else "too many reads wait for the database")
        future: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        self._hand_over((future, query.sql, query.values(values)))
        self._waiting += 1
        try:
            return await future
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Read what waits, then stop."""
        self._closed = True
        threads, self._threads = self._threads, []
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            await asyncio.to_thread(thread.join, 10)

    def _hand_over(self, job: _Job) -> None:
        if self._waiting >= len(self._threads) < THREADS:
            thread = threading.Thread(target=self._run, name="list-reader", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put(job)

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while (job := self._jobs.get()) is not None:
            future, sql, values = job
            outcome: Sequence[str] | Exception
            try:
                if connection is None:
                    connection = self._connect()
                outcome = read(connection, sql, values)
            except sqlite3.Error as error:
                _close(connection)
                connection, outcome = None, _word(error)
            except Exception as error:
                outcome = error
            # Not after a cancelled wait: its loop may be closed.
            if not future.cancelled():
                try:
                    future.get_loop().call_soon_threadsafe(_answer, future, outcome)
                except RuntimeError:
                    log.debug("the loop is closed; what was read is dropped")
        _close(connection)


def read(connection: sqlite3.Connection, sql: str, values: Sequence[Any]) -> Sequence[str]:
    """The texts that a statement of `SqliteReader.prepare` reads."""
    ((text,),) = connection.execute(sql, values).fetchall()
    return text.split("\n") if text is not None else ()


def _answer(future: "asyncio.Future[Sequence[str]]", outcome: Sequence[str] | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        with contextlib.suppress(sqlite3.Error):
            connection.close()


def _word(error: sqlite3.Error) -> Exception:
    """The kernel's word for an error; wrong SQL is none of the database's."""
    is_ours = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_ERROR or isinstance(
        error, sqlite3.ProgrammingError
    )
    return error if is_ours else Unavailable(f"the database cannot be used: {error}")
