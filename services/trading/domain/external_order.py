"""External orders and trades, and their rows."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from redfire.enums import OrderStatus, OrderType, PositionEffect, Side

from services.trading.domain.money import ZERO
from services.trading.domain.report import FillReport, OrderStatusReport, TradeKind


@dataclass(frozen=True, slots=True)
class ExternalOrder:
    """An order at a venue that is not ours. `order_id` is that of the order of ours that it was adopted as."""

    external_order_id: str
    gateway: str
    venue_order_id: str
    reference: str
    symbol: str
    side: Side | None
    position_effect: PositionEffect = PositionEffect.OPEN
    type: OrderType = OrderType.LIMIT
    quantity: Decimal = ZERO
    price: Decimal | None = None
    cumulative_quantity: Decimal = ZERO
    status: OrderStatus = OrderStatus.UNKNOWN
    create_time_ns: int = 0
    update_time_ns: int = 0
    account_id: str = ""
    order_id: str = ""


@dataclass(frozen=True, slots=True)
class ExternalTrade:
    """A trade at a venue of an order that was not ours when it was reported."""

    external_trade_id: str
    external_order_id: str
    gateway: str
    venue_trade_id: str
    venue_order_id: str
    symbol: str
    side: Side | None
    position_effect: PositionEffect
    kind: TradeKind
    price: Decimal
    quantity: Decimal
    time_ns: int
    trading_day: int
    create_time_ns: int


@dataclass(frozen=True, slots=True)
class ExternalActivity:
    """An update of something external, for the outbox: an order, a trade, a position."""

    gateway: str
    kind: str
    symbol: str
    venue_id: str
    quantity: Decimal


def order_row(order: ExternalOrder) -> dict[str, Any]:
    """An external order's row."""
    return _row(order)


def order_from_row(row: Mapping[str, Any]) -> ExternalOrder:
    """The external order of a row."""
    enums = {
        "side": Side(row["side"]) if row["side"] else None,
        "position_effect": PositionEffect(row["position_effect"]),
        "type": OrderType(row["type"]),
        "status": OrderStatus(row["status"]),
    }
    return ExternalOrder(**{**row, **enums})


def trade_row(trade: ExternalTrade) -> dict[str, Any]:
    """An external trade's row."""
    return _row(trade)


def trade_from_row(row: Mapping[str, Any]) -> ExternalTrade:
    """The external trade of a row."""
    enums = {
        "side": Side(row["side"]) if row["side"] else None,
        "position_effect": PositionEffect(row["position_effect"]),
        "kind": TradeKind(row["kind"]),
    }
    return ExternalTrade(**{**row, **enums})


def _row(item: ExternalOrder | ExternalTrade) -> dict[str, Any]:
    row = {field.name: getattr(item, field.name) for field in fields(item)}
    for name in ("side", "position_effect", "type", "status", "kind"):
        if name in row:
            row[name] = int(row[name] or 0)
    return row


def fill_report(trade: ExternalTrade, reference: str) -> FillReport:
    """Return the report of a trade as one of the order with this reference."""
    return FillReport(
        trade.gateway, reference, trade.venue_trade_id, trade.symbol, trade.price, trade.quantity, trade.time_ns,
        trade.trading_day, TradeKind.NEW, trade.venue_order_id, trade.side, trade.position_effect,
    )  # fmt: skip


def status_report(external: ExternalOrder, reference: str) -> OrderStatusReport:
    """Return the report of an external order as one of the order with this reference."""
    return OrderStatusReport(
        external.gateway, reference, external.venue_order_id, external.symbol, external.quantity, external.price,
        external.cumulative_quantity, external.status,
    )  # fmt: skip
