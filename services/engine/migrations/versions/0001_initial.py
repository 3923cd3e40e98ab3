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
        "gateway_orders",
        sa.Column("order_id", sa.String(length=64), nullable=False),
        sa.Column("gateway_name", sa.String(length=32), nullable=False),
        sa.Column("venue_order_id", sa.String(length=128), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("side", sa.String(length=8), server_default="", nullable=False),
        sa.Column("type", sa.String(length=8), server_default="LIMIT", nullable=False),
        sa.Column("time_in_force", sa.String(length=8), server_default="DAY", nullable=False),
        sa.Column("position_effect", sa.String(length=16), server_default="OPEN", nullable=False),
        sa.Column("quantity", columns.Amount(), server_default="0", nullable=False),
        sa.Column("price", columns.Amount(), nullable=True),
        sa.Column("state", sa.String(length=8), server_default="", nullable=False),
        sa.Column("status", sa.String(length=20), server_default="PENDING_NEW", nullable=False),
        sa.Column("cumulative_quantity", columns.Amount(), server_default="0", nullable=False),
        sa.Column("is_open", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("trading_day", sa.Integer(), server_default="0", nullable=False),
        sa.Column("create_time", columns.UtcTime(), nullable=False),
        sa.Column("update_time", columns.UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("order_id"),
    )
    op.create_index(op.f("ix_gateway_orders_create_time"), "gateway_orders", ["create_time"], unique=False)
    op.create_index("ix_gateway_orders_is_open", "gateway_orders", ["is_open"], unique=False)
    op.create_index(op.f("ix_gateway_orders_venue_order_id"), "gateway_orders", ["venue_order_id"], unique=False)
    op.create_table(
        "gateway_trades",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("gateway_name", sa.String(length=32), nullable=False),
        sa.Column("venue_trade_id", sa.String(length=128), nullable=False),
        sa.Column("venue_order_id", sa.String(length=128), nullable=False),
        sa.Column("order_id", sa.String(length=64), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("side", sa.String(length=8), nullable=False),
        sa.Column("position_effect", sa.String(length=16), nullable=False),
        sa.Column("price", columns.Amount(), nullable=False),
        sa.Column("quantity", columns.Amount(), nullable=False),
        sa.Column("time", columns.UtcTime(), nullable=False),
        sa.Column("trading_day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("gateway_name", "venue_trade_id"),
    )
    op.create_index("ix_gateway_trades_day", "gateway_trades", ["gateway_name", "trading_day", "number"], unique=False)
    op.create_index(op.f("ix_gateway_trades_order_id"), "gateway_trades", ["order_id"], unique=False)
    op.create_table(
        "sim_orders",
        sa.Column("venue_order_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("order_id", sa.String(length=64), nullable=True),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("side", sa.String(length=8), nullable=False),
        sa.Column("type", sa.String(length=8), nullable=False),
        sa.Column("time_in_force", sa.String(length=8), nullable=False),
        sa.Column("position_effect", sa.String(length=16), nullable=False),
        sa.Column("quantity", columns.Amount(), nullable=False),
        sa.Column("price", columns.Amount(), nullable=True),
        sa.Column("cumulative_quantity", columns.Amount(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("expire_time", columns.UtcTime(), nullable=True),
        sa.Column("post_only", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("trading_day", sa.Integer(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("create_time", columns.UtcTime(), nullable=False),
        sa.Column("update_time", columns.UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("venue_order_id"),
        sa.UniqueConstraint("order_id"),
    )
    op.create_index("ix_sim_orders_is_open", "sim_orders", ["is_open"], unique=False)
    op.create_table(
        "sim_positions",
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("side", sa.String(length=8), nullable=False),
        sa.Column("quantity", columns.Amount(), nullable=False),
        sa.Column("yesterday_quantity", columns.Amount(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "side"),
    )
    op.create_table(
        "sim_state",
        sa.Column("key", sa.String(length=96), nullable=False),
        sa.Column("value", columns.JsonDocument(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "sim_trades",
        sa.Column("venue_trade_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("venue_order_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.String(length=64), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("side", sa.String(length=8), nullable=False),
        sa.Column("position_effect", sa.String(length=16), nullable=False),
        sa.Column("price", columns.Amount(), nullable=False),
        sa.Column("quantity", columns.Amount(), nullable=False),
        sa.Column("time", columns.UtcTime(), nullable=False),
        sa.Column("trading_day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("venue_trade_id"),
    )
    op.create_index("ix_sim_trades_day", "sim_trades", ["trading_day", "venue_trade_id"], unique=False)
    op.create_index(op.f("ix_sim_trades_venue_order_id"), "sim_trades", ["venue_order_id"], unique=False)
