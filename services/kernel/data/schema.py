"""The tables of one database as they should be, and what is there instead."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.schema import CreateColumn

NAMED = 3  # differences that an error names
VERSIONS = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
MARKERS = "commit_markers"


def add_marker_table(metadata: MetaData) -> None:
    """Add the table of the numbers by which a writer knows its last commit; every database has it."""
    if MARKERS not in metadata.tables:
        Table(
            MARKERS, metadata,
            Column("writer", String(36), primary_key=True),
            Column("number", BigInteger, nullable=False),
            Column("time_ns", BigInteger, nullable=False),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class State:
    """Schema as it is in a database: the revision (empty: never stamped), and columns by table."""

    revision: str
    tables: Mapping[str, set[str]]


class Schema:
    """The tables of a service: its models, and the migrations that lead to them."""

    def __init__(self, metadata: MetaData, migrations: Path | None) -> None:
        """Without migrations (in tests) tables are made, or extended, from the models alone."""
        self.metadata = metadata
        self.migrations = migrations

    @property
    def revisions(self) -> list[str]:
        """All revisions, oldest first: the first words of the files' names."""
        if self.migrations is None:
            return []
        return sorted(file.name.partition("_")[0] for file in (self.migrations / "versions").glob("[0-9]*.py"))

    @property
    def head(self) -> str:
        """The newest revision; empty without migrations."""
        return self.revisions[-1] if self.revisions else ""

    def state(self, connection: Connection) -> State:
        """Read what there is, with as few statements as it takes."""
        query = _SQLITE_COLUMNS if connection.dialect.name == "sqlite" else _POSTGRES_COLUMNS
        tables: dict[str, set[str]] = {}
        for table, column in connection.exec_driver_sql(query):
            tables.setdefault(table, set()).add(column)
        revision = connection.scalar(VERSIONS.select()) if VERSIONS.name in tables else None
        return State(revision or "", tables)

    def is_empty(self, state: State) -> bool:
        """Test for a database without any table of ours."""
        return not state.revision and not set(self.metadata.tables) & set(state.tables)

    def make(self, connection: Connection) -> None:
        """Make all tables from the models, which equal the migrations (a test says so), and stamp them."""
        self.metadata.create_all(connection, checkfirst=False)
        self.stamp(connection, self.head)

    def stamp(self, connection: Connection, revision: str) -> None:
        """Note which revision the tables are."""
        if revision:
            VERSIONS.create(connection, checkfirst=True)
            connection.execute(VERSIONS.delete())
            connection.execute(VERSIONS.insert().values(version_num=revision))

    def problems(self, state: State) -> list[str]:
        """Reasons, in words, for which this version cannot run on the database; empty when it can."""
        if self.is_empty(state):
            return ["it has no tables yet"]
        if state.revision != self.head:
            if state.revision and state.revision not in self.revisions:
                return [f"its schema {state.revision} is newer than {self.head}, which this version knows"]
            schema = state.revision or "of before migrations"
            return [f"it is another version's: its schema is {schema}, this version's is {self.head}"]
        return differences(self.metadata, state)


def differences(metadata: MetaData, state: State, addable: bool = False) -> list[str]:
    """Tables and columns by which a database differs; with `addable` not those that can simply be added."""
    result = []
    for table in metadata.sorted_tables:
        there = state.tables.get(table.name)
        if there is None:
            result += [] if addable else [f"table {table.name} is missing"]
            continue
        missing = sorted(set(table.columns.keys()) - there)
        result += [
            f"{table.name}.{name} is missing"
            for name in missing
            if not (addable and _can_be_added(table.columns[name]))
        ]
        result += [f"{table.name}.{name} is unknown" for name in sorted(there - set(table.columns.keys()))]
    return result


def in_words(differences: list[str]) -> str:
    """The first differences, and how many more there are."""
    more = f" and {len(differences) - NAMED} more" if len(differences) > NAMED else ""
    return ", ".join(differences[:NAMED]) + more


def extend(metadata: MetaData, connection: Connection) -> None:
    """Make what is missing: tables, columns that existing rows have a value for, indexes."""
    inspector = inspect(connection)
    quote = connection.dialect.identifier_preparer.format_table
    for table in metadata.sorted_tables:
        if not inspector.has_table(table.name):
            continue
        there = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in there:
                definition = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {quote(table)} ADD COLUMN {definition}")
        for index in table.indexes:
            index.create(connection, checkfirst=True)
    metadata.create_all(connection)


def _can_be_added(column: Column[Any]) -> bool:
    return not column.primary_key and (bool(column.nullable) or column.server_default is not None)


_SQLITE_COLUMNS = "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'"
# Of tables, not of their partitions.
_POSTGRES_COLUMNS = (
    "SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid WHERE relkind IN ('r', 'p') "
    "AND NOT relispartition AND relnamespace = current_schema()::regnamespace AND attnum > 0 AND NOT attisdropped"
)


def schema_of(base: type[DeclarativeBase]) -> Schema:
    """The schema of a service's models, which its migrations lie beside."""
    add_marker_table(base.metadata)
    file = getattr(sys.modules.get(base.__module__), "__file__", None)
    folder = Path(file).parent / "migrations" if file else None
    return Schema(base.metadata, folder if folder is not None and folder.is_dir() else None)
