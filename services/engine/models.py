"""The engine's tables: the simulated exchange's orders, and the orders and trades of other gateways."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Boolean, Index, Integer, String, Text, UniqueConstraint, false
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.data.columns import Amount, JsonDocument, UtcTime


class Base(DeclarativeBase):
    """The engine's schema."""


class SimOrderRow(Base):
    """An order that SIM has or had."""

    __tablename__ = "sim_orders"
    __table_args__ = (Index("ix_sim_orders_is_open", "is_open"),)

    venue_order_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    order_id: Mapped[str | None] = mapped_column(String(64), unique=True)
    account_id: Mapped[str] = mapped_column(String(64))
    symbol: Mapped[str] = mapped_column(String(64))
    side: Mapped[str] = mapped_column(String(8))
    type: Mapped[str] = mapped_column(String(8))
    time_in_force: Mapped[str] = mapped_column(String(8))
    position_effect: Mapped[str] = mapped_column(String(16))
    quantity: Mapped[Decimal] = mapped_column(Amount)
    price: Mapped[Decimal | None] = mapped_column(Amount)
    cumulative_quantity: Mapped[Decimal] = mapped_column(Amount)
    status: Mapped[str] = mapped_column(String(20))
    is_open: Mapped[bool] = mapped_column(Boolean)
    reason: Mapped[str] = mapped_column(String(64))
    message: Mapped[str] = mapped_column(Text)
    expire_time: Mapped[datetime | None] = mapped_column(UtcTime)
    post_only: Mapped[bool] = mapped_column(Boolean, server_default=false())
    trading_day: Mapped[int] = mapped_column(Integer)
    priority: Mapped[int] = mapped_column(BigInteger)
    create_time: Mapped[datetime] = mapped_column(UtcTime)
    update_time: Mapped[datetime] = mapped_column(UtcTime)


class SimTradeRow(Base):
    """A fill that SIM gave."""

    __tablename__ = "sim_trades"
    __table_args__ = (Index("ix_sim_trades_day", "trading_day", "venue_trade_id"),)

    venue_trade_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    venue_order_id: Mapped[int] = mapped_column(BigInteger, index=True)
    order_id: Mapped[str] = mapped_column(String(64))
    symbol: Mapped[str] = mapped_column(String(64))
    side: Mapped[str] = mapped_column(String(8))
    position_effect: Mapped[str] = mapped_column(String(16))
    price: Mapped[Decimal] = mapped_column(Amount)
    quantity: Mapped[Decimal] = mapped_column(Amount)
    time: Mapped[datetime] = mapped_column(UtcTime)
    trading_day: Mapped[int] = mapped_column(Integer)


class SimPositionRow(Base):
    """The position of all of SIM's orders together in a symbol and side."""

    __tablename__ = "sim_positions"

    symbol: Mapped[str] = mapped_column(String(64), primary_key=True)
    side: Mapped[str] = mapped_column(String(8), primary_key=True)
    quantity: Mapped[Decimal] = mapped_column(Amount)
    yesterday_quantity: Mapped[Decimal] = mapped_column(Amount)


class SimStateRow(Base):
    """Other state of SIM: the trading day, and that of each simulated market (`market:SYMBOL`)."""

    __tablename__ = "sim_state"

    key: Mapped[str] = mapped_column(String(96), primary_key=True)
    value: Mapped[Any] = mapped_column(JsonDocument)


class ShardEpochRow(Base):
    """The highest epoch in which somebody owned a shard of trading's users, as far as was heard."""

    __tablename__ = "shard_epochs"

    shard: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(BigInteger)


class GatewayOrderRow(Base):
    """An order for another gateway, written before it is sent; `venue_order_id` is empty until the gateway names it.

    `state` is SENDING (it may be at the venue), SENT, or REFUSED (it never was); `status` and `cumulative_quantity` are
    the venue's last report, and `is_open` whether more may follow. Rows of the version before have no state and side.
    """

    __tablename__ = "gateway_orders"
    __table_args__ = (Index("ix_gateway_orders_is_open", "is_open"),)

    order_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    gateway_name: Mapped[str] = mapped_column(String(32))
    venue_order_id: Mapped[str] = mapped_column(String(128), index=True)
    symbol: Mapped[str] = mapped_column(String(64))
    side: Mapped[str] = mapped_column(String(8), server_default="")
    type: Mapped[str] = mapped_column(String(8), server_default="LIMIT")
    time_in_force: Mapped[str] = mapped_column(String(8), server_default="DAY")
    position_effect: Mapped[str] = mapped_column(String(16), server_default="OPEN")
    quantity: Mapped[Decimal] = mapped_column(Amount, server_default="0")
    price: Mapped[Decimal | None] = mapped_column(Amount)
    state: Mapped[str] = mapped_column(String(8), server_default="")
    status: Mapped[str] = mapped_column(String(20), server_default="PENDING_NEW")
    cumulative_quantity: Mapped[Decimal] = mapped_column(Amount, server_default="0")
    is_open: Mapped[bool] = mapped_column(Boolean, server_default=false())
    trading_day: Mapped[int] = mapped_column(Integer, server_default="0")
    create_time: Mapped[datetime] = mapped_column(UtcTime, index=True)
    update_time: Mapped[datetime | None] = mapped_column(UtcTime)


class GatewayTradeRow(Base):
    """A fill that another gateway reported, of any order; numbered in the order in which they were reported."""

    __tablename__ = "gateway_trades"
    __table_args__ = (
        UniqueConstraint("gateway_name", "venue_trade_id"),
        Index("ix_gateway_trades_day", "gateway_name", "trading_day", "number"),
    )

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    gateway_name: Mapped[str] = mapped_column(String(32))
    venue_trade_id: Mapped[str] = mapped_column(String(128))
    venue_order_id: Mapped[str] = mapped_column(String(128))
    order_id: Mapped[str] = mapped_column(String(64), index=True)
    symbol: Mapped[str] = mapped_column(String(64))
    side: Mapped[str] = mapped_column(String(8))
    position_effect: Mapped[str] = mapped_column(String(16))
    price: Mapped[Decimal] = mapped_column(Amount)
    quantity: Mapped[Decimal] = mapped_column(Amount)
    time: Mapped[datetime] = mapped_column(UtcTime)
    trading_day: Mapped[int] = mapped_column(Integer)
