"""PostgreSQL's settings hold for each kind of connection: time of a statement, connections kept, time to get one."""

import asyncio
import itertools

import pytest
from sqlalchemy import select, text

from services import registry
from services.commands.migrate import database_of
from services.kernel.data.backend import PostgresOptions
from services.kernel.data.database import Database
from services.kernel.data.reads import RowText
from services.kernel.errors import Unavailable
from services.kernel.runtime import settings as kernel_settings
from tests.kernel.data.cups import Base, Cup, cup, levels, outcomes, put
from tests.postgres import opened
from tests.waiting import until

SHORT = PostgresOptions(connect_timeout_s=2, statement_timeout_s=2)
SMALL = PostgresOptions(pool_size=1, connect_timeout_s=2)
_names = itertools.count(1)


@pytest.fixture
def name():
    return f"settings{next(_names)}"


@pytest.fixture
async def database(postgres, name, request):
    async with opened(postgres.url(name), Base, options=request.param) as cup_database:
        yield cup_database


def options(value):
    return pytest.mark.parametrize("database", [value], indirect=True, ids=[""])


async def test_what_the_settings_say_is_what_connections_have(postgres):
    values = {"pool_size": 3, "connect_timeout_s": 2.5, "statement_timeout_s": 7.0}
    flags = {"database": {"url": postgres.url("settings_{name}_db"), **values}}
    database = database_of(kernel_settings.load(registry.sections(), flags=flags, environ={}), "user")
    await database.migrate()
    try:
        async with database.repositories(lambda session: session)() as session:
            assert await session.scalar(text("SHOW statement_timeout")) == "7s"
        own = await database.connect()
        assert await own.fetchval("SHOW statement_timeout") == "7s"
        await own.close()
        assert (database._engine.pool.size(), database._engine.pool.timeout()) == (3, 2.5)
    finally:
        await database.close()


@options(SHORT)
async def test_a_statement_that_takes_too_long_is_unavailable_on_each_kind_of_connection(database, postgres, name):
    writer, reader, unit = database.writer(), database.reader(), database.repositories(lambda session: session)
    await writer.submit([cup("a", 1)])
    query = reader.prepare(select(RowText(Cup.name)))

    async def change():
        async with unit() as session:
            await session.execute(select(Cup).with_for_update())

    other = await postgres.connect(name)
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE cup IN ACCESS EXCLUSIVE MODE")
            waiting = writer.submit([put("a", 2)]), change(), levels(database), reader.fetch(query, {})
            assert await outcomes(*waiting) == ["Unavailable"] * len(waiting)
        # What comes then waits for nothing that is left of it.
        assert await outcomes(writer.submit([put("a", 3)]), change()) == ["done"] * 2
        assert await levels(database) == {"a": 3}
        assert await reader.fetch(query, {}) == ['["a"]']
    finally:
        await other.close()


@options(SMALL)
async def test_no_more_connections_than_the_pool_has_and_who_gets_none_is_unavailable(database, postgres, name):
    await database.writer().submit([cup("a")])
    unit, go_on, begun = database.repositories(lambda session: session), asyncio.Event(), []

    async def read():
        async with unit.read() as session:
            begun.append(await session.scalar(select(Cup.name)))
            await go_on.wait()

    # Kept ones, and as many more at times.
    reading = [asyncio.create_task(read()) for _ in range(2 * SMALL.pool_size)]
    await until(lambda: len(begun) == len(reading))
    with pytest.raises(Unavailable):
        await levels(database)
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'redfire' AND datname = current_database()"
    assert postgres.sql(count, name) == str(len(reading) + 1)  # the writer's
    go_on.set()
    await asyncio.gather(*reading)
    assert await levels(database) == {"a": 1}
    await until(lambda: postgres.sql(count, name) == str(SMALL.pool_size + 1))


async def test_a_migration_may_take_longer_than_a_statement(postgres, name):
    database = Database(postgres.url(name), Base, SHORT)
    await database.migrate()
    too_long_s = SHORT.statement_timeout_s + SHORT.connect_timeout_s + 0.5
    await database._exclusively(lambda connection: connection.exec_driver_sql(f"SELECT pg_sleep({too_long_s})"))
    await database.close()
