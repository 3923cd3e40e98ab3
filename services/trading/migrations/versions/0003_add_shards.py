"""Add shards."""

import sqlalchemy as sa
from alembic import op

from services.kernel.shards.ownership import ALL_SHARDS, shard_of

revision = "0003"
down_revision = "0002"
_OPEN = ("orders", "positions", "order_groups")


def upgrade() -> None:
    """Go on from revision 0002."""
    connection = op.get_bind()
    op.add_column("accounts", sa.Column("shard", sa.Integer(), server_default="0", nullable=False))
    op.create_index("accounts_by_shard", "accounts", ["shard"])
    users = [row[0] for row in connection.execute(sa.text("SELECT DISTINCT user_id FROM accounts"))]
    shards = [{"user_id": user_id, "shard": shard_of(user_id)} for user_id in users]
    if shards:
        connection.execute(sa.text("UPDATE accounts SET shard = :shard WHERE user_id = :user_id"), shards)
    for table in _OPEN:
        op.drop_index(f"{table}_open", table_name=table)
        op.create_index(f"{table}_open", table, ["is_open", "user_id"])
    _shard_journal(connection)


def _keep_what_is_lost(connection: sa.Connection) -> None:
    """Say of shards without rows, too, that what was trimmed is gone."""
    oldest = connection.scalar(sa.text("SELECT first_sequence FROM journal ORDER BY sequence LIMIT 1"))
    if oldest is None or oldest <= 1:
        return
    there = {row[0] for row in connection.execute(sa.text("SELECT DISTINCT shard FROM journal_by_shard"))}
    insert = sa.text("INSERT INTO journal_by_shard VALUES (:shard, :sequence, :first, '', :payload)")
    for shard in sorted(set(ALL_SHARDS) - there):
        connection.execute(insert, {"shard": shard, "sequence": oldest - 1, "first": oldest, "payload": b""})


def _shard_journal(connection: sa.Connection) -> None:
    """Copy the journal: SQLite cannot change a table's primary key."""
    op.create_table(
        "journal_by_shard",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("shard", "sequence"),
    )
    copy = sa.text(
        "INSERT INTO journal_by_shard (shard, sequence, first_sequence, user_id, payload) "
        "SELECT :shard, sequence, first_sequence, user_id, payload FROM journal WHERE user_id = :user_id"
    )
    for (user_id,) in connection.execute(sa.text("SELECT DISTINCT user_id FROM journal")).fetchall():
        connection.execute(copy, {"user_id": user_id, "shard": shard_of(user_id)})
    _keep_what_is_lost(connection)
    op.drop_index("journal_by_user", table_name="journal")
    op.drop_table("journal")
    op.rename_table("journal_by_shard", "journal")
    op.create_index("journal_by_user", "journal", ["user_id", "sequence"])
