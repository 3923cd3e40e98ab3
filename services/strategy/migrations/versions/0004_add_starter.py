"""Add who started a strategy."""

import sqlalchemy as sa
from alembic import op

from services.kernel.data import columns

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Go on from revision 0003."""
    op.add_column("strategies", sa.Column("starter", columns.JsonDocument(), nullable=True))
