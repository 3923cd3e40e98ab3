"""Tables of the first version that has migrations."""

import sqlalchemy as sa
from alembic import op

from services.kernel.data import columns

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "account_limits",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("granted", columns.JsonDocument(), nullable=False),
        sa.Column("own", columns.JsonDocument(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "account_id"),
    )
    op.create_table(
        "commit_markers",
        sa.Column("writer", sa.String(length=36), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("writer"),
    )
    op.create_table(
        "daily_pnl",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("trading_day", sa.Integer(), nullable=False),
        sa.Column("baseline", columns.Amount(), nullable=False),
        sa.Column("last_total", columns.Amount(), nullable=False),
        sa.Column("loss_reached", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "account_id"),
    )
    op.create_table(
        "day_counts",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("symbol", sa.String(length=32), nullable=False),
        sa.Column("trading_day", sa.Integer(), nullable=False),
        sa.Column("orders", sa.Integer(), nullable=False),
        sa.Column("cancels", sa.Integer(), nullable=False),
        sa.Column("replaces", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "account_id", "symbol", "trading_day"),
    )
    op.create_table(
        "feed_positions",
        sa.Column("stream", sa.String(length=32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("canceling", columns.JsonDocument(), nullable=False),
        sa.Column("replacing", columns.JsonDocument(), nullable=False),
        sa.PrimaryKeyConstraint("stream"),
    )
    op.create_table(
        "outbox",
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("is_dead", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_table(
        "risk_events",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("message", sa.String(length=1000), nullable=False),
        sa.Column("numbers", columns.JsonDocument(), nullable=False),
        sa.Column("create_time", columns.UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "event_id"),
    )
    op.create_index("risk_events_by_account", "risk_events", ["account_id", "event_id"], unique=False)
    op.create_table(
        "trading_states",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("updated_by", sa.String(length=64), nullable=False),
        sa.Column("update_time", columns.UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "account_id"),
    )
