"""Purge versions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
# That version writes none of what is added here.
runs_from = "0002"


def upgrade() -> None:
    """Go on from revision 0002. No version has been purged before."""
    with op.batch_alter_table("config_versions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("purged", sa.Boolean(), server_default=sa.false(), nullable=False))
