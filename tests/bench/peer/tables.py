"""Trading's tables."""

from sqlalchemy import Column, DateTime, ForeignKey, MetaData, Numeric, String, Table, UniqueConstraint, Uuid, func

metadata = MetaData()
amount = Numeric(26, 8)

accounts = Table(
    "accounts",
    metadata,
    Column("user_id", String(36), primary_key=True),
    Column("balance", amount, nullable=False),
    Column("frozen", amount, nullable=False),
)
orders = Table(
    "orders",
    metadata,
    Column("order_id", Uuid, primary_key=True),
    Column("user_id", String(36), ForeignKey("accounts.user_id"), nullable=False),
    Column("client_order_id", String(64), nullable=False),
    Column("symbol", String(48), nullable=False),
    Column("side", String(16), nullable=False),
    Column("type", String(24), nullable=False),
    Column("quantity", amount, nullable=False),
    Column("price", amount),
    Column("time_in_force", String(24), nullable=False),
    Column("status", String(32), nullable=False),
    Column("reserved", amount, nullable=False),
    Column("create_time", DateTime(timezone=True), server_default=func.now(), nullable=False),
    UniqueConstraint("user_id", "client_order_id"),
)
trades = Table(
    "trades",
    metadata,
    Column("trade_id", Uuid, primary_key=True),
    Column("order_id", Uuid, ForeignKey("orders.order_id"), nullable=False),
    Column("price", amount, nullable=False),
    Column("quantity", amount, nullable=False),
    Column("time", DateTime(timezone=True), server_default=func.now(), nullable=False),
)
