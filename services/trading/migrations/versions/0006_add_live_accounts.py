"""Add the unique key of LIVE accounts: a gateway has one."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
_IS_LIVE = sa.text("kind = 2")


def upgrade() -> None:
    """Go on from revision 0005."""
    op.create_index(
        "accounts_live", "accounts", ["gateway"], unique=True, sqlite_where=_IS_LIVE, postgresql_where=_IS_LIVE
    )
