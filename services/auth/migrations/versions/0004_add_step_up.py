"""Add step-up, parents of API keys, known networks and second factors."""

import sqlalchemy as sa
from alembic import op

from services.kernel.data import columns

revision = "0004"
down_revision = "0003"
# That version writes none of what is added here.
runs_from = "0003"


def upgrade() -> None:
    """Go on from revision 0003. What is there knows neither parents nor when a password was entered."""
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("auth_time", columns.UtcTime(), nullable=True))
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.add_column(sa.Column("parent_id", sa.String(length=36), nullable=True))
    op.create_table(
        "known_networks",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("network", sa.String(length=64), nullable=False),
        sa.Column("last_login_time", columns.UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "network"),
    )
    op.create_index(op.f("ix_known_networks_last_login_time"), "known_networks", ["last_login_time"], unique=False)
    op.create_table(
        "second_factors",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("sealed_secret", sa.String(length=256), nullable=False),
        sa.Column("create_time", columns.UtcTime(), nullable=False),
        sa.Column("confirm_time", columns.UtcTime(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "code_hash"),
    )
