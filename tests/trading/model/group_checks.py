"""Invariants of groups that hold once all is settled."""

from collections import defaultdict
from decimal import Decimal as D
from typing import Any

from redfire.common.v1 import common_pb2 as common
from redfire.trading.v1 import order_service_pb2 as order_pb
from redfire.trading.v1 import trading_pb2

from tests.trading.model.exchange import CLOSES

ZERO = D(0)


async def groups_of(model: Any, orders: dict[str, Any]) -> dict[str, Any]:
    """All groups that orders belong to, as trading returns them."""
    users = {account_id: user for user, _, account_id in model.accounts}
    groups: dict[str, Any] = {}
    for order in orders.values():
        if order.order_group_id and order.order_group_id not in groups:
            request = order_pb.GetOrderGroupRequest(order_group_id=order.order_group_id)
            answer = await model.run.orders(users[order.account_id]).GetOrderGroup(request)
            groups[order.order_group_id] = answer.order_group
    return groups


def remaining(group: Any) -> D:
    """The quantity that a group's members stand for."""
    entry, members = _parts(group)
    total = D(entry.cumulative_quantity) if entry is not None else max(D(order.quantity) for order in members)
    return max(total - sum((D(order.cumulative_quantity) for order in members), ZERO), ZERO)


def is_entry(group: Any, order: Any) -> bool:
    """Return whether an order is a bracket's entry: unlike the others of a group it waits for no other order."""
    entry, _ = _parts(group)
    return entry is not None and entry.order_id == order.order_id


def is_dormant(group: Any, order: Any) -> bool:
    """Return whether it waits for an entry that is open and has filled nothing that is not closed."""
    entry, members = _parts(group)
    waits = entry is not None and D(entry.leaves_quantity) and not remaining(group)
    return bool(waits) and order.order_id in {one.order_id for one in members}


def contracts_held(groups: dict[str, Any], open_orders: dict[str, Any]) -> dict[tuple[str, str, int], D]:
    """The quantities of positions that the groups' closing orders hold: each group once."""
    result: dict[tuple[str, str, int], D] = defaultdict(D)
    for group in groups.values():
        _, members = _parts(group)
        standing = [order for order in members if order.order_id in open_orders and order.position_effect in CLOSES]
        if standing and not is_dormant(group, standing[0]):
            first = standing[0]
            side = common.POSITION_SIDE_SHORT if first.side == 1 else common.POSITION_SIDE_LONG
            result[first.account_id, first.symbol, side] += max(D(order.leaves_quantity) for order in standing)
    return result


def problems(groups: dict[str, Any]) -> list[str]:
    """Check that all that filled is protected, and never more than that is closed."""
    violations = []
    for group in groups.values():
        entry, members = _parts(group)
        closed = sum((D(order.cumulative_quantity) for order in members), ZERO)
        if entry is not None and closed > D(entry.cumulative_quantity):
            violations.append(f"group {group.client_order_group_id} closed {closed} of {entry.cumulative_quantity}")
        for order in members:
            if not D(order.leaves_quantity) or is_dormant(group, order) or order.position_effect not in CLOSES:
                continue
            if D(order.leaves_quantity) > remaining(group):
                violations.append(
                    f"group {group.client_order_group_id}: {order.client_order_id} stands for "
                    f"{order.leaves_quantity}, {remaining(group)} remain"
                )
        open_now = any(D(order.leaves_quantity) for order in group.orders)
        if (group.status == trading_pb2.ORDER_GROUP_STATUS_ACTIVE) != open_now:
            violations.append(f"group {group.client_order_group_id} has status {group.status}, open orders: {open_now}")
    return violations


def _parts(group: Any) -> tuple[Any, list[Any]]:
    if group.kind == trading_pb2.ORDER_GROUP_KIND_BRACKET:
        return group.orders[0], list(group.orders[1:])
    return None, list(group.orders)
