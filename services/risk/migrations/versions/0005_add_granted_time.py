"""Add the time from which an administrator's limits count for accounts that are opened later."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
runs_from = "0004"


def upgrade() -> None:
    """Go on from revision 0004."""
    op.add_column("account_limits", sa.Column("granted_time_ns", sa.BigInteger(), server_default="0", nullable=False))
