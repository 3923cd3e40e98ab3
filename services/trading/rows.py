"""Orders, positions and the like as rows, and back."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal
from operator import attrgetter
from typing import Any

from services.kernel.decimals import plain
from services.trading.accounts import Account, AccountKind
from services.trading.instruments import Instrument
from services.trading.ledger import LedgerEntry, LedgerEntryKind
from services.trading.orders import (
    Delivery,
    Order,
    OrderStatus,
    OrderType,
    PositionEffect,
    PositionSide,
    ReplaceStep,
    Side,
    TimeInForce,
)
from services.trading.positions import Position
from services.trading.trades import Trade


def order_row(order: Order) -> dict[str, Any]:
    """An order's row."""
    return {
        "user_id": order.user_id,
        "order_id": order.order_id,
        "client_order_id": order.client_order_id,
        "account_id": order.account_id,
        "gateway": order.gateway,
        "symbol": order.symbol,
        "side": int(order.side),
        "type": int(order.type),
        "time_in_force": int(order.time_in_force),
        "position_effect": int(order.position_effect),
        "trailing_offset": order.trailing_offset,
        "expire_time_ns": order.expire_time_ns,
        "strategy_id": order.strategy_id,
        "trace_id": order.trace_id,
        "fingerprint": order.fingerprint,
        "create_time_ns": order.create_time_ns,
        "is_open": order.is_open,
        "quantity": order.quantity,
        "price": order.price,
        "stop_price": order.stop_price,
        "update_time_ns": order.update_time_ns,
        "reserve_price": order.reserve_price,
        "status": int(order.status),
        "delivery": int(order.delivery),
        "cumulative_quantity": order.cumulative_quantity,
        "filled_notional": plain(order.filled_notional),
        "commission": order.commission,
        "reject_reason": order.reject_reason,
        "reject_message": order.reject_message,
        "venue_order_id": order.venue_order_id,
        "triggered": order.triggered,
        "details": _details(order),
    }


def order_from_row(row: Mapping[str, Any], trade_ids: set[str]) -> Order:
    """The order of a row. `reserved` is the book's to set."""
    values = dict(row)
    values.pop("is_open")
    details = values.pop("details")
    values.update(
        side=Side(row["side"]),
        type=OrderType(row["type"]),
        time_in_force=TimeInForce(row["time_in_force"]),
        position_effect=PositionEffect(row["position_effect"]),
        status=OrderStatus(row["status"]),
        delivery=Delivery(row["delivery"]),
        filled_notional=Decimal(row["filled_notional"]),
    )
    for name, text in (json.loads(details) if details else {}).items():
        values[name] = _DETAILS[name](text)
    return Order(**values, trade_ids=trade_ids)


# What is written of an order only where it differs from a new one's, and how it is read.
_DETAILS: dict[str, Callable[[str], Any]] = {
    "leg": int,
    "leg_base": Decimal,
    "leg_announced": Decimal,
    "announced_status": lambda text: OrderStatus(int(text)),
    "announced_reason": str,
    "announced_message": str,
    "replace_step": lambda text: ReplaceStep(int(text)),
    "pending_quantity": Decimal,
    "pending_price": Decimal,
    "hold_today": Decimal,
    "hold_yesterday": Decimal,
}
_DETAILS_OF = attrgetter(*_DETAILS)


def _details(order: Order) -> str:
    values = _DETAILS_OF(order)
    if not any(values):
        return ""
    found = {
        name: str(int(value)) if isinstance(value, int) else str(value)
        for name, value in zip(_DETAILS, values, strict=True)
        # A price of zero is a price.
        if value or (name == "pending_price" and value is not None)
    }
    return json.dumps(found, ensure_ascii=False)


def account_row(account: Account) -> dict[str, Any]:
    """An account's row."""
    return {
        "user_id": account.user_id,
        "account_id": account.account_id,
        "display_name": account.display_name,
        "kind": int(account.kind),
        "gateway": account.gateway,
        "currency": account.currency,
        "request_id": account.request_id,
        "create_time_ns": account.create_time_ns,
        "balance": account.balance,
        "realized_pnl": account.realized_pnl,
        "commission": account.commission,
    }


def account_from_row(row: Mapping[str, Any]) -> Account:
    """The account of a row, without its positions."""
    return Account(**{**row, "kind": AccountKind(row["kind"])})


def position_row(position: Position) -> dict[str, Any]:
    """A position's row."""
    return {
        "user_id": position.user_id,
        "account_id": position.account_id,
        "symbol": position.symbol,
        "side": int(position.side),
        "is_open": bool(position.quantity),
        "gateway": position.gateway,
        "contract_size": position.contract_size,
        "margin_rate": position.margin_rate,
        "today_quantity": position.today_quantity,
        "yesterday_quantity": position.yesterday_quantity,
        "cost": position.cost,
        "margin": position.margin,
        "realized_pnl": position.realized_pnl,
    }


def position_from_row(row: Mapping[str, Any]) -> Position:
    """The position of a row. What is frozen is the book's to set."""
    values = {**row, "side": PositionSide(row["side"])}
    values.pop("is_open")
    return Position(**values)


def trade_row(trade: Trade) -> dict[str, Any]:
    """A trade's row."""
    row = {field.name: getattr(trade, field.name) for field in fields(Trade)}
    row["side"], row["position_effect"] = int(trade.side), int(trade.position_effect)
    return row


def trade_from_row(row: Mapping[str, Any]) -> Trade:
    """The trade of a row."""
    return Trade(**{**row, "side": Side(row["side"]), "position_effect": PositionEffect(row["position_effect"])})


def entry_row(entry: LedgerEntry) -> dict[str, Any]:
    """A ledger entry's row."""
    row = {field.name: getattr(entry, field.name) for field in fields(LedgerEntry)}
    row["kind"] = int(entry.kind)
    return row


def entry_from_row(row: Mapping[str, Any]) -> LedgerEntry:
    """The ledger entry of a row."""
    return LedgerEntry(**{**row, "kind": LedgerEntryKind(row["kind"])})


def instrument_row(instrument: Instrument) -> dict[str, Any]:
    """An instrument's row."""
    terms = {field.name: str(getattr(instrument, field.name)) for field in fields(Instrument) if field.init}
    return {"symbol": instrument.symbol, "terms": terms}


def instrument_from_row(row: Mapping[str, Any]) -> Instrument:
    """The instrument of a row."""
    terms: dict[str, Any] = dict(row["terms"])
    for field in fields(Instrument):
        if field.init and field.type is Decimal:
            terms[field.name] = Decimal(terms[field.name])
    return Instrument(**terms)
