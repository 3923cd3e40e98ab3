"""Add shards."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Go on from revision 0001."""
    op.add_column("feed_positions", sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("feed_positions", sa.Column("rate_sequence", sa.BigInteger(), server_default="0", nullable=False))
    op.create_table(
        "setting_changes",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
