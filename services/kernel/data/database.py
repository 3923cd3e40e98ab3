"""One service's database: units of work for the slow paths, the group-commit writer for the hot one.

SQLite files in the data folder by default. Nothing outside this file and `group_commit` knows which it is.

A version that only adds to the tables starts on the data of the one before: tables, indexes, and columns that may be
NULL or have a `server_default` are added at start. Any other difference stops the start.
"""

import asyncio
import contextlib
import functools
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, Connection, Engine, Table, create_engine, event, insert, inspect, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.schema import CreateColumn
from sqlalchemy.sql.dml import Insert

from services.kernel.data.group_commit import GroupCommitWriter
from services.kernel.errors import StartError

log = logging.getLogger(__name__)
R = TypeVar("R")
BUSY_TIMEOUT_MS = 5000
NAMED = 3  # differences that an error names


class Repositories(Generic[R]):
    """Makes repositories, each on a transaction of its own: `async with orders() as repository`."""

    def __init__(self, engine: AsyncEngine, make: Callable[[AsyncSession], R]) -> None:
        self._engine = engine
        self._make = make

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[R]:
        """A repository that may write; commits on clean exit, rolls back when the block raises."""
        async with AsyncSession(self._engine, expire_on_commit=False, autoflush=True) as session:
            await session.connection(execution_options={"redfire_write": True})
            try:
                yield self._make(session)
                await session.commit()
            except BaseException:
                await asyncio.shield(session.rollback())
                raise

    @asynccontextmanager
    async def read(self) -> AsyncIterator[R]:
        """A repository that only reads, at one moment's state."""
        async with AsyncSession(self._engine, expire_on_commit=False, autoflush=False) as session:
            yield self._make(session)


