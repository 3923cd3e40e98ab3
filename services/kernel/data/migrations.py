"""Services' Alembic revisions on a connection; imported only where there is something to migrate or to compare."""

from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine

from services.kernel.data.partitions import partition_drift, partitions
from services.kernel.data.schema import OWN_TABLES, RETIRED, VERSIONS, note_compatibility


def upgrade(connection: Connection, migrations: Path, revision: str = "head") -> None:
    """Bring tables to a revision, in the connection's transaction."""
    script = ScriptDirectory(str(migrations))

    def steps(current: Any, _: Any) -> Any:
        return script._upgrade_revs(revision, current)

    with EnvironmentContext(Config(), script, fn=steps, destination_rev=revision) as environment:
        environment.configure(connection=connection, transactional_ddl=True)
        with environment.begin_transaction():
            environment.run_migrations()
    note_compatibility(connection, migrations, _revision(connection))


def _revision(connection: Connection) -> str:
    revision: str = connection.scalar(VERSIONS.select()) or ""
    return revision


def tables_at(migrations: Path, revision: str) -> MetaData:
    """The tables of a revision as SQLite has them."""
    engine = create_engine("sqlite://")
    metadata = MetaData()
    with engine.begin() as connection:
        upgrade(connection, migrations, revision)
        metadata.reflect(connection)
    engine.dispose()
    for name in OWN_TABLES:
        metadata.remove(metadata.tables[name])
    return metadata


def drift(connection: Connection, metadata: MetaData) -> list[str]:
    """By what tables differ from the models, in words: what another migration would have to change."""
    others = OWN_TABLES | partitions(connection).keys()
    retired = metadata.info.get(RETIRED, ())

    def is_ours(name: str | None, kind: str, parents: Any) -> bool:
        if kind == "column":
            return f"{parents['table_name']}.{name}" not in retired
        return kind != "table" or name not in others

    options = {"compare_type": True, "compare_server_default": False, "include_name": is_ours}
    context = MigrationContext.configure(connection, opts=options)
    changes = [_in_words(change) for change in compare_metadata(context, metadata)]
    return changes + partition_drift(connection, metadata)


def _in_words(change: Any) -> str:
    if isinstance(change, list):
        change = change[0]
    kind, *rest = change
    if kind.startswith("modify_"):
        return f"{rest[1]}.{rest[2]} has another {kind.removeprefix('modify_')}"
    missing = "is missing" if kind.startswith("add_") else "is unknown"
    thing = rest[-1]
    table = getattr(getattr(thing, "table", None), "name", "")
    name = getattr(thing, "name", None) or ", ".join(column.name for column in getattr(thing, "columns", ()))
    return f"{kind.partition('_')[2]} {table + '.' if table and table != name else ''}{name} {missing}"
