"""Partition the commit log by time."""

import time

import sqlalchemy as sa
from alembic import op

from services.kernel.data.partitions import by_number

revision = "0007"
down_revision = "0006"
# That version writes without a period, which is the first one's then.
runs_from = "0006"
_PERIODS, _PERIOD_NS = 16, 6 * 3600 * 10**9


def upgrade() -> None:
    """Go on from revision 0006."""
    op.create_table(
        "shard_sequences",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("trimmed_through", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shard"),
    )
    op.drop_index("journal_by_user", table_name="journal")
    op.rename_table("journal", "journal_before")
    op.create_table(
        "journal",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("period", sa.Integer(), autoincrement=False, server_default="0", nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("shard", "sequence", "period"),
        **by_number("period", _PERIODS),
    )
    # All of them as of now: they are kept no shorter than before.
    copy = sa.text(
        "INSERT INTO journal (shard, sequence, period, first_sequence, user_id, payload) "
        "SELECT shard, sequence, :period, first_sequence, user_id, payload FROM journal_before"
    )
    op.get_bind().execute(copy, {"period": time.time_ns() // _PERIOD_NS % _PERIODS})
    op.drop_table("journal_before")
    op.create_index("journal_by_user", "journal", ["user_id", "sequence"])
