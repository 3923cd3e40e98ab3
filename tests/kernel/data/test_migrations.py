"""Migrations: they make what the models say, on both databases, once, whatever there was before."""

import contextlib
import sqlite3
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from services import registry
from services.kernel.data import migrations
from services.kernel.data.database import Database
from services.kernel.data.partitions import partitions
from services.kernel.data.schema import schema_of
from services.kernel.errors import StartError

SERVICES = [name for name in registry.SERVICES if (Path("services") / name / "models.py").exists()]


def base_of(service):
    return import_module(f"services.{service}.models").Base


def described(connection):
    """All of a schema but the order of its columns."""
    reader, parts = inspect(connection), partitions(connection)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in reader.get_columns(table)
            },
            "key": reader.get_pk_constraint(table)["constrained_columns"],
            "unique": sorted((one["name"] or "", one["column_names"]) for one in reader.get_unique_constraints(table)),
            "indexes": sorted((one["name"], one["column_names"], one["unique"]) for one in reader.get_indexes(table)),
            "references": reader.get_foreign_keys(table),
        }
        for table in sorted({*reader.get_table_names()} - parts.keys())
    } | {"partitions": parts}


@pytest.mark.parametrize("service", SERVICES)
async def test_the_migrations_of_a_service_make_what_its_models_say(service, database_url, tmp_path):
    made, migrated = (Database(database_url.replace("{name}", name), base_of(service)) for name in ("made", "migrated"))
    for database in made, migrated:
        await database._backend.ensure()

    def migrate(connection):
        migrations.upgrade(connection, migrated.schema.migrations)
        return described(connection), migrations.drift(connection, migrated.schema.metadata)

    await made.migrate()
    by_models = await made._exclusively(described)
    by_migrations, drift = await migrated._exclusively(migrate)
    assert by_migrations == by_models
    assert drift == []
    assert await migrated.check() == await made.check() == []
    for database in made, migrated:
        await database.close()


@pytest.mark.parametrize("service", SERVICES)
def test_no_two_migrations_of_a_service_have_one_number(service):
    revisions = schema_of(base_of(service)).revisions
    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]


@pytest.mark.parametrize("service", SERVICES)
def test_versions_that_a_migration_leaves_running_are_of_its_service_and_not_later(service):
    schema = schema_of(base_of(service))
    for file in (schema.migrations / "versions").glob("[0-9]*.py"):
        stated = getattr(_module(file), "runs_from", None)
        assert stated is None or (stated in schema.revisions and stated <= file.name.partition("_")[0]), file
        if stated is not None:
            assert f'\nruns_from = "{stated}"\n' in file.read_text(), "it is read as a line, not imported"


def _module(file):
    spec = spec_from_file_location(file.stem, file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_a_database_is_made_at_its_head_and_a_second_time_nothing_is_done(database_url):
    for expected in f"made, at {schema_of(base_of('user')).head}", "":
        database = Database(database_url.replace("{name}", "user"), base_of("user"))
        assert await database.migrate() == expected
        assert await database.check() == []
        await database.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_file_of_the_version_before_migrations_is_adopted_with_its_rows(service, tmp_path):
    file, made, schema = tmp_path / "old.sqlite", tmp_path / "made.sqlite", schema_of(base_of(service))
    _make_of_before_migrations(file, service)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        table = next(one for one in schema.metadata.sorted_tables if one.name in there)
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")]
        connection.execute(f"INSERT INTO {table.name} VALUES ({', '.join('7' for _ in columns)})")
    database = Database(f"sqlite:///{file}", base_of(service))
    assert "of before migrations" in (await database.check())[0]
    assert await database.migrate() == f"adopted → {schema.head}"
    assert await database.check() == []
    await database.close()
    _migrate_from_nothing(made, schema)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table.name}").fetchall()
    assert [[str(value) for value in row] for row in rows] == [["7"] * len(columns)]
    assert _definitions(file) == _definitions(made)


async def test_an_older_file_gets_the_columns_that_rows_have_a_value_for_and_any_other_is_refused(tmp_path):
    file = tmp_path / "old.sqlite"
    _make_of_before_migrations(file, "trading")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("INSERT INTO gateways VALUES ('SIM', 20260105, 1)")
        connection.execute("ALTER TABLE gateways DROP COLUMN keeps_own_days")
    await _start_and_close(file, "trading")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        assert connection.execute("SELECT * FROM gateways").fetchall() == [("SIM", 20260105, 0)]
    file.unlink()
    _make_of_before_migrations(file, "trading")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE gateways DROP COLUMN trading_day")
    with pytest.raises(StartError, match=r"another version of RedFire \(gateways.trading_day is missing\)"):
        await _start_and_close(file, "trading")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE alembic_version SET version_num = '0999'", "its schema 0999 is newer than"),
        ("ALTER TABLE users ADD COLUMN colour TEXT", "users.colour is unknown"),
        ("ALTER TABLE users DROP COLUMN phone", "users.phone is missing"),
        ("DROP TABLE session_endings", "table session_endings is missing"),
    ],
)
async def test_a_schema_of_another_version_stops_the_start_in_one_line_and_stays(database_url, change, words):
    database = Database(database_url.replace("{name}", "user"), base_of("user"))
    await database.migrate()
    await database._exclusively(lambda connection: connection.exec_driver_sql(change))
    before = await database._exclusively(described)
    for act in database.start, database.migrate:
        with pytest.raises(StartError) as caught:
            await act()
        assert words in str(caught.value) and "\n" not in str(caught.value)
    assert await database._exclusively(described) == before
    await database.close()


async def test_a_postgres_database_that_is_not_there_or_empty_is_not_made_by_a_start(postgres):
    database = Database(postgres.url("absent_{name}_db").replace("{name}", "user"), base_of("user"))
    with pytest.raises(StartError, match="does not exist"):
        await database.start()
    await database._backend.ensure()
    with pytest.raises(StartError, match="has no tables yet"):
        await database.start()
    await database.migrate()
    await database.start()
    await database.close()


def _make_of_before_migrations(file, service):
    """The tables of the first revision, which is what there was without any, but for the kernel's own."""
    schema, engine = schema_of(base_of(service)), create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        migrations.upgrade(connection, schema.migrations, schema.revisions[0])
        for table in "alembic_version", "schema_compatibility", "commit_markers":
            connection.exec_driver_sql(f"DROP TABLE {table}")
    engine.dispose()


def _migrate_from_nothing(file, schema):
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        migrations.upgrade(connection, schema.migrations)
    engine.dispose()


def _definitions(file):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return set(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


async def _start_and_close(file, service):
    database = Database(f"sqlite:///{file}", base_of(service))
    try:
        await database.start()
    finally:
        await database.close()
