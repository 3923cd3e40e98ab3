"""Tables of the first version that has migrations."""

import sqlalchemy as sa
from alembic import op

from services.kernel.data import columns

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "api_keys",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("api_key_id", sa.String(length=36), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("scopes", columns.JsonDocument(), nullable=False),
        sa.Column("allowed_cidrs", columns.JsonDocument(), nullable=False),
        sa.Column("create_time", columns.UtcTime(), nullable=False),
        sa.Column("expire_time", columns.UtcTime(), nullable=True),
        sa.Column("last_used_time", columns.UtcTime(), nullable=True),
        sa.Column("revoke_time", columns.UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "api_key_id"),
        sa.UniqueConstraint("secret_hash", name="uq_api_keys_secret_hash"),
    )
    op.create_index("ix_api_keys_expire_time", "api_keys", ["expire_time"], unique=False)
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
        "refresh_tokens",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("expire_time", columns.UtcTime(), nullable=False),
        sa.Column("use_time", columns.UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_index(op.f("ix_refresh_tokens_expire_time"), "refresh_tokens", ["expire_time"], unique=False)
    op.create_table(
        "revocations",
        sa.Column("revoked_id", sa.String(length=36), nullable=False),
        sa.Column("expire_time", columns.UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("revoked_id"),
    )
    op.create_index(op.f("ix_revocations_expire_time"), "revocations", ["expire_time"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("create_time", columns.UtcTime(), nullable=False),
        sa.Column("last_seen_time", columns.UtcTime(), nullable=False),
        sa.Column("client_address", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=256), nullable=False),
        sa.Column("expire_time", columns.UtcTime(), nullable=False),
        sa.Column("access_expire_time", columns.UtcTime(), nullable=False),
        sa.Column("revoke_time", columns.UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "session_id"),
    )
    op.create_index(op.f("ix_sessions_expire_time"), "sessions", ["expire_time"], unique=False)
    op.create_table(
        "user_marks",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("end_time", columns.UtcTime(), nullable=False),
        sa.Column("delegation_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
    )
