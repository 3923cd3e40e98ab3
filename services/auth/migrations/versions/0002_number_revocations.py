"""Number revocations."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Go on from revision 0001. What is there keeps 0: every stream begins with all that is in force."""
    with op.batch_alter_table("revocations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("number", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.create_index(batch_op.f("ix_revocations_number"), ["number"], unique=False)
