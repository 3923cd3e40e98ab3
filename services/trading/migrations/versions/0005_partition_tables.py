"""Partition tables by the hash of the user; on SQLite only the unique keys change."""

import sqlalchemy as sa
from alembic import op

from services.kernel.data.partitions import make_partitions

revision = "0005"
down_revision = "0004"
_COUNT = 16
# Table: its primary key and its unique key, before and now.
_KEYS: dict[str, tuple[str, tuple[str, str] | None]] = {
    "orders": (
        "user_id, order_id",
        ("account_id, client_order_id", "account_id, client_order_id, user_id"),
    ),
    "trades": (
        "user_id, trade_id",
        ("gateway, venue_trade_id, order_id", "gateway, venue_trade_id, order_id, user_id"),
    ),
    "ledger": ("user_id, entry_id", None),
    "positions": ("user_id, account_id, symbol, side", None),
}


def upgrade() -> None:
    """Go on from revision 0004."""
    connection = op.get_bind()
    for table, (primary, unique) in _KEYS.items():
        indexes = [
            (index["name"], index["column_names"])
            for index in sa.inspect(connection).get_indexes(table)
            if not index.get("duplicates_constraint")
        ]
        if connection.dialect.name == "postgresql":
            _partition(connection, table, primary, unique)
        elif unique is not None:
            _change_unique_key(connection, table, *unique)
        else:
            continue
        for name, columns in indexes:
            op.create_index(name, table, [column for column in columns if column])
        if connection.dialect.name == "postgresql":
            op.execute(f"ANALYZE {table}")


def _partition(connection: sa.Connection, table: str, primary: str, unique: tuple[str, str] | None) -> None:
    """Copy the rows into partitions; keys come after them, which is quicker, and after their names are free."""
    op.execute(f"ALTER TABLE {table} RENAME TO {table}_whole")
    op.execute(f"CREATE TABLE {table} (LIKE {table}_whole INCLUDING DEFAULTS) PARTITION BY HASH (user_id)")
    make_partitions(connection, table, _COUNT)
    op.execute(f"INSERT INTO {table} SELECT * FROM {table}_whole")  # noqa: S608 # nosec B608
    op.execute(f"DROP TABLE {table}_whole")
    op.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({primary})")
    if unique is not None:
        op.execute(f"ALTER TABLE {table} ADD UNIQUE ({unique[1]})")


def _change_unique_key(connection: sa.Connection, table: str, before: str, now: str) -> None:
    """Copy the rows: SQLite cannot change a table's keys."""
    definition = connection.scalar(sa.text("SELECT sql FROM sqlite_master WHERE name = :table"), {"table": table})
    changed = definition.replace(f"UNIQUE ({before})", f"UNIQUE ({now})")
    assert changed != definition, definition
    op.execute(f"ALTER TABLE {table} RENAME TO {table}_before")
    op.execute(changed)
    op.execute(f"INSERT INTO {table} SELECT * FROM {table}_before")  # noqa: S608 # nosec B608
    op.execute(f"DROP TABLE {table}_before")
