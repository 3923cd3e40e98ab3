"""The engine's rows in the database. The order path writes through the group writer (`sim.store`, …)."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.engine.models import (
    GatewayOrderRow,
    GatewayTradeRow,
    ShardEpochRow,
    SimOrderRow,
    SimPositionRow,
    SimStateRow,
    SimTradeRow,
)

_CHUNK = 500


class EngineRepository:
    """Queries of one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list_open_sim_orders(self) -> Sequence[SimOrderRow]:
        """SIM's open orders, oldest first."""
        query = select(SimOrderRow).where(SimOrderRow.is_open).order_by(SimOrderRow.priority)
        return (await self._session.scalars(query)).all()

    async def list_sim_orders(self, order_ids: Iterable[str]) -> list[SimOrderRow]:
        """SIM's orders of RedFire's ids, as far as it has them."""
        rows: list[SimOrderRow] = []
        for chunk in _chunks(order_ids):
            rows += await self._session.scalars(select(SimOrderRow).where(SimOrderRow.order_id.in_(chunk)))
        return rows

    async def find_sim_order(self, *, order_id: str = "", venue_order_id: int = 0) -> SimOrderRow | None:
        """One of SIM's orders by either id."""
        query = select(SimOrderRow).where(
            or_(SimOrderRow.order_id == order_id, SimOrderRow.venue_order_id == venue_order_id)
        )
        return (await self._session.scalars(query.limit(1))).first()

    async def list_sim_trades(self, venue_order_ids: Iterable[int]) -> list[SimTradeRow]:
        """All fills of orders, oldest first."""
        rows: list[SimTradeRow] = []
        for chunk in _chunks(venue_order_ids):
            rows += await self._session.scalars(select(SimTradeRow).where(SimTradeRow.venue_order_id.in_(chunk)))
        return sorted(rows, key=lambda row: row.venue_trade_id)

    async def list_sim_trades_of_day(self, trading_day: int, after: int | None, limit: int) -> Sequence[SimTradeRow]:
        """SIM's fills after an id, or those of a trading day; in order."""
        in_range = SimTradeRow.trading_day == trading_day if after is None else SimTradeRow.venue_trade_id > after
        query = select(SimTradeRow).where(in_range).order_by(SimTradeRow.venue_trade_id).limit(limit)
        return (await self._session.scalars(query)).all()

    async def list_recent_sim_order_ids(self, limit: int) -> list[tuple[str, int, datetime]]:
        """The youngest orders' ids, oldest of them first: RedFire's, SIM's, and when they came."""
        query = (
            select(SimOrderRow.order_id, SimOrderRow.venue_order_id, SimOrderRow.create_time)
            .where(SimOrderRow.order_id.is_not(None))
            .order_by(SimOrderRow.venue_order_id.desc())
            .limit(limit)
        )
        return [(row[0] or "", row[1], row[2]) for row in reversed((await self._session.execute(query)).all())]

    async def last_sim_ids(self) -> tuple[int, int]:
        """The highest order id and trade id that SIM ever gave, 0 when none."""
        order = await self._session.scalar(select(func.max(SimOrderRow.venue_order_id)))
        trade = await self._session.scalar(select(func.max(SimTradeRow.venue_trade_id)))
        return order or 0, trade or 0

    async def list_sim_positions(self) -> Sequence[SimPositionRow]:
        """SIM's positions."""
        return (await self._session.scalars(select(SimPositionRow))).all()

    async def sim_state(self) -> dict[str, Any]:
        """Other state of SIM, by key."""
        return {row.key: row.value for row in await self._session.scalars(select(SimStateRow))}

    async def list_shard_epochs(self) -> list[tuple[int, int]]:
        """(shard, epoch) of all shards."""
        return [(row.shard, row.epoch) for row in await self._session.scalars(select(ShardEpochRow))]

    async def find_gateway_order(self, order_id: str) -> GatewayOrderRow | None:
        """An order that was sent to another gateway."""
        return await self._session.get(GatewayOrderRow, order_id)

    async def list_gateway_orders_of(self, order_ids: Iterable[str]) -> list[GatewayOrderRow]:
        """Gateway orders of these orders that were sent to another gateway."""
        rows: list[GatewayOrderRow] = []
        for chunk in _chunks(order_ids):
            rows += await self._session.scalars(select(GatewayOrderRow).where(GatewayOrderRow.order_id.in_(chunk)))
        return rows

    async def find_gateway_order_of(self, gateway_name: str, venue_order_id: str) -> GatewayOrderRow | None:
        """The youngest order that a gateway gave this id."""
        query = select(GatewayOrderRow).where(
            GatewayOrderRow.venue_order_id == venue_order_id, GatewayOrderRow.gateway_name == gateway_name
        )
        return (await self._session.scalars(query.order_by(GatewayOrderRow.create_time.desc()).limit(1))).first()

    async def list_gateway_orders(self, since: datetime) -> Sequence[GatewayOrderRow]:
        """Orders for other gateways that are open, or were made since a moment, oldest first."""
        query = select(GatewayOrderRow).where(or_(GatewayOrderRow.is_open, GatewayOrderRow.create_time >= since))
        return (await self._session.scalars(query.order_by(GatewayOrderRow.create_time))).all()

    async def list_recent_gateway_trades(
        self, gateway_names: Iterable[str], trading_day: int
    ) -> Sequence[GatewayTradeRow]:
        """Trades of other gateways of a trading day and later ones."""
        query = select(GatewayTradeRow).where(
            GatewayTradeRow.gateway_name.in_(list(gateway_names)), GatewayTradeRow.trading_day >= trading_day
        )
        return (await self._session.scalars(query)).all()

    async def last_gateway_trade(self) -> int:
        """The highest number of a trade, 0 when there is none."""
        return await self._session.scalar(select(func.max(GatewayTradeRow.number))) or 0

    async def list_gateway_trades(
        self, gateway_name: str, trading_day: int, after: int | None, limit: int
    ) -> Sequence[GatewayTradeRow]:
        """A gateway's trades after a number, or those of a trading day and later ones; in order."""
        query = select(GatewayTradeRow).where(GatewayTradeRow.gateway_name == gateway_name)
        if after is None:
            query = query.where(GatewayTradeRow.trading_day >= trading_day)
        else:
            query = query.where(GatewayTradeRow.number > after)
        return (await self._session.scalars(query.order_by(GatewayTradeRow.number).limit(limit))).all()

    async def list_gateway_trades_of(self, order_ids: Iterable[str]) -> list[GatewayTradeRow]:
        """All trades of orders."""
        rows: list[GatewayTradeRow] = []
        for chunk in _chunks(order_ids):
            rows += await self._session.scalars(select(GatewayTradeRow).where(GatewayTradeRow.order_id.in_(chunk)))
        return rows


def _chunks(values: Iterable[Any]) -> Iterable[list[Any]]:
    items = list(values)
    return (items[at : at + _CHUNK] for at in range(0, len(items), _CHUNK))


def row_number(text: str) -> int | None:
    """A row's number that was given out as text; None for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
