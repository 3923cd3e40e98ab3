"""The tables of one database as they should be, and what is there instead."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, select
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.schema import CreateColumn

from services.kernel.data.audit_tables import add_audit_tables

NAMED = 3  # differences that an error names
VERSIONS = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
COMPATIBILITY = Table(
    "schema_compatibility",
    MetaData(),
    # Of `alembic_version`: where it names another, the row says nothing.
    Column("version_num", String(32), primary_key=True),
    # The oldest revision whose version runs on these tables.
    Column("runs_from", String(32), nullable=False),
)
OWN_TABLES = frozenset({VERSIONS.name, COMPATIBILITY.name})
"""Tables that no models have."""
RETIRED = "retired"
"""Key of a `MetaData.info`: columns (`TABLE.COLUMN`) of the version before, which this one runs with and without."""
MARKERS = "commit_markers"
_RUNS_FROM = re.compile(r'^runs_from = "(\w+)"', re.MULTILINE)


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
    runs_from: str = ""
    """The oldest revision whose version runs on it; empty where that is not known."""


class Schema:
    """The tables of a service: its models, and the migrations that lead to them."""

    def __init__(self, metadata: MetaData, migrations: Path | None) -> None:
        """Without migrations (in tests) tables are made, or extended, from the models alone."""
        self.metadata = metadata
        self.migrations = migrations

    @property
    def revisions(self) -> list[str]:
        """All revisions, oldest first: the first words of the files' names."""
        return [] if self.migrations is None else [revision for revision, _ in _files(self.migrations)]

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
        revision = (connection.scalar(VERSIONS.select()) if VERSIONS.name in tables else None) or ""
        return State(revision, tables, _noted(connection, revision) if COMPATIBILITY.name in tables else "")

    def is_empty(self, state: State) -> bool:
        """Test for a database without any table of ours."""
        return not state.revision and not set(self.metadata.tables) & set(state.tables)

    def make(self, connection: Connection) -> None:
        """Make all tables from the models, which equal the migrations (a test says so), and stamp them."""
        self.metadata.create_all(connection, checkfirst=False)
        self.stamp(connection, self.head)

    def stamp(self, connection: Connection, revision: str) -> None:
        """Note which revision the tables are."""
        if revision and self.migrations is not None:
            VERSIONS.create(connection, checkfirst=True)
            connection.execute(VERSIONS.delete())
            connection.execute(VERSIONS.insert().values(version_num=revision))
            note_compatibility(connection, self.migrations, revision)

    def problems(self, state: State, exact: bool = False) -> list[str]:
        """Reasons, in words, for which this version cannot run on the database; empty when it can.

        `exact`: also for which it is not this version's, although this one runs on it.
        """
        if self.is_empty(state):
            return ["it has no tables yet"]
        if state.revision != self.head:
            if state.revision and state.revision not in self.revisions:
                if state.runs_from in self.revisions and not exact:
                    return differences(self.metadata, state, unknown=False)
                return [f"its schema {state.revision} is newer than {self.head}, which this version knows"]
            schema = state.revision or "of before migrations"
            return [f"it is another version's: its schema is {schema}, this version's is {self.head}"]
        return differences(self.metadata, state)


def runs_from(migrations: Path, revision: str) -> str:
    """The oldest revision whose version runs on tables of this one, by what the migrations since then say."""
    files = [one for one in _files(migrations) if one[0] <= revision]
    oldest, needed = revision, ""
    for (before, _), (_, stated) in reversed(list(pairwise(files))):
        needed = max(needed, stated)
        if needed > before:
            break
        oldest = before
    return oldest


def note_compatibility(connection: Connection, migrations: Path, revision: str) -> None:
    """Note which versions run on the tables, for older ones, which cannot read the migrations."""
    COMPATIBILITY.create(connection, checkfirst=True)
    connection.execute(COMPATIBILITY.delete())
    row = {"version_num": revision, "runs_from": runs_from(migrations, revision)}
    connection.execute(COMPATIBILITY.insert().values(row))


def _noted(connection: Connection, revision: str) -> str:
    query = select(COMPATIBILITY.c.runs_from).where(COMPATIBILITY.c.version_num == revision)
    return connection.scalar(query) or ""


def _files(migrations: Path) -> list[tuple[str, str]]:
    """Revisions, oldest first, and for each the oldest whose version it leaves running: read, for imports are slow."""
    revisions = []
    for file in sorted((migrations / "versions").glob("[0-9]*.py")):
        number = file.name.partition("_")[0]
        stated = _RUNS_FROM.search(file.read_text())
        revisions.append((number, stated[1] if stated else number))
    return revisions


def differences(metadata: MetaData, state: State, addable: bool = False, unknown: bool = True) -> list[str]:
    """Tables and columns by which a database differs.

    With `addable` not those that can simply be added; without `unknown` not those that only the database has.
    """
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
        if unknown:
            others = {f"{table.name}.{name}" for name in there - set(table.columns.keys())}
            result += [f"{name} is unknown" for name in sorted(others.difference(metadata.info.get(RETIRED, ())))]
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
    add_audit_tables(base.metadata)
    file = getattr(sys.modules.get(base.__module__), "__file__", None)
    folder = Path(file).parent / "migrations" if file else None
    return Schema(base.metadata, folder if folder is not None and folder.is_dir() else None)
