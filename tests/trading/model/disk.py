"""State of trading on disk that no RPC returns."""

import json
import sqlite3
from decimal import Decimal as D
from pathlib import Path
from typing import Any


def reserve_prices(model: Any) -> dict[str, D]:
    """The prices that open orders hold money at."""
    rows = _rows(model.platform.folder, "SELECT order_id, reserve_price FROM orders WHERE is_open")
    return {order_id: D(str(price or 0)) for order_id, price in rows}


def leases(model: Any) -> list[str]:
    """No lease is about to end: its orders were canceled, or a client came back for it."""
    rows = _rows(model.platform.folder, "SELECT account_id FROM leases WHERE deadline_ns > 0")
    return [f"the lease of account {account_id} has not ended" for (account_id,) in rows]


def days(model: Any) -> list[str]:
    """Every position came into the present day, and was settled with it where the exchanges' hours are kept."""
    rows = _rows(model.platform.folder, "SELECT account_id, symbol, side, trading_day FROM positions WHERE is_open")
    today = model.venue.exchange.trading_day
    return [f"position {key} is still in {day}, not in {today}" for *key, day in rows if day != today]


def group_of(folder: Path, order_id: str) -> set[str]:
    """All orders of an order's group."""
    rows = _rows(folder, "SELECT order_ids FROM order_groups WHERE instr(order_ids, ?)", order_id)
    return {one for (order_ids,) in rows for one in json.loads(order_ids)}


def _rows(folder: Path, query: str, *values: Any) -> list[Any]:
    connection = sqlite3.connect(next(folder.glob("trading*.sqlite")))
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()
