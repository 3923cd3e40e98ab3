"""Invariants of a restart."""

from decimal import Decimal as D
from typing import Any

from tests.trading.model import checks
from tests.trading.model.exchange import CLOSES


async def dump(model: Any) -> dict[str, Any]:
    """All that a restart must not change."""
    books = await checks.read(model)
    # What the engine cannot name ends without a report, and is resolved later.
    nameless = {order.reference[:36] for order in model.venue.exchange.orders.values() if order.anonymous}
    result: dict[str, Any] = {
        f"order {name}": _lasting(order) for name, order in books.orders.items() if name not in nameless
    }
    result |= {f"trade {trade.trade_id}": trade for trade in books.trades}
    result |= {f"entry {entry.entry_id}": entry for entry in books.entries}
    result |= {f"position {p.account_id} {p.symbol} {p.side}": checks.plain(p) for p in books.positions}
    for name, account in books.accounts.items():
        result[f"account {name}"] = copy = checks.plain(account)
        copy.ClearField("frozen")  # a stop that cannot be sent is valued anew with each try
    return result


def _lasting(order: Any) -> Any:
    """A stop, or an exit of a group, that cannot be sent: its fields change with each try."""
    tried_again = order.type in (3, 4, 5) or (order.order_group_id and order.position_effect in CLOSES)
    if order.order_id and tried_again and D(order.leaves_quantity):
        copy = type(order)()
        copy.CopyFrom(order)
        for name in ("update_time", "hold_reason", "triggered"):
            copy.ClearField(name)
        return copy
    return order


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The differences."""
    return [
        f"{name}: {before.get(name)} → {after.get(name)}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
