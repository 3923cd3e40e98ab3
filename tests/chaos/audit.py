"""Audit of a client: the answers it had against its books, once all is quiet."""

from typing import Any
from urllib.parse import urlencode

from tests.chaos.trader import Trader
from tests.running import until

FINAL = {"FILLED", "CANCELED", "REJECTED", "EXPIRED"}
AT_REST = FINAL | {"NEW", "PARTIALLY_FILLED"}
SETTLED_S = 40.0


def audit(trader: Trader) -> list[str]:
    """All that was lost, doubled or is stuck of a client that is paused. First it asks for what it has no answer to."""
    record = trader.record

    def learned() -> bool:
        for key in sorted(record.unknown):
            trader.learn(key)
        return not record.unknown

    found = list(record.problems)
    record.problems.clear()
    if not _in_time(learned):
        found.append(f"{trader.user}: no answer by the same key to {sorted(record.unknown)}")
    orders: list[dict[str, Any]] = []

    def settled() -> bool:
        orders[:] = _all(trader, "orders")
        moving = [order for order in orders if _status(order) not in AT_REST]
        canceled = [order for order in orders if order["orderId"] in record.canceled and _status(order) not in FINAL]
        return not moving and not canceled

    if not _in_time(settled):
        stuck = [f"{o['clientOrderId']} {o['orderId']} {_status(o)}" for o in orders if _status(o) not in AT_REST]
        stuck += [
            f"{o['clientOrderId']} is {_status(o)}, and was canceled" for o in orders if o["orderId"] in record.canceled
        ]
        found.append(f"{trader.user}: stuck: {stuck}")
    found += _compare_orders(trader, orders)
    # Orders that rest go on filling: each trade has its own time to be record.
    booked = {trade["tradeId"]: trade["quantity"] for trade in _all(trader, "trades")}
    if not _in_time(lambda: booked.items() <= record.trades.items()):
        unheard = sorted(booked.items() - record.trades.items())
        found.append(f"{trader.user}: trades that the stream did not tell, or otherwise: {unheard}")
    heard = dict(record.trades)
    if lost := sorted(
        heard.items() - {trade["tradeId"]: trade["quantity"] for trade in _all(trader, "trades")}.items()
    ):
        found.append(f"{trader.user}: trades that were told and are not booked: {lost}")
    return found


def _compare_orders(trader: Trader, orders: list[dict[str, Any]]) -> list[str]:
    record, found = trader.record, []
    by_key: dict[str, dict[str, Any]] = {}
    for order in orders:
        key = order["clientOrderId"]
        if key in by_key:
            found.append(f"{key}: there are two orders")
        by_key[key] = order
        if key not in record.bodies:
            # Exits that a group opens anew have names of the platform's own.
            if not order.get("orderGroupId"):
                found.append(f"{key}: an order that nobody asked for")
        elif record.refused.get(key):
            found.append(f"{key}: refused with {record.refused[key]}, and there")
    for key, order_id in record.acknowledged.items():
        if key not in by_key:
            found.append(f"{key}: acknowledged as {order_id}, and lost")
        elif by_key[key]["orderId"] != order_id:
            found.append(f"{key}: acknowledged as {order_id}, and is {by_key[key]['orderId']}")
    return found


def _in_time(condition: Any) -> bool:
    try:
        return bool(until(condition, timeout_s=SETTLED_S, step_s=0.2))
    except AssertionError:
        return False


def _status(order: dict[str, Any]) -> str:
    return str(order["status"]).removeprefix("ORDER_STATUS_")


def _all(trader: Trader, noun: str) -> list[dict[str, Any]]:
    resources, token = [], ""
    while True:
        answer = trader.asked("GET", f"/api/trading/{noun}?{urlencode({'pageSize': 1000, 'pageToken': token})}")
        if answer is None:
            raise AssertionError(f"{noun} of {trader.user} cannot be listed")
        page = answer.json()
        resources += page[noun]
        token = page["nextPageToken"]
        if not token:
            return resources