class Database:
    """A service's tables, made when it starts."""

    def __init__(self, url: str, base: type[DeclarativeBase]) -> None:
        self._url = make_url(url)
        self._metadata = base.metadata
        self.dialect = self._url.get_backend_name()
        self._engine = create_async_engine(
            self._url.set(drivername="sqlite+aiosqlite" if self.dialect == "sqlite" else "postgresql+asyncpg"),
            pool_size=5,
            max_overflow=5,
            # Errors end up in logs, and parameters may be hashes of passwords.
            hide_parameters=True,
        )
        if self.dialect == "sqlite":
            _prepare_sqlite(self._engine.sync_engine)
            event.listen(self._engine.sync_engine, "connect", _stop_thread_once)
        self.writable = True
        """Outcome of the last `probe`: the database can be written."""
        self._writer: GroupCommitWriter | None = None
        self._writer_engine: Engine | None = None

    async def start(self) -> None:
        """Make or extend the tables. Raises StartError when those there are of another version, or unreadable."""
        try:
            differences = await asyncio.to_thread(self._make_tables)
        except (DBAPIError, OSError) as error:
            reason = getattr(error, "orig", None) or error
            raise StartError(f"database {self.name}: {' '.join(str(reason).split())}") from None
        if differences:
            named = ", ".join(differences[:NAMED])
            more = f" and {len(differences) - NAMED} more" if len(differences) > NAMED else ""
            raise StartError(
                f"database {self.name} was made by another version of RedFire ({named}{more}): "
                "start the version that made it, or move the data folder away to begin anew"
            )

    @property
    def name(self) -> str:
        """Name for people: the file, or the address without its password."""
        if self.dialect == "sqlite":
            return self._url.database or ":memory:"
        return self._url.render_as_string(hide_password=True)

    def probe(self) -> None:
        """Try to write, and keep in `writable` what came of it; a database that is only busy stays as it was. Blocks.

        A new connection each time, since one that is open writes on into a file that was removed or made read-only.
        """
        file = self._url.database
        if self.dialect != "sqlite" or not file or file == ":memory:":
            return
        try:
            with contextlib.closing(
                sqlite3.connect(f"{Path(file).absolute().as_uri()}?mode=rw", uri=True)
            ) as connection:
                # A number that nothing here uses is set to what it was: a real write, which need not outlive a crash.
                connection.execute("PRAGMA synchronous=OFF")
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                connection.execute(f"PRAGMA user_version={version}")
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                return
            if self.writable:
                log.error("the database cannot be written", extra={"database": self.name, "error": str(error)})
            self.writable = False
        else:
            if not self.writable:
                log.info("the database can be written again", extra={"database": self.name})
            self.writable = True

    async def close(self) -> None:
        """Commit what waits and close."""
        if self._writer is not None:
            await self._writer.close()
        if self._writer_engine is not None:
            self._writer_engine.dispose()
        await self._engine.dispose()

    def repositories(self, repository: Callable[[AsyncSession], R]) -> Repositories[R]:
        """Units of work with a repository."""
        return Repositories(self._engine, repository)

    def writer(self) -> GroupCommitWriter:
        """The one writer of the hot path; every call answers the same."""
        if self._writer is None:
            self._writer = GroupCommitWriter(self._connect_writer)
        return self._writer

    def upsert(self, model: type[DeclarativeBase], key: Sequence[str], fixed: Sequence[str] = ()) -> Insert:
        """INSERT … ON CONFLICT (key) DO UPDATE of all other columns but `fixed` ones; made once, at start."""
        table = model.__table__
        assert isinstance(table, Table)
        build = postgresql.insert if self.dialect == "postgresql" else sqlite.insert
        statement = build(table)
        others = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in (*key, *fixed)}
        if not others:
            return statement.on_conflict_do_nothing(index_elements=list(key))
        return statement.on_conflict_do_update(index_elements=list(key), set_=others)

    @staticmethod
    def insert(model: type[DeclarativeBase]) -> Insert:
        """INSERT of all columns."""
        table = model.__table__
        assert isinstance(table, Table)
        return insert(table)

    def _make_tables(self) -> list[str]:
        with self._connect_writer() as connection:
            differences = self._differences(connection)
            if not differences:
                self._extend(connection)
                connection.commit()
        return differences

    def _extend(self, connection: Connection) -> None:
        """Make what is missing: tables, columns that existing rows have a value for, indexes."""
        inspector = inspect(connection)
        quote = connection.dialect.identifier_preparer.format_table
        for table in self._metadata.sorted_tables:
            if not inspector.has_table(table.name):
                continue
            there = {column["name"] for column in inspector.get_columns(table.name)}
            for column in table.columns:
                if column.name not in there:
                    definition = CreateColumn(column).compile(dialect=connection.dialect)
                    connection.exec_driver_sql(f"ALTER TABLE {quote(table)} ADD COLUMN {definition}")
            for index in table.indexes:
                index.create(connection, checkfirst=True)
        self._metadata.create_all(connection)

    def _differences(self, connection: Connection) -> list[str]:
        """The columns by which tables that are there differ from ours, save those that can be added."""
        inspector = inspect(connection)
        differences = []
        for table in self._metadata.sorted_tables:
            if inspector.has_table(table.name):
                there = {column["name"] for column in inspector.get_columns(table.name)}
                ours = set(table.columns.keys())
                missing = [name for name in sorted(ours - there) if not _can_be_added(table.columns[name])]
                differences += [f"{table.name}.{name} is missing" for name in missing]
                differences += [f"{table.name}.{name} is unknown" for name in sorted(there - ours)]
        return differences

    def _connect_writer(self) -> Connection:
        # A synchronous engine in a thread of its own: aiosqlite's hop per cursor call costs ten times the work.
        if self._writer_engine is None:
            self._writer_engine = create_engine(
                self._url.set(drivername="sqlite"),
                # For each statement of the order path with each number of rows.
                connect_args={"check_same_thread": False, "cached_statements": 256},
                hide_parameters=True,
            )
            _prepare_sqlite(self._writer_engine)
        return self._writer_engine.connect().execution_options(redfire_write=True)


def _can_be_added(column: Column[Any]) -> bool:
    return not column.primary_key and (bool(column.nullable) or column.server_default is not None)


def _stop_thread_once(connection: Any, _: object) -> None:
    """Answer all stops of a connection's thread with the first one's future: a second stop finds the thread gone.

    SQLAlchemy closes the connection of a cancelled statement, and when that is cancelled, too, stops it as well. The
    close would then never return, nor would the process end (aiosqlite 0.22, SQLAlchemy 2.1).
    """
    driver = connection.driver_connection
    driver.stop = functools.cache(driver.stop)


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        # The driver's own BEGIN would come too late: readers that turn writers get SQLITE_BUSY.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("redfire_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
