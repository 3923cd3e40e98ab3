"""End second factors, and verify e-mail addresses."""

import sqlalchemy as sa
from alembic import op

from services.kernel.data import columns

revision = "0003"
down_revision = "0002"
# That version writes none of what is added here.
runs_from = "0002"


def upgrade() -> None:
    """Go on from revision 0002."""
    with op.batch_alter_table("session_endings", schema=None) as batch_op:
        batch_op.add_column(sa.Column("second_factor", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("users", sa.Column("email_verified", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "email_tokens",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("create_time", columns.UtcTime(), nullable=False),
        sa.Column("expire_time", columns.UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_index(op.f("ix_email_tokens_user_id"), "email_tokens", ["user_id"], unique=False)
    op.create_index(op.f("ix_email_tokens_expire_time"), "email_tokens", ["expire_time"], unique=False)
