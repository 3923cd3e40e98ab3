"""Lists of orders, trades and ledger entries, newest first: pages of rows as texts, scoped by the owner.

Each combination of filters is a statement of its own, made once. Nothing here makes objects of rows: the texts become
messages (`list_convert`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BigInteger, Integer, Text, bindparam, select, tuple_

from services.kernel.data.reads import Query, Reader, RowText
from services.kernel.paging import Page, PageResult
from services.trading import models

# In the order in which list_convert reads them; time and id, by which pages go on, come first.
ORDER_COLUMNS = (
    "create_time_ns", "order_id", "client_order_id", "account_id", "symbol", "side", "type", "time_in_force",
    "position_effect", "quantity", "price", "stop_price", "trailing_offset", "status", "cumulative_quantity",
    "filled_notional", "commission", "reject_reason", "reject_message", "venue_order_id", "strategy_id", "trace_id",
    "update_time_ns", "expire_time_ns", "triggered", "details", "trading_day",
)  # fmt: skip
TRADE_COLUMNS = (
    "create_time_ns", "trade_id", "order_id", "account_id", "symbol", "side", "position_effect", "price", "quantity",
    "commission", "realized_pnl", "time_ns", "venue_trade_id", "strategy_id", "busted", "corrects_trade_id",
    "trace_id", "trading_day",
)  # fmt: skip
ENTRY_COLUMNS = (
    "create_time_ns", "entry_id", "transaction_id", "ledger_account", "amount", "kind", "reference", "account_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Filter of orders, trades or entries; an empty field does not narrow."""

    account_id: str = ""
    symbol: str = ""
    order_id: str = ""
    strategy_id: str = ""
    statuses: Sequence[int] = field(default_factory=list)
    start_time_ns: int = 0
    end_time_ns: int = 0
    open_only: bool = False


class ListRepository:
    """Reads pages of trading's tables."""

    def __init__(self, reader: Reader) -> None:
        self._orders = _List(reader, models.OrderRow.__table__, ORDER_COLUMNS)
        self._trades = _List(reader, models.TradeRow.__table__, TRADE_COLUMNS)
        self._entries = _List(reader, models.LedgerRow.__table__, ENTRY_COLUMNS)

    async def list_orders(self, user_id: str, order_filter: OrderFilter, page: Page) -> PageResult[str]:
        """A user's orders, newest first, each as the text of ORDER_COLUMNS."""
        return await self._orders.read(user_id, order_filter, page)

    async def list_trades(self, user_id: str, order_filter: OrderFilter, page: Page) -> PageResult[str]:
        """A user's trades, newest first, each as the text of TRADE_COLUMNS."""
        return await self._trades.read(user_id, order_filter, page)

    async def list_ledger_entries(self, user_id: str, order_filter: OrderFilter, page: Page) -> PageResult[str]:
        """A user's ledger entries, newest first, each as the text of ENTRY_COLUMNS."""
        return await self._entries.read(user_id, order_filter, page)


class _List:
    """One table's list."""

    def __init__(self, reader: Reader, table: Any, columns: Sequence[str]) -> None:
        self._reader = reader
        self._table = table
        self._row = RowText(*(table.c[name] for name in columns)).label("row_text")
        self._key = columns[1]
        # By the fields of the filter that narrow: there are at most some hundred combinations, of few in use.
        self._queries: dict[tuple[object, ...], Query] = {}

    async def read(self, user_id: str, order_filter: OrderFilter, page: Page) -> PageResult[str]:
        statuses = sorted(set(order_filter.statuses))
        values = {name: value for name in _EQUALS if (value := getattr(order_filter, name))}
        times = {name: value for name in _TIMES if (value := getattr(order_filter, name))}
        shape = (*values, *times, len(statuses), order_filter.open_only, page.after is not None)
        query = self._queries.get(shape)
        if query is None:
            query = self._queries[shape] = self._query(list(values), list(times), len(statuses), order_filter, page)
        values |= times
        values |= {f"status_{number}": status for number, status in enumerate(statuses)}
        if page.after is not None:
            values["after_time_ns"], values["after_id"] = page.after
        values["owner"], values["most"] = user_id, page.size + 1
        return page.slice(await self._reader.fetch(query, values), _cursor)

    def _query(
        self, equals: Sequence[str], times: Sequence[str], statuses: int, order_filter: OrderFilter, page: Page
    ) -> Query:
        columns = self._table.c
        time, key = columns.create_time_ns, columns[self._key]
        query = select(self._row).where(columns.user_id == bindparam("owner"))
        for name in equals:
            query = query.where(columns[name] == bindparam(name))
        if "start_time_ns" in times:
            query = query.where(time >= bindparam("start_time_ns"))
        if "end_time_ns" in times:
            query = query.where(time < bindparam("end_time_ns"))
        if page.after is not None:
            after = bindparam("after_time_ns", type_=BigInteger), bindparam("after_id", type_=Text)
            query = query.where(tuple_(time, key) < tuple_(*after))
        if statuses:
            query = query.where(columns.status.in_([bindparam(f"status_{number}") for number in range(statuses)]))
        if order_filter.open_only:
            query = query.where(columns.is_open)
        query = query.order_by(time.desc(), key.desc()).limit(bindparam("most", type_=Integer))
        return self._reader.prepare(query)


_EQUALS = ("account_id", "symbol", "order_id", "strategy_id")
_TIMES = ("start_time_ns", "end_time_ns")


def _cursor(text: str) -> list[Any]:
    cursor: list[Any] = json.loads(text)[:2]
    return cursor
