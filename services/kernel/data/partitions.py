"""Partitions of large tables on PostgreSQL, by hash or by number; on SQLite such a table is in one piece."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, MetaData, Table

_COUNT = "partitions"


def by_hash(column: str, count: int) -> dict[str, Any]:
    """Arguments of a table that is made with so many partitions by a column, which all of its keys need to have."""
    return _partitioned(f"HASH ({column})", count, make_partitions)


def by_number(column: str, count: int) -> dict[str, Any]:
    """Arguments of a table that has a partition for each number, from 0 on, that the column may have."""
    return _partitioned(f"LIST ({column})", count, _make_numbered)


def _partitioned(by: str, count: int, make: Callable[[Connection, str, int], None]) -> dict[str, Any]:
    def after_create(table: Table, connection: Connection, **_: Any) -> None:
        if connection.dialect.name == "postgresql":
            make(connection, table.name, count)

    return {
        "postgresql_partition_by": by,
        "info": {_COUNT: count},
        "listeners": [("after_create", after_create)],
    }


def partition_name(table: str, number: int) -> str:
    """The name of a table's partition."""
    return f"{table}_p{number:02}"


def make_partitions(connection: Connection, table: str, count: int) -> None:
    """Make the partitions of a table that is declared as partitioned by a hash."""
    for number in range(count):
        _make(connection, table, number, f"WITH (MODULUS {count}, REMAINDER {number})")


def _make_numbered(connection: Connection, table: str, count: int) -> None:
    for number in range(count):
        _make(connection, table, number, f"IN ({number})")


def _make(connection: Connection, table: str, number: int, values: str) -> None:
    name = partition_name(table, number)
    connection.exec_driver_sql(f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES {values}")


def partitions(connection: Connection) -> dict[str, str]:
    """The partitioned table of each partition."""
    if connection.dialect.name != "postgresql":
        return {}
    return {row[0]: row[1] for row in connection.exec_driver_sql(_PARTITIONS)}


def partition_drift(connection: Connection, metadata: MetaData) -> list[str]:
    """By what partitions differ from the models, in words."""
    if connection.dialect.name != "postgresql":
        return []
    there = {row[0]: (row[1], row[2]) for row in connection.exec_driver_sql(_PARTITIONED)}
    result = []
    for table in metadata.sorted_tables:
        by = table.dialect_options["postgresql"]["partition_by"]
        wanted = (by, table.info[_COUNT]) if by else None
        if there.get(table.name) != wanted:
            result.append(f"{table.name} is partitioned otherwise")
    return result


_PARTITIONS = """
    SELECT part.relname, whole.relname FROM pg_inherits
    JOIN pg_class AS part ON part.oid = inhrelid JOIN pg_class AS whole ON whole.oid = inhparent
    WHERE part.relispartition AND part.relkind = 'r' AND part.relnamespace = current_schema()::regnamespace"""
_PARTITIONED = """
    SELECT relname, pg_get_partkeydef(pg_class.oid), count(inhrelid) FROM pg_class
    LEFT JOIN pg_inherits ON inhparent = pg_class.oid
    WHERE relkind = 'p' AND relnamespace = current_schema()::regnamespace GROUP BY pg_class.oid"""
