"""External orders and trades in the database. They are no user's: only administrators read them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from redfire.enums import AccountKind, PositionSide
from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.kernel.paging import Page, PageResult
from services.trading import models
from services.trading.domain.external_order import ExternalOrder, ExternalTrade, order_from_row, trade_from_row
from services.trading.domain.money import ZERO
from services.trading.domain.order import FINISHED
from services.trading.domain.report import FillReport

_ORDERS = models.ExternalOrderRow.__table__
_TRADES = models.ExternalTradeRow.__table__
_OURS = models.OrderRow.__table__
_BOOKED = models.TradeRow.__table__
_ACCOUNTS = models.AccountRow.__table__
_POSITIONS = models.PositionRow.__table__
IN_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class ExternalFilter:
    """Filter of external orders or trades; an empty field does not narrow."""

    gateway: str = ""
    symbol: str = ""
    external_order_id: str = ""
    open_only: bool = False
    include_adopted: bool = False


class ExternalRepository:
    """Reads external orders and trades."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find_order(self, external_order_id: str) -> ExternalOrder | None:
        """An external order."""
        rows = await self._all(select(_ORDERS).where(_ORDERS.c.external_order_id == external_order_id))
        return order_from_row(rows[0]) if rows else None

    async def has_trade(self, external_trade_id: str) -> bool:
        """Return whether an external trade is written."""
        query = select(_TRADES.c.external_trade_id).where(_TRADES.c.external_trade_id == external_trade_id)
        return bool(await self._all(query))

    async def is_booked(self, report: FillReport) -> bool:
        """Return whether a venue's trade is in the books, of whatever order."""
        query = select(_BOOKED.c.trade_id).where(
            _BOOKED.c.gateway == report.gateway,
            _BOOKED.c.venue_trade_id == report.venue_trade_id,
            _BOOKED.c.symbol == report.symbol,
            _BOOKED.c.side == int(report.side or 0),
        )
        return bool(await self._all(query.limit(1)))

    async def has_live_account(self, gateway: str) -> bool:
        """Return whether anybody has the LIVE account of a gateway."""
        of_gateway = _ACCOUNTS.c.gateway == gateway, _ACCOUNTS.c.kind == int(AccountKind.LIVE)
        return bool(await self._all(select(_ACCOUNTS.c.account_id).where(*of_gateway).limit(1)))

    async def quantities_elsewhere(
        self, gateway: str, shards: Collection[int]
    ) -> dict[tuple[str, PositionSide], Decimal]:
        """The sums of positions at a gateway of users who are not in these shards."""
        query = (
            select(
                _POSITIONS.c.symbol, _POSITIONS.c.side, _POSITIONS.c.today_quantity + _POSITIONS.c.yesterday_quantity
            )
            .join(
                _ACCOUNTS,
                (_ACCOUNTS.c.user_id == _POSITIONS.c.user_id) & (_ACCOUNTS.c.account_id == _POSITIONS.c.account_id),
            )
            .where(_POSITIONS.c.is_open, _POSITIONS.c.gateway == gateway, _ACCOUNTS.c.shard.not_in(sorted(shards)))
        )
        result: dict[tuple[str, PositionSide], Decimal] = {}
        for symbol, side, quantity in await self._session.execute(query):
            key = symbol, PositionSide(side)
            result[key] = result.get(key, ZERO) + quantity
        return result

    async def trades_of(self, external_order_id: str) -> list[ExternalTrade]:
        """All trades of an external order, oldest first."""
        query = select(_TRADES).where(_TRADES.c.external_order_id == external_order_id)
        return [trade_from_row(row) for row in await self._all(query.order_by(_TRADES.c.time_ns))]

    async def adopted(self, since_ns: int) -> dict[tuple[str, str], tuple[str, str]]:
        """(reference of ours, symbol) of adopted orders that are open, or were adopted since a time.

        By gateway and venue's id.
        """
        query = select(_ORDERS.c.gateway, _ORDERS.c.venue_order_id, _ORDERS.c.reference, _ORDERS.c.symbol)
        open_ones = select(_OURS.c.order_id).where(_OURS.c.is_open)
        recent = or_(_ORDERS.c.update_time_ns >= since_ns, _ORDERS.c.order_id.in_(open_ones))
        rows = await self._all(query.where(_ORDERS.c.order_id != "", recent))
        return {(row["gateway"], row["venue_order_id"]): (row["reference"], row["symbol"]) for row in rows}

    async def booked(self, gateway: str, venue_trade_ids: Sequence[str]) -> set[tuple[str, str]]:
        """(venue's trade id, order id) of those that are in the books."""
        result: set[tuple[str, str]] = set()
        for start in range(0, len(venue_trade_ids), IN_AT_ONCE):
            query = select(_BOOKED.c.venue_trade_id, _BOOKED.c.order_id).where(
                _BOOKED.c.gateway == gateway,
                _BOOKED.c.venue_trade_id.in_(list(venue_trade_ids[start : start + IN_AT_ONCE])),
            )
            result |= {(row[0], row[1]) for row in await self._session.execute(query)}
        return result

    async def list_orders(self, external_filter: ExternalFilter, page: Page) -> PageResult[ExternalOrder]:
        """External orders, newest first."""
        query = _narrow(select(_ORDERS), _ORDERS, external_filter)
        if external_filter.open_only:
            query = query.where(_ORDERS.c.status.not_in([int(status) for status in FINISHED]))
        if not external_filter.include_adopted:
            query = query.where(_ORDERS.c.order_id == "")
        rows = await self._all(_paged(query, _ORDERS, "external_order_id", page))
        return page.slice(
            [order_from_row(row) for row in rows], lambda order: [order.create_time_ns, order.external_order_id]
        )

    async def list_trades(self, external_filter: ExternalFilter, page: Page) -> PageResult[ExternalTrade]:
        """External trades, newest first."""
        query = _narrow(select(_TRADES), _TRADES, external_filter)
        if not external_filter.include_adopted:
            adopted = select(_ORDERS.c.external_order_id).where(_ORDERS.c.account_id != "")
            query = query.where(_TRADES.c.external_order_id.not_in(adopted))
        rows = await self._all(_paged(query, _TRADES, "external_trade_id", page))
        return page.slice(
            [trade_from_row(row) for row in rows], lambda trade: [trade.create_time_ns, trade.external_trade_id]
        )

    async def _all(self, query: Any) -> Sequence[Any]:
        return (await self._session.execute(query)).mappings().all()


def _narrow(query: Any, table: Any, external_filter: ExternalFilter) -> Any:
    for name in ("gateway", "symbol", "external_order_id"):
        if value := getattr(external_filter, name):
            query = query.where(table.c[name] == value)
    return query


def _paged(query: Any, table: Any, key: str, page: Page) -> Any:
    if page.after is not None:
        time_ns, row_id = page.after
        time, name = table.c.create_time_ns, table.c[key]
        query = query.where(or_(time < time_ns, and_(time == time_ns, name < row_id)))
    return query.order_by(table.c.create_time_ns.desc(), table.c[key].desc()).limit(page.size + 1)
