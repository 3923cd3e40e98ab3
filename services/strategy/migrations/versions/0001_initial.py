"""Tables of the first version that has migrations."""

import sqlalchemy as sa
from alembic import op

from services.kernel.data import columns

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "commit_markers",
        sa.Column("writer", sa.String(length=36), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("writer"),
    )
    op.create_table(
        "outbox",
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("is_dead", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_table(
        "strategies",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("strategy_id", sa.String(length=36), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("display_name", sa.String(length=100), nullable=False),
        sa.Column("class_name", sa.String(length=128), nullable=False),
        sa.Column("symbol", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("parameters", columns.JsonDocument(), nullable=False),
        sa.Column("variables", columns.JsonDocument(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("position", columns.Amount(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("ran", sa.Boolean(), nullable=False),
        sa.Column("create_time", columns.UtcTime(), nullable=False),
        sa.Column("update_time", columns.UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "strategy_id"),
    )
    op.create_index("strategies_by_request", "strategies", ["user_id", "request_id"], unique=True)
    op.create_index("strategies_by_status", "strategies", ["status"], unique=False)
    op.create_table(
        "strategy_classes",
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("classes", columns.JsonDocument(), nullable=False),
        sa.PrimaryKeyConstraint("row"),
    )
    op.create_table(
        "strategy_jobs",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("display_name", sa.String(length=128), nullable=False),
        sa.Column("class_name", sa.String(length=128), nullable=False),
        sa.Column("symbol", sa.String(length=40), nullable=False),
        sa.Column("setup", columns.JsonDocument(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("elapsed_s", sa.Float(), nullable=False),
        sa.Column("failure", sa.String(length=32), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("error_detail", sa.Text(), nullable=False),
        sa.Column("found", columns.JsonDocument(), nullable=False),
        sa.Column("sharpe_ratio", sa.Float(), nullable=False),
        sa.Column("total_return", sa.Float(), nullable=False),
        sa.Column("create_time", columns.UtcTime(), nullable=False),
        sa.Column("run_time", columns.UtcTime(), nullable=True),
        sa.Column("end_time", columns.UtcTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "job_id"),
    )
    op.create_index("strategy_jobs_by_end", "strategy_jobs", ["end_time"], unique=False)
    op.create_index("strategy_jobs_by_request", "strategy_jobs", ["user_id", "kind", "request_id"], unique=True)
    op.create_index("strategy_jobs_by_status", "strategy_jobs", ["status"], unique=False)
    op.create_table(
        "strategy_logs",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("strategy_id", sa.String(length=36), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("create_time", columns.UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "strategy_id", "sequence"),
    )
