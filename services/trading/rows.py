"""Orders, positions and the like as rows, and back."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal
from operator import attrgetter
from typing import Any

from redfire.enums import (
    AccountKind,
    LedgerEntryKind,
    OrderGroupKind,
    OrderStatus,
    OrderType,
    PositionEffect,
    PositionSide,
    Side,
    TimeInForce,
)

from services.kernel.decimals import plain
from services.kernel.shards.ownership import shard_of
from services.trading.domain.account import Account
from services.trading.domain.instrument import Instrument
from services.trading.domain.lease import Lease
from services.trading.domain.ledger import LedgerEntry
from services.trading.domain.order import Delivery, Leg, Order, ReplaceStep
from services.trading.domain.order_group import OrderGroup
from services.trading.domain.position import Position
from services.trading.domain.report import AccountReport
from services.trading.domain.trade import Trade


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
        "traceparent": order.traceparent,
        "fingerprint": order.fingerprint,
        "create_time_ns": order.create_time_ns,
        "trading_day": order.trading_day,
        "is_open": order.is_open,
        "quantity": order.quantity,
        "price": order.price,
        "stop_price": order.stop_price,
        "update_time_ns": order.update_time_ns,
        "reserve_price": order.reserve_price,
        "status": int(order.status),
        "delivery": int(order.legs[0].delivery if order.legs else Delivery.EMULATED),
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
    details, delivery, venue_order_id = (values.pop(name) for name in ("details", "delivery", "venue_order_id"))
    values.update(
        side=Side(row["side"]),
        type=OrderType(row["type"]),
        time_in_force=TimeInForce(row["time_in_force"]),
        position_effect=PositionEffect(row["position_effect"]),
        status=OrderStatus(row["status"]),
        filled_notional=Decimal(row["filled_notional"]),
    )
    written = json.loads(details) if details else {}
    legs = written.pop("legs", None)
    values["leg_count"] = int(written.pop("leg_count", 0))
    older = {name: written.pop(name) for name in _BEFORE_LEGS if name in written}
    for name, text in written.items():
        values[name] = _DETAILS[name](text)
    order = Order(**values, trade_ids=trade_ids)
    if legs is not None:
        order.legs = [Leg(*(parse(text) for parse, text in zip(_LEG.values(), leg, strict=True))) for leg in legs]
    elif delivery != Delivery.EMULATED:
        order.legs = [_usual_leg(order, Delivery(delivery), venue_order_id)]
        if older and order.is_open:
            _make_older(order, order.legs[0], older)
    order.leg_count = order.leg_count or len(order.legs)
    for leg in order.legs:
        # It was written before it was sent: its outcome is known to the venue alone.
        if leg.delivery in (Delivery.QUEUED, Delivery.SENDING):
            leg.delivery = Delivery.UNCERTAIN
    return order


def _usual_leg(order: Order, delivery: Delivery, venue_order_id: str) -> Leg:
    """The one leg of an order that is as its order is, which needs no words of its own."""
    filled = order.cumulative_quantity
    leg = Leg(0, order.position_effect, order.quantity, delivery, filled, filled, venue_order_id)
    leg.trading_day = order.trading_day
    if not order.is_open and order.status is not OrderStatus.FILLED:
        leg.announced_status = order.status
    return leg


# What versions before legs wrote of the one life at the venue that an order had.
_BEFORE_LEGS = (
    "leg", "leg_base", "leg_announced", "announced_status", "announced_reason", "announced_message",
)  # fmt: skip


def _make_older(order: Order, leg: Leg, older: Mapping[str, str]) -> None:
    base = Decimal(older.get("leg_base", "0"))
    leg.number = int(older.get("leg", "0"))
    order.leg_count = leg.number + 1
    leg.quantity, leg.filled = order.quantity - base, order.cumulative_quantity - base
    leg.announced = max(leg.filled, Decimal(older.get("leg_announced", "0")))
    if status := older.get("announced_status"):
        leg.announced_status = OrderStatus(int(status))
        leg.announced_reason = older.get("announced_reason", "")
        leg.announced_message = older.get("announced_message", "")


# What is written of an order only where it differs from a new one's, and how it is read.
_DETAILS: dict[str, Callable[[str], Any]] = {
    "hold_reason": str,
    "day_over": lambda text: text == "1",
    "held_day": int,
    "cancel_reason": str,
    "order_group_id": str,
    "reduce_only": bool,
    "post_only": bool,
    "cancel_first": str,
    "entry_open": bool,
    "replace_step": lambda text: ReplaceStep(int(text)),
    "pending_quantity": Decimal,
    "pending_price": Decimal,
    "hold_today": Decimal,
    "hold_yesterday": Decimal,
}
_DETAILS_OF = attrgetter(*_DETAILS)
# A leg's values in their order, and how they are read.
_LEG: dict[str, Callable[[str], Any]] = {
    "number": int,
    "position_effect": lambda text: PositionEffect(int(text)),
    "quantity": Decimal,
    "delivery": lambda text: Delivery(int(text)),
    "filled": Decimal,
    "announced": Decimal,
    "venue_order_id": str,
    "announced_status": lambda text: OrderStatus(int(text)) if text else None,
    "announced_reason": str,
    "announced_message": str,
    "trading_day": int,
}
_LEG_OF = attrgetter(*_LEG)


def _details(order: Order) -> str:
    values, is_usual = _DETAILS_OF(order), _is_usual(order)
    # As many legs as it has is how many an order usually had.
    counts = order.leg_count != len(order.legs)
    if is_usual and not counts and not any(values):
        return ""
    written: dict[str, Any] = {
        name: _text(value)
        for name, value in zip(_DETAILS, values, strict=True)
        # A price of zero is a price.
        if value or (name == "pending_price" and value is not None)
    }
    if counts:
        written["leg_count"] = _text(order.leg_count)
    if not is_usual:
        written["legs"] = [[_text(value) for value in _LEG_OF(leg)] for leg in order.legs]
    return json.dumps(written, ensure_ascii=False) if written else ""


def _is_usual(order: Order) -> bool:
    """Return whether `_usual_leg` makes of the row what there is of legs."""
    if not order.legs:
        return True
    leg = order.legs[0]
    return (
        len(order.legs) == 1
        and not leg.number
        and leg.position_effect is order.position_effect
        and leg.quantity == order.quantity
        and leg.filled == order.cumulative_quantity
        and leg.announced <= leg.filled
        and leg.trading_day == order.trading_day
        and (not order.is_open or leg.announced_status is None)
    )


def _text(value: object) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, int) else str(value)


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
        "margin_call": account.margin_call,
        "venue": _venue_text(account.venue),
        "shard": shard_of(account.user_id),
    }


def account_from_row(row: Mapping[str, Any]) -> Account:
    """The account of a row, without its positions."""
    values = {**row, "kind": AccountKind(row["kind"]), "venue": _venue_of(row["venue"])}
    del values["shard"]
    return Account(**values)


def _venue_text(report: AccountReport | None) -> str:
    return "" if report is None else json.dumps([str(getattr(report, field.name)) for field in fields(report)])


def _venue_of(text: str) -> AccountReport | None:
    if not text:
        return None
    gateway, venue_account_id, currency, balance, available, margin, frozen, time_ns, difference = json.loads(text)
    return AccountReport(
        gateway, venue_account_id, currency, Decimal(balance), Decimal(available),
        None if margin == "None" else Decimal(margin), Decimal(frozen), int(time_ns), Decimal(difference),
    )  # fmt: skip


def order_group_row(group: OrderGroup) -> dict[str, Any]:
    """A group's row."""
    return {
        "user_id": group.user_id,
        "order_group_id": group.order_group_id,
        "client_order_group_id": group.client_order_group_id,
        "account_id": group.account_id,
        "kind": int(group.kind),
        "fingerprint": group.fingerprint,
        "quantity": group.quantity,
        "order_ids": json.dumps([order.order_id for order in group.orders]),
        "is_open": group.is_open,
        "create_time_ns": group.create_time_ns,
        "update_time_ns": group.update_time_ns,
    }


def order_group_from_row(row: Mapping[str, Any], orders: Mapping[str, Order]) -> OrderGroup:
    """The group of a row, of orders by their ids."""
    values = {**row, "kind": OrderGroupKind(row["kind"])}
    values.pop("is_open")
    values["orders"] = [orders[order_id] for order_id in json.loads(values.pop("order_ids"))]
    return OrderGroup(**values)


def lease_row(lease: Lease) -> dict[str, Any]:
    """A lease's row."""
    return {field.name: getattr(lease, field.name) for field in fields(Lease)}


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
        "today_quantity": position.day_quantity,
        "yesterday_quantity": position.older_quantity,
        "trading_day": position.trading_day,
        "cost": position.cost,
        "margin": position.margin,
        "realized_pnl": position.realized_pnl,
    }


def position_from_row(row: Mapping[str, Any]) -> Position:
    """The position of a row. What is frozen is the book's to set."""
    values = {**row, "side": PositionSide(row["side"])}
    values.pop("is_open")
    values["day_quantity"], values["older_quantity"] = values.pop("today_quantity"), values.pop("yesterday_quantity")
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
    terms["expire_date"] = int(terms.get("expire_date", 0))
    return Instrument(**terms)
