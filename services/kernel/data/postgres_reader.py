"""PostgreSQL's reader: statements that the driver keeps prepared, by the connections of units of work."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncEngine

from services.kernel.data.reads import Query, compile_query
from services.kernel.data.repositories import is_away, kernel_error, unreachable
from services.kernel.errors import Unavailable


class PostgresReader:
    """The reader of one database; `Reader` says what it promises."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    def prepare(self, select: Select[str]) -> Query:
        """The statement of a SELECT; see `Reader`."""
        return compile_query(select, self._engine.dialect)

    async def fetch(self, query: Query, values: Mapping[str, Any]) -> Sequence[str]:
        """The texts of the rows; see `Reader`."""
        try:
            async with self._engine.connect() as connection:
                # Below SQLAlchemy: one statement is a transaction of its own, and its rows need no types of ours.
                driver: Any = (await connection.get_raw_connection()).driver_connection
                return [row[0] for row in await driver.fetch(query.sql, *query.values(values))]
        except OSError as error:
            raise unreachable(error) from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if isinstance(error, asyncpg.InterfaceError) or is_away(str(error.sqlstate or "")):
                raise Unavailable("the database does not answer") from error
            raise
        except Exception as error:
            if word := kernel_error(error):
                raise word from error
            raise

    async def close(self) -> None:
        """Nothing: the connections are those of the units of work."""
