"""Tables of the first version that has migrations."""

import sqlalchemy as sa
from alembic import op

from services.kernel.data import columns

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "accounts",
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("currency", sa.String(length=8), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("create_time_ns", sa.BigInteger(), nullable=False),
        sa.Column("balance", columns.Amount(), nullable=False),
        sa.Column("realized_pnl", columns.Amount(), nullable=False),
        sa.Column("commission", columns.Amount(), nullable=False),
        sa.Column("margin_call", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("venue", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("user_id", "account_id"),
        sa.UniqueConstraint("user_id", "request_id"),
    )
    op.create_table(
        "commit_markers",
        sa.Column("writer", sa.String(length=36), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("writer"),
    )
    op.create_table(
        "external_orders",
        sa.Column("external_order_id", sa.String(length=36), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("symbol", sa.String(length=40), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("position_effect", sa.Integer(), nullable=False),
        sa.Column("type", sa.Integer(), nullable=False),
        sa.Column("quantity", columns.Amount(), nullable=False),
        sa.Column("price", columns.Amount(), nullable=True),
        sa.Column("cumulative_quantity", columns.Amount(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("create_time_ns", sa.BigInteger(), nullable=False),
        sa.Column("update_time_ns", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("order_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("external_order_id"),
    )
    op.create_index("external_orders_by_time", "external_orders", ["create_time_ns", "external_order_id"], unique=False)
    op.create_table(
        "external_trades",
        sa.Column("external_trade_id", sa.String(length=36), nullable=False),
        sa.Column("external_order_id", sa.String(length=36), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("venue_trade_id", sa.Text(), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.String(length=40), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("position_effect", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("price", columns.Amount(), nullable=False),
        sa.Column("quantity", columns.Amount(), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("trading_day", sa.Integer(), nullable=False),
        sa.Column("create_time_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("external_trade_id"),
    )
    op.create_index("external_trades_by_order", "external_trades", ["external_order_id"], unique=False)
    op.create_index("external_trades_by_time", "external_trades", ["create_time_ns", "external_trade_id"], unique=False)
    op.create_table(
        "gateways",
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("trading_day", sa.Integer(), nullable=False),
        sa.Column("keeps_own_days", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("gateway"),
    )
    op.create_table(
        "instruments",
        sa.Column("symbol", sa.String(length=40), nullable=False),
        sa.Column("terms", columns.JsonDocument(), nullable=False),
        sa.PrimaryKeyConstraint("symbol"),
    )
    op.create_table(
        "journal",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index("journal_by_user", "journal", ["user_id", "sequence"], unique=False)
    op.create_table(
        "leases",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("duration_ns", sa.BigInteger(), nullable=False),
        sa.Column("cancel_protective_stops", sa.Boolean(), nullable=False),
        sa.Column("deadline_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id"),
    )
    op.create_table(
        "ledger",
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("entry_id", sa.String(length=36), nullable=False),
        sa.Column("transaction_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("ledger_account", sa.String(length=64), nullable=False),
        sa.Column("amount", columns.Amount(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("create_time_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "entry_id"),
    )
    op.create_index("ledger_by_time", "ledger", ["user_id", "create_time_ns", "entry_id"], unique=False)
    op.create_table(
        "order_groups",
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("order_group_id", sa.String(length=36), nullable=False),
        sa.Column("client_order_group_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=32), nullable=False),
        sa.Column("quantity", columns.Amount(), nullable=False),
        sa.Column("order_ids", sa.Text(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("create_time_ns", sa.BigInteger(), nullable=False),
        sa.Column("update_time_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "order_group_id"),
        sa.UniqueConstraint("account_id", "client_order_group_id"),
    )
    op.create_index("order_groups_by_id", "order_groups", ["order_group_id"], unique=False)
    op.create_index("order_groups_open", "order_groups", ["is_open"], unique=False)
    op.create_table(
        "orders",
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.String(length=36), nullable=False),
        sa.Column("client_order_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("symbol", sa.String(length=40), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("type", sa.Integer(), nullable=False),
        sa.Column("time_in_force", sa.Integer(), nullable=False),
        sa.Column("position_effect", sa.Integer(), nullable=False),
        sa.Column("trailing_offset", columns.Amount(), nullable=True),
        sa.Column("expire_time_ns", sa.BigInteger(), nullable=False),
        sa.Column("strategy_id", sa.String(length=64), nullable=False),
        sa.Column("trace_id", sa.String(length=32), nullable=False),
        sa.Column("traceparent", sa.String(length=55), server_default="", nullable=False),
        sa.Column("fingerprint", sa.String(length=32), nullable=False),
        sa.Column("create_time_ns", sa.BigInteger(), nullable=False),
        sa.Column("trading_day", sa.Integer(), server_default="0", nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("quantity", columns.Amount(), nullable=False),
        sa.Column("price", columns.Amount(), nullable=True),
        sa.Column("stop_price", columns.Amount(), nullable=True),
        sa.Column("update_time_ns", sa.BigInteger(), nullable=False),
        sa.Column("reserve_price", columns.Amount(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("delivery", sa.Integer(), nullable=False),
        sa.Column("cumulative_quantity", columns.Amount(), nullable=False),
        sa.Column("filled_notional", sa.Text(), nullable=False),
        sa.Column("commission", columns.Amount(), nullable=False),
        sa.Column("reject_reason", sa.String(length=64), nullable=False),
        sa.Column("reject_message", sa.Text(), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=False),
        sa.Column("triggered", sa.Boolean(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "order_id"),
        sa.UniqueConstraint("account_id", "client_order_id"),
    )
    op.create_index("orders_by_id", "orders", ["order_id"], unique=False)
    op.create_index("orders_by_time", "orders", ["user_id", "create_time_ns", "order_id"], unique=False)
    op.create_index("orders_open", "orders", ["is_open"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("is_dead", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_table(
        "positions",
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("symbol", sa.String(length=40), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("contract_size", columns.Amount(), nullable=False),
        sa.Column("margin_rate", columns.Amount(), nullable=False),
        sa.Column("today_quantity", columns.Amount(), nullable=False),
        sa.Column("yesterday_quantity", columns.Amount(), nullable=False),
        sa.Column("trading_day", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cost", columns.Amount(), nullable=False),
        sa.Column("margin", columns.Amount(), nullable=False),
        sa.Column("realized_pnl", columns.Amount(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "account_id", "symbol", "side"),
    )
    op.create_index("positions_open", "positions", ["is_open"], unique=False)
    op.create_table(
        "trades",
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("trade_id", sa.String(length=36), nullable=False),
        sa.Column("order_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("symbol", sa.String(length=40), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("position_effect", sa.Integer(), nullable=False),
        sa.Column("price", columns.Amount(), nullable=False),
        sa.Column("quantity", columns.Amount(), nullable=False),
        sa.Column("commission", columns.Amount(), nullable=False),
        sa.Column("realized_pnl", columns.Amount(), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("create_time_ns", sa.BigInteger(), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("venue_trade_id", sa.String(length=128), nullable=False),
        sa.Column("strategy_id", sa.String(length=64), nullable=False),
        sa.Column("busted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("corrects_trade_id", sa.String(length=36), server_default="", nullable=False),
        sa.Column("trace_id", sa.String(length=32), server_default="", nullable=False),
        sa.Column("trading_day", sa.Integer(), server_default="0", nullable=False),
        sa.Column("closed_today", columns.Amount(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("user_id", "trade_id"),
        sa.UniqueConstraint("gateway", "venue_trade_id", "order_id"),
    )
    op.create_index("trades_by_order", "trades", ["order_id"], unique=False)
    op.create_index("trades_by_time", "trades", ["user_id", "create_time_ns", "trade_id"], unique=False)
