"""Trading's rows in the database: the statements of the order path, and queries, scoped by the owner."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from sqlalchemy import Integer, Select, literal, or_, select, text, tuple_, union_all
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from services.kernel.data.database import Database
from services.kernel.data.partitions import partition_name
from services.kernel.data.writes import TableWrite
from services.kernel.errors import NotFound
from services.kernel.shards.ownership import SHARDS
from services.trading import models, rows
from services.trading.domain.account import Account
from services.trading.domain.instrument import Instrument
from services.trading.domain.lease import Lease
from services.trading.domain.money import ZERO
from services.trading.domain.order import Order
from services.trading.domain.order_group import OrderGroup
from services.trading.domain.position import Position
from services.trading.domain.trade import Trade

_ACCOUNTS = models.AccountRow.__table__
_ORDERS = models.OrderRow.__table__
_TRADES = models.TradeRow.__table__
_GROUPS = models.OrderGroupRow.__table__
_POSITIONS = models.PositionRow.__table__
_COMMIT_LOG = models.CommitLogRow.__table__
_SHARD_SEQUENCES = models.ShardSequenceRow.__table__
_LEASES = models.LeaseRow.__table__
_FIXED = (
    "client_order_id", "account_id", "gateway", "symbol", "side", "type", "time_in_force", "position_effect",
    "trailing_offset", "expire_time_ns", "strategy_id", "trace_id", "traceparent", "fingerprint", "create_time_ns",
)  # fmt: skip
IN_AT_ONCE = 500
_LOCK_NOT_AVAILABLE = "55P03"


class Statements:
    """Statements of the group-commit writer; made once."""

    def __init__(self, database: Database) -> None:
        # An upsert also where an order is known to be there: many of them are one statement, many UPDATEs are not.
        self.upsert_order: TableWrite = database.upsert(models.OrderRow, ["user_id", "order_id"], fixed=_FIXED)
        self.insert_trade: TableWrite = database.insert(models.TradeRow)
        self.upsert_trade: TableWrite = database.upsert(models.TradeRow, ["user_id", "trade_id"])
        self.insert_entry: TableWrite = database.insert(models.LedgerRow)
        self.insert_updates: TableWrite = database.insert(models.CommitLogRow)
        self.upsert_account: TableWrite = database.upsert(models.AccountRow, ["user_id", "account_id"])
        self.upsert_position: TableWrite = database.upsert(
            models.PositionRow, ["user_id", "account_id", "symbol", "side"]
        )
        self.upsert_order_group: TableWrite = database.upsert(models.OrderGroupRow, ["user_id", "order_group_id"])
        self.upsert_lease: TableWrite = database.upsert(models.LeaseRow, ["account_id"])
        self.delete_lease: TableWrite = database.delete(models.LeaseRow, ["account_id"])
        self.trim_updates: TableWrite = database.delete(models.CommitLogRow, ["shard", "sequence"])
        self.upsert_shard_sequence: TableWrite = database.upsert(models.ShardSequenceRow, ["shard"])
        self.upsert_gateway: TableWrite = database.upsert(models.GatewayRow, ["gateway"])
        self.upsert_instrument: TableWrite = database.upsert(models.InstrumentRow, ["symbol"])


@dataclass(frozen=True, slots=True)
class ShardSequences:
    """Sequences in the commit log of a shard: the last one, and up to which they may not be kept."""

    last: int = 0
    trimmed_through: int = 0


@dataclass(slots=True)
class Loaded:
    """All that is open of some shards, as it is in the database."""

    accounts: list[Account]
    positions: list[Position]
    orders: list[Order]
    order_groups: list[OrderGroup]
    instruments: list[Instrument]
    gateways: dict[str, tuple[int, bool]]
    # What flat positions realised: (account id, symbol, side, amount).
    realized: list[tuple[str, str, int, Decimal]]
    # Without an order, of late.
    external_trades: list[Trade]
    leases: list[Lease]
    sequences: dict[int, ShardSequences]


class TradingRepository:
    """Reads trading's tables."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def load(self, external_since_ns: int, shards: Collection[int]) -> Loaded:
        """All that is open of shards' users, and their trades since a time that no order made."""
        instruments = [rows.instrument_from_row(row) for row in await self._all(select(models.InstrumentRow.__table__))]
        gateways = await self._all(select(models.GatewayRow.__table__))
        of_shards = select(_ACCOUNTS).order_by(_ACCOUNTS.c.create_time_ns)
        if is_part := len(shards) < SHARDS:
            of_shards = of_shards.where(_ACCOUNTS.c.shard.in_(sorted(shards)))
        accounts = await self._all(of_shards)
        # All users in one query where all are read; else as many as one may name.
        users = sorted({row["user_id"] for row in accounts})
        parts = [users[start : start + IN_AT_ONCE] for start in range(0, len(users), IN_AT_ONCE)] if is_part else [None]
        positions: list[Any] = []
        orders: list[Any] = []
        realized: list[Any] = []
        externals: list[Any] = []
        groups: list[Any] = []
        leases: list[Any] = []
        for part in parts:

            def of(query: Select[Any], table: Any, part: list[str] | None = part) -> Select[Any]:
                return query if part is None else query.where(table.c.user_id.in_(part))

            positions += await self._all(of(select(_POSITIONS).where(_POSITIONS.c.is_open), _POSITIONS))
            orders += await self._all(of(select(_ORDERS).where(_ORDERS.c.is_open), _ORDERS))
            flat = select(_POSITIONS.c.account_id, _POSITIONS.c.symbol, _POSITIONS.c.side, _POSITIONS.c.realized_pnl)
            flat = flat.where(~_POSITIONS.c.is_open, _POSITIONS.c.realized_pnl != ZERO)
            realized += (await self._session.execute(of(flat, _POSITIONS))).all()
            external = select(_TRADES).where(_TRADES.c.order_id == "", _TRADES.c.create_time_ns >= external_since_ns)
            externals += await self._all(of(external.where(~_TRADES.c.busted), _TRADES))
            groups += await self._all(of(select(_GROUPS).where(_GROUPS.c.is_open), _GROUPS))
            leases += await self._all(of(select(_LEASES), _LEASES))
        orders.sort(key=lambda row: row["order_id"])
        externals.sort(key=lambda row: row["trade_id"])
        groups.sort(key=lambda row: row["create_time_ns"])
        open_orders = await self._orders(orders)
        return Loaded(
            [rows.account_from_row(row) for row in accounts],
            [rows.position_from_row(row) for row in positions],
            open_orders,
            await self._groups(groups, {order.order_id: order for order in open_orders}),
            instruments,
            {row["gateway"]: (row["trading_day"], row["keeps_own_days"]) for row in gateways},
            [(row[0], row[1], row[2], row[3]) for row in realized],
            [rows.trade_from_row(row) for row in externals],
            [Lease(**row) for row in leases],
            await self._sequences(shards),
        )

    async def _sequences(self, shards: Collection[int]) -> dict[int, ShardSequences]:
        """The ends of shards' commit logs."""
        if not shards:
            return {}
        wanted = union_all(*(select(literal(shard, Integer).label("shard")) for shard in sorted(shards))).subquery()
        of_shard = _COMMIT_LOG.c.shard == wanted.c.shard
        last = select(_COMMIT_LOG.c.sequence).where(of_shard).order_by(_COMMIT_LOG.c.sequence.desc()).limit(1)
        # Of the oldest row: what is before it was trimmed.
        first = select(_COMMIT_LOG.c.first_sequence).where(of_shard).order_by(_COMMIT_LOG.c.sequence).limit(1)
        stated = select(_SHARD_SEQUENCES.c.trimmed_through).where(_SHARD_SEQUENCES.c.shard == wanted.c.shard)
        query = select(wanted.c.shard, *(one.correlate(wanted).scalar_subquery() for one in (last, first, stated)))
        return {
            row[0]: ShardSequences(max(row[1] or 0, row[3] or 0), max((row[2] or 1) - 1, row[3] or 0))
            for row in await self._session.execute(query)
        }

    async def find_order(self, order_id: str, user_id: str = "") -> Order | None:
        """An order, with what is needed to book late fills; of this user, or of any when empty."""
        query = select(_ORDERS).where(_ORDERS.c.order_id == order_id)
        return await self._one_order(query.where(_ORDERS.c.user_id == user_id) if user_id else query)

    async def get_order(self, user_id: str, order_id: str) -> Order:
        """Raises NotFound, whether there is none or it is somebody else's."""
        order = await self.find_order(order_id, user_id)
        if order is None:
            raise NotFound("order", order_id)
        return order

    async def find_by_clients(self, keys: Collection[tuple[str, str, str]]) -> dict[tuple[str, str, str], Order]:
        """The orders with these (user, account, client's id), as far as there are any."""
        orders: list[Order] = []
        # Each user's by queries of their own, which look into one partition.
        for user_id, of_user in groupby(sorted(keys), key=lambda key: key[0]):
            clients = [key[1:] for key in of_user]
            for start in range(0, len(clients), IN_AT_ONCE):
                key = tuple_(_ORDERS.c.account_id, _ORDERS.c.client_order_id)
                query = select(_ORDERS).where(_ORDERS.c.user_id == user_id)
                orders += await self._orders(await self._all(query.where(key.in_(clients[start : start + IN_AT_ONCE]))))
        return {(order.user_id, order.account_id, order.client_order_id): order for order in orders}

    async def find_trades(self, user_id: str, order_id: str, venue_trade_id: str) -> list[Trade]:
        """A venue's trade of a user's order and its corrections, oldest first."""
        name = _TRADES.c.venue_trade_id
        query = select(_TRADES).where(
            _TRADES.c.user_id == user_id,
            _TRADES.c.order_id == order_id,
            or_(name == venue_trade_id, name.startswith(f"{venue_trade_id}#", autoescape=True)),
        )
        trade_rows = await self._all(query.order_by(_TRADES.c.create_time_ns, _TRADES.c.trade_id))
        return [rows.trade_from_row(row) for row in trade_rows]

    async def get_order_group(self, user_id: str, order_group_id: str) -> OrderGroup:
        """A group with its orders. Raises NotFound."""
        query = select(_GROUPS).where(_GROUPS.c.user_id == user_id, _GROUPS.c.order_group_id == order_group_id)
        groups = await self._groups(await self._all(query), {})
        if not groups:
            raise NotFound("order group", order_group_id)
        return groups[0]

    async def find_order_group_by_client(self, account_id: str, client_order_group_id: str) -> OrderGroup | None:
        """The group with the client's id."""
        query = select(_GROUPS).where(
            _GROUPS.c.account_id == account_id, _GROUPS.c.client_order_group_id == client_order_group_id
        )
        groups = await self._groups(await self._all(query), {})
        return groups[0] if groups else None

    async def commit_log(
        self, after: int, through: int, user_id: str, shards: Collection[int], limit: int
    ) -> list[tuple[int, str, bytes]]:
        """The updates after a sequence: (last sequence, user, messages); when empty, of all users of the shards."""
        query = select(_COMMIT_LOG.c.sequence, _COMMIT_LOG.c.user_id, _COMMIT_LOG.c.payload)
        query = query.where(_COMMIT_LOG.c.sequence > after, _COMMIT_LOG.c.sequence <= through)
        if user_id:
            query = query.where(_COMMIT_LOG.c.user_id == user_id)
        else:
            query = query.where(_COMMIT_LOG.c.shard.in_(sorted(shards)))
        result = await self._session.execute(query.order_by(_COMMIT_LOG.c.sequence).limit(limit))
        return [(row[0], row[1], row[2]) for row in result]

    async def oldest_sequences(self, shard: int, through: int, limit: int) -> list[int]:
        """Sequences of the oldest rows of a shard's commit log up to one."""
        sequence = _COMMIT_LOG.c.sequence
        query = select(sequence).where(_COMMIT_LOG.c.shard == shard, sequence <= through)
        return list(await self._session.scalars(query.order_by(sequence).limit(limit)))

    async def last_sequence(self, shard: int, through: int) -> int:
        """The last sequence of a shard's rows up to one; 0 where there is none."""
        sequence = _COMMIT_LOG.c.sequence
        query = select(sequence).where(_COMMIT_LOG.c.shard == shard, sequence <= through)
        return await self._session.scalar(query.order_by(sequence.desc()).limit(1)) or 0

    async def last_sequence_of(self, shard: int, periods: Collection[int]) -> int:
        """The last sequence of a shard's rows of some periods; 0 where there is none."""
        sequence = _COMMIT_LOG.c.sequence
        query = select(sequence).where(_COMMIT_LOG.c.shard == shard, _COMMIT_LOG.c.period.in_(periods))
        return await self._session.scalar(query.order_by(sequence.desc()).limit(1)) or 0

    async def is_promised(self, period: int) -> bool:
        """Test for rows of a period, or none at all, that the owners of their shards have not stated as trimmed."""
        query = _IS_PROMISED.format(part=partition_name(models.CommitLogRow.__tablename__, period))
        return bool(await self._session.scalar(text(query)))

    async def empty_period(self, period: int) -> None:
        """Drop the rows of a period at once, on PostgreSQL; a period in use at the moment stays for the next time."""
        part = partition_name(models.CommitLogRow.__tablename__, period)
        try:
            async with self._session.begin_nested():
                # Else all who read would wait behind this, and this for one who reads for long.
                await self._session.execute(text(f"LOCK TABLE {part} IN ACCESS EXCLUSIVE MODE NOWAIT"))
                if not await self.is_promised(period):
                    await self._session.execute(text(f"TRUNCATE {part}"))
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", "") != _LOCK_NOT_AVAILABLE:
                raise

    async def _groups(self, group_rows: Sequence[Any], orders: dict[str, Order]) -> list[OrderGroup]:
        """Groups of their rows, of `orders` and what is missing of them."""
        missing = [
            (row["user_id"], name) for row in group_rows for name in json.loads(row["order_ids"]) if name not in orders
        ]
        order_rows: list[Any] = []
        for of_users, with_ids in _by_users(missing):
            order_rows += await self._all(
                select(_ORDERS).where(_ORDERS.c.user_id.in_(of_users), _ORDERS.c.order_id.in_(with_ids))
            )
        orders.update({order.order_id: order for order in await self._orders(order_rows)})
        return [rows.order_group_from_row(row, orders) for row in group_rows]

    async def _one_order(self, query: Select[Any]) -> Order | None:
        orders = await self._orders(await self._all(query))
        return orders[0] if orders else None

    async def _orders(self, order_rows: Sequence[Any]) -> list[Order]:
        """Orders of their rows, with the venue's ids of their trades."""
        trade_ids: dict[str, set[str]] = {}
        for of_users, with_ids in _by_users((row["user_id"], row["order_id"]) for row in order_rows):
            query = select(_TRADES.c.order_id, _TRADES.c.venue_trade_id)
            query = query.where(_TRADES.c.user_id.in_(of_users), _TRADES.c.order_id.in_(with_ids))
            for order_id, venue_trade_id in await self._session.execute(query):
                trade_ids.setdefault(order_id, set()).add(venue_trade_id)
        return [rows.order_from_row(row, trade_ids.get(row["order_id"], set())) for row in order_rows]

    async def _all(self, query: Select[Any]) -> Sequence[Any]:
        return (await self._session.execute(query)).mappings().all()


# By the last row of each shard, found by the key; an empty partition is left alone.
_IS_PROMISED = f"""
    SELECT pg_relation_size('{{part}}') = 0 OR EXISTS (
        SELECT FROM generate_series(0, {SHARDS - 1}) AS owned (shard) LEFT JOIN shard_sequences USING (shard)
        WHERE (SELECT max(sequence) FROM {{part}} AS log WHERE log.shard = owned.shard) > coalesce(trimmed_through, 0)
    )"""  # noqa: S608 names of ours # nosec B608


def _by_users(orders: Iterable[tuple[str, str]]) -> Iterable[tuple[list[str], list[str]]]:
    """Users, and ids of orders of theirs, in parts: the fewer users, the fewer partitions are looked into."""
    ordered = sorted(orders)
    for start in range(0, len(ordered), IN_AT_ONCE):
        part = ordered[start : start + IN_AT_ONCE]
        yield sorted({user_id for user_id, _ in part}), [order_id for _, order_id in part]
