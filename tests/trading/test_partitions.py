"""Partitions of trading's large tables: rows of before them are kept, keys hold, and what differs is found."""

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from services.kernel.data import migrations
from services.kernel.data.database import Database
from services.kernel.data.partitions import partitions
from services.trading import models
from services.trading.repository import ShardSequences, TradingRepository
from tests.trading.rows_of_tables import row_of

BEFORE = "0004"
TABLES = [models.OrderRow, models.TradeRow, models.LedgerRow, models.PositionRow]


@pytest.fixture
async def database(database_url):
    database = Database(database_url.replace("{name}", "trading"), models.Base)
    await database._backend.ensure()
    yield database
    await database.close()


def order_of(number, **values):
    owner = {"user_id": f"user-{number}", "account_id": f"account-{number}"}
    return row_of(models.OrderRow, **owner, order_id=f"o-{number}", client_order_id=f"c-{number}", **values)


async def test_rows_of_before_the_partitions_are_kept_and_so_are_their_keys(database):
    rows = {
        models.OrderRow: [order_of(number) for number in range(50)],
        models.TradeRow: [
            row_of(models.TradeRow, user_id=f"user-{n}", trade_id=f"t-{n}", venue_trade_id=f"v-{n}") for n in range(50)
        ],
        models.LedgerRow: [row_of(models.LedgerRow, user_id=f"user-{n}", entry_id=f"e-{n}") for n in range(50)],
        models.PositionRow: [row_of(models.PositionRow, user_id=f"user-{n}", symbol="rb2605.SHFE") for n in range(50)],
    }

    def make_of_before(connection):
        migrations.upgrade(connection, database.schema.migrations, BEFORE)
        for model, some in rows.items():
            connection.execute(model.__table__.insert(), some)
        insert = "INSERT INTO journal (shard, sequence, first_sequence, user_id, payload) VALUES "
        connection.exec_driver_sql(insert + ", ".join(f"(7, {n}, {n}, 'user-7', 'x')" for n in range(41, 51)))
        return {model: read(connection, model) for model in TABLES}

    def read(connection, model):
        key = list(model.__table__.primary_key.columns)
        return connection.execute(model.__table__.select().order_by(*key)).mappings().all()

    before = await database._exclusively(make_of_before)
    assert await database.migrate() == f"{BEFORE} → {database.schema.head}"
    assert await database.check(thorough=True) == []
    after = await database._exclusively(lambda connection: {model: read(connection, model) for model in TABLES})
    assert after == before and all(len(some) == 50 for some in after.values())
    async with database.repositories(TradingRepository).read() as repository:
        assert [row[0] for row in await repository.commit_log(0, 100, "user-7", [], 100)] == list(range(41, 51))
        assert (await repository.load(0, [7])).sequences == {7: ShardSequences(50, 40)}
    again = order_of(7, is_open=True)
    for twice in {**again, "client_order_id": "another"}, {**again, "order_id": "another"}:
        with pytest.raises(IntegrityError):
            await database._exclusively(lambda connection, row=twice: connection.execute(insert_order(row)))


def insert_order(row):
    return models.OrderRow.__table__.insert().values(**row)


async def test_users_are_spread_over_partitions_and_all_rows_of_a_user_lie_in_one(postgres):
    database = Database(postgres.url("spread_{name}_db").replace("{name}", "trading"), models.Base)
    await database.migrate()

    def spread(connection):
        for user in range(100):
            for number in range(3):
                row = {**order_of(user), "order_id": f"{user}-{number}", "client_order_id": f"{user}-{number}"}
                connection.execute(insert_order(row))
        return connection.execute(text("SELECT DISTINCT tableoid::regclass::text, user_id FROM orders")).all()

    found = await database._exclusively(spread)
    assert len(found) == 100
    assert len({partition for partition, _ in found}) == models.PARTITIONS
    await database.close()


async def test_a_check_finds_a_table_without_its_partitions(postgres):
    database = Database(postgres.url("lacking_{name}_db").replace("{name}", "trading"), models.Base)
    await database.migrate()
    assert await database.check(thorough=True) == []

    def drop_one(connection):
        name = next(one for one, table in partitions(connection).items() if table == "trades")
        connection.exec_driver_sql(f"DROP TABLE {name}")
        assert name not in inspect(connection).get_table_names()

    await database._exclusively(drop_one)
    assert await database.check(thorough=True) == ["trades is partitioned otherwise"]
    await database.close()
