"""Queries of the checks: whole tables in the order of a key, row by row, so that their size does not matter."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.trading import models, rows
from services.trading.domain.account import Account
from services.trading.domain.instrument import Instrument
from services.trading.domain.ledger import LedgerEntry
from services.trading.domain.order import Order
from services.trading.domain.position import Position
from services.trading.domain.trade import Trade

_ACCOUNTS = models.AccountRow.__table__
_ORDERS = models.OrderRow.__table__
_TRADES = models.TradeRow.__table__
_LEDGER = models.LedgerRow.__table__
_POSITIONS = models.PositionRow.__table__
_COMMIT_LOG = models.CommitLogRow.__table__
_SHARD_SEQUENCES = models.ShardSequenceRow.__table__
_EXTERNAL = models.ExternalTradeRow.__table__
_EXTERNAL_ORDERS = models.ExternalOrderRow.__table__
AT_ONCE = 1000
IN_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class OpenBooks:
    """Snapshot of all that is open, as of `sequence`, the last step's."""

    sequence: int
    accounts: Sequence[Account]
    positions: Sequence[Position]
    orders: Sequence[Order]
    instruments: Sequence[Instrument]
    gateways: dict[str, tuple[int, bool]]


class BooksRepository:
    """Reads trading's tables whole."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def counts(self) -> dict[str, int]:
        """The number of rows by what they are."""
        tables = {
            "accounts": _ACCOUNTS, "orders": _ORDERS, "trades": _TRADES, "ledger entries": _LEDGER,
            "positions": _POSITIONS,
        }  # fmt: skip
        return {
            name: await self._session.scalar(select(func.count()).select_from(table)) or 0
            for name, table in tables.items()
        }

    async def last_change_ns(self) -> int:
        """The time of the last change of an order, or 0."""
        return await self._session.scalar(select(func.max(_ORDERS.c.update_time_ns))) or 0

    async def open_books(self) -> OpenBooks:
        """All accounts and positions, and the open orders."""
        accounts = await self._all(select(_ACCOUNTS))
        positions = await self._all(select(_POSITIONS))
        orders = await self._all(select(_ORDERS).where(_ORDERS.c.is_open).order_by(_ORDERS.c.order_id))
        instruments = await self._all(select(models.InstrumentRow.__table__))
        gateways = await self._all(select(models.GatewayRow.__table__))
        sequences = [
            await self._session.scalar(select(func.max(column))) or 0
            for column in (_COMMIT_LOG.c.sequence, _SHARD_SEQUENCES.c.trimmed_through)
        ]
        return OpenBooks(
            max(sequences),
            [rows.account_from_row(row) for row in accounts],
            [rows.position_from_row(row) for row in positions],
            [rows.order_from_row(row, set()) for row in orders],
            [rows.instrument_from_row(row) for row in instruments],
            {row["gateway"]: (row["trading_day"], row["keeps_own_days"]) for row in gateways},
        )

    async def entries_by_time(self) -> AsyncIterator[LedgerEntry]:
        """Ledger entries by (user, time)."""
        query = select(_LEDGER).order_by(_LEDGER.c.user_id, _LEDGER.c.create_time_ns, _LEDGER.c.entry_id)
        async for row in self._stream(query):
            yield rows.entry_from_row(row)

    async def trades_by_time(self) -> AsyncIterator[Trade]:
        """Trades by (user, time): those of a step, and the entries that it posted, have the same."""
        query = select(_TRADES).order_by(_TRADES.c.user_id, _TRADES.c.create_time_ns, _TRADES.c.trade_id)
        async for row in self._stream(query):
            yield rows.trade_from_row(row)

    async def orders_by_id(self) -> AsyncIterator[tuple[Order, bool]]:
        """Orders by their ids, and whether they are read as open ones at a start."""
        async for row in self._stream(select(_ORDERS).order_by(_ORDERS.c.order_id)):
            yield rows.order_from_row(row, set()), row["is_open"]

    async def trades_by_order(self) -> AsyncIterator[Trade]:
        """Trades of orders, by the orders' ids."""
        query = select(_TRADES).where(_TRADES.c.order_id != "").order_by(_TRADES.c.order_id)
        async for row in self._stream(query):
            yield rows.trade_from_row(row)

    async def keys_used_twice(self, most: int) -> list[tuple[str, str, int]]:
        """(account, client order id, how many orders have it), of at most so many."""
        key = _ORDERS.c.account_id, _ORDERS.c.client_order_id
        query = select(*key, func.count()).group_by(*key).having(func.count() > 1).order_by(*key).limit(most)
        return [(row[0], row[1], row[2]) for row in await self._session.execute(query)]

    async def orders(self, order_ids: Sequence[str]) -> dict[str, Order]:
        """Orders with these ids, as far as there are any."""
        result = {}
        for start in range(0, len(order_ids), IN_AT_ONCE):
            some = list(order_ids[start : start + IN_AT_ONCE])
            for row in await self._all(select(_ORDERS).where(_ORDERS.c.order_id.in_(some))):
                result[row["order_id"]] = rows.order_from_row(row, set())
        return result

    async def trades_of(self, order_ids: Sequence[str]) -> list[Trade]:
        """Trades of these orders."""
        result = []
        for start in range(0, len(order_ids), IN_AT_ONCE):
            some = list(order_ids[start : start + IN_AT_ONCE])
            query = select(_TRADES).where(_TRADES.c.order_id.in_(some))
            result += [rows.trade_from_row(row) for row in await self._all(query)]
        return result

    async def foreign_trades(self, gateway: str) -> list[Any]:
        """Rows of a gateway's trades that are nobody's: those of orders that were adopted are in the books."""
        adopted = select(_EXTERNAL_ORDERS.c.external_order_id).where(_EXTERNAL_ORDERS.c.order_id != "")
        query = select(_EXTERNAL).where(_EXTERNAL.c.gateway == gateway, _EXTERNAL.c.external_order_id.not_in(adopted))
        return list(await self._all(query))

    async def users_with_accounts(self, user_ids: Sequence[str]) -> set[str]:
        """Those of the users who have an account."""
        result: set[str] = set()
        for start in range(0, len(user_ids), IN_AT_ONCE):
            some = list(user_ids[start : start + IN_AT_ONCE])
            query = select(_ACCOUNTS.c.user_id).where(_ACCOUNTS.c.user_id.in_(some)).distinct()
            result |= set(await self._session.scalars(query))
        return result

    async def _stream(self, query: Select[Any]) -> AsyncIterator[Any]:
        result = await self._session.stream(query.execution_options(yield_per=AT_ONCE))
        async for partition in result.mappings().partitions(AT_ONCE):
            for row in partition:
                yield row

    async def _all(self, query: Select[Any]) -> Sequence[Any]:
        return (await self._session.execute(query)).mappings().all()
