"""The tables of trading. Keys have the owner, by whose hash the large tables are partitioned on PostgreSQL.

Columns that are added have a `server_default`: a version starts on the data of the one before (kernel.database).
"""

from decimal import Decimal

from redfire.enums import AccountKind
from sqlalchemy import BigInteger, Boolean, Index, Integer, LargeBinary, String, Text, UniqueConstraint, false, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kernel.data.columns import Amount, JsonDocument
from services.kernel.data.partitions import by_hash, by_number
from services.kernel.events.inbox import InboxColumns
from services.kernel.events.outbox import OutboxColumns
from services.kernel.shards.columns import NamedLeaseColumns, ShardLeaseColumns

PARTITIONS = 16
PERIODS = 16


class Base(DeclarativeBase):
    """Trading's tables."""


def _money() -> Mapped[Decimal]:
    return mapped_column(Amount)


_IS_LIVE = text(f"kind = {int(AccountKind.LIVE)}")


class AccountRow(Base):
    """An account; `balance`, `realized_pnl` and `commission` are sums of its ledger entries."""

    __tablename__ = "accounts"
    __table_args__ = (
        UniqueConstraint("user_id", "request_id"),
        Index("accounts_by_shard", "shard"),
        # A gateway has one LIVE account, whichever replicas its openers are at.
        Index("accounts_live", "gateway", unique=True, sqlite_where=_IS_LIVE, postgresql_where=_IS_LIVE),
    )

    user_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    display_name: Mapped[str] = mapped_column(Text)
    kind: Mapped[int] = mapped_column(Integer)
    gateway: Mapped[str] = mapped_column(String(32))
    currency: Mapped[str] = mapped_column(String(8))
    request_id: Mapped[str] = mapped_column(String(64))
    create_time_ns: Mapped[int] = mapped_column(BigInteger)
    balance: Mapped[Decimal] = _money()
    realized_pnl: Mapped[Decimal] = _money()
    commission: Mapped[Decimal] = _money()
    margin_call: Mapped[bool] = mapped_column(Boolean, server_default=false())
    # What the gateway of a LIVE account reported last, as JSON.
    venue: Mapped[str] = mapped_column(Text, server_default="")
    # Its user's: a replica that takes a shard over finds the users by it, and all of theirs by their ids.
    shard: Mapped[int] = mapped_column(Integer, server_default="0")


class OrderRow(Base):
    """An order, open or finished."""

    __tablename__ = "orders"
    __table_args__ = (
        # Unique without limit of time: the second of two orders with the same key cannot be written.
        UniqueConstraint("account_id", "client_order_id", "user_id"),
        Index("orders_by_time", "user_id", "create_time_ns", "order_id"),
        Index("orders_by_id", "order_id"),
        Index("orders_open", "is_open", "user_id"),
        by_hash("user_id", PARTITIONS),
    )

    user_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    order_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    client_order_id: Mapped[str] = mapped_column(String(64))
    account_id: Mapped[str] = mapped_column(String(36))
    gateway: Mapped[str] = mapped_column(String(32))
    symbol: Mapped[str] = mapped_column(String(40))
    side: Mapped[int] = mapped_column(Integer)
    type: Mapped[int] = mapped_column(Integer)
    time_in_force: Mapped[int] = mapped_column(Integer)
    position_effect: Mapped[int] = mapped_column(Integer)
    trailing_offset: Mapped[Decimal | None] = mapped_column(Amount)
    expire_time_ns: Mapped[int] = mapped_column(BigInteger)
    strategy_id: Mapped[str] = mapped_column(String(64))
    trace_id: Mapped[str] = mapped_column(String(32))
    traceparent: Mapped[str] = mapped_column(String(55), server_default="")
    fingerprint: Mapped[str] = mapped_column(String(32))
    create_time_ns: Mapped[int] = mapped_column(BigInteger)
    trading_day: Mapped[int] = mapped_column(Integer, server_default="0")
    # What changes in its life.
    is_open: Mapped[bool] = mapped_column(Boolean)
    quantity: Mapped[Decimal] = _money()
    price: Mapped[Decimal | None] = mapped_column(Amount)
    stop_price: Mapped[Decimal | None] = mapped_column(Amount)
    update_time_ns: Mapped[int] = mapped_column(BigInteger)
    reserve_price: Mapped[Decimal] = _money()
    status: Mapped[int] = mapped_column(Integer)
    delivery: Mapped[int] = mapped_column(Integer)
    cumulative_quantity: Mapped[Decimal] = _money()
    # A sum of products, exact, with more digits than an amount: text everywhere.
    filled_notional: Mapped[str] = mapped_column(Text)
    commission: Mapped[Decimal] = _money()
    reject_reason: Mapped[str] = mapped_column(String(64))
    reject_message: Mapped[str] = mapped_column(Text)
    venue_order_id: Mapped[str] = mapped_column(Text)
    triggered: Mapped[bool] = mapped_column(Boolean)
    # What few orders have, as JSON of what differs from a new order's: legs, replacements, announced ends, holds.
    details: Mapped[str] = mapped_column(Text)


class TradeRow(Base):
    """A fill."""

    __tablename__ = "trades"
    __table_args__ = (
        # Two orders of ours that trade with each other share a trade's id at some exchanges.
        UniqueConstraint("gateway", "venue_trade_id", "order_id", "user_id"),
        Index("trades_by_time", "user_id", "create_time_ns", "trade_id"),
        Index("trades_by_order", "order_id"),
        by_hash("user_id", PARTITIONS),
    )

    user_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    trade_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    order_id: Mapped[str] = mapped_column(String(36))
    account_id: Mapped[str] = mapped_column(String(36))
    symbol: Mapped[str] = mapped_column(String(40))
    side: Mapped[int] = mapped_column(Integer)
    position_effect: Mapped[int] = mapped_column(Integer)
    price: Mapped[Decimal] = _money()
    quantity: Mapped[Decimal] = _money()
    commission: Mapped[Decimal] = _money()
    realized_pnl: Mapped[Decimal] = _money()
    time_ns: Mapped[int] = mapped_column(BigInteger)
    create_time_ns: Mapped[int] = mapped_column(BigInteger)
    gateway: Mapped[str] = mapped_column(String(32))
    venue_trade_id: Mapped[str] = mapped_column(String(128))
    strategy_id: Mapped[str] = mapped_column(String(64))
    busted: Mapped[bool] = mapped_column(Boolean, server_default=false())
    corrects_trade_id: Mapped[str] = mapped_column(String(36), server_default="")
    trace_id: Mapped[str] = mapped_column(String(32), server_default="")
    trading_day: Mapped[int] = mapped_column(Integer, server_default="0")
    closed_today: Mapped[Decimal] = mapped_column(Amount, server_default="0")


class LedgerRow(Base):
    """One side of a movement of money."""

    __tablename__ = "ledger"
    __table_args__ = (
        Index("ledger_by_time", "user_id", "create_time_ns", "entry_id"),
        by_hash("user_id", PARTITIONS),
    )

    user_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    entry_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    transaction_id: Mapped[str] = mapped_column(String(36))
    account_id: Mapped[str] = mapped_column(String(36))
    ledger_account: Mapped[str] = mapped_column(String(64))
    amount: Mapped[Decimal] = _money()
    kind: Mapped[int] = mapped_column(Integer)
    reference: Mapped[str] = mapped_column(String(64))
    create_time_ns: Mapped[int] = mapped_column(BigInteger)


class PositionRow(Base):
    """A position; kept when it is flat, for the next one of its symbol."""

    __tablename__ = "positions"
    __table_args__ = (Index("positions_open", "is_open", "user_id"), by_hash("user_id", PARTITIONS))

    user_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    symbol: Mapped[str] = mapped_column(String(40), primary_key=True)
    side: Mapped[int] = mapped_column(Integer, primary_key=True)
    is_open: Mapped[bool] = mapped_column(Boolean)
    gateway: Mapped[str] = mapped_column(String(32))
    contract_size: Mapped[Decimal] = _money()
    margin_rate: Mapped[Decimal] = _money()
    # Of trading_day, and of before.
    today_quantity: Mapped[Decimal] = _money()
    yesterday_quantity: Mapped[Decimal] = _money()
    trading_day: Mapped[int] = mapped_column(Integer, server_default="0")
    cost: Mapped[Decimal] = _money()
    margin: Mapped[Decimal] = _money()
    realized_pnl: Mapped[Decimal] = _money()


class OrderGroupRow(Base):
    """Orders that depend on each other."""

    __tablename__ = "order_groups"
    __table_args__ = (
        UniqueConstraint("account_id", "client_order_group_id"),
        Index("order_groups_by_id", "order_group_id"),
        Index("order_groups_open", "is_open", "user_id"),
    )

    user_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    order_group_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    client_order_group_id: Mapped[str] = mapped_column(String(64))
    account_id: Mapped[str] = mapped_column(String(36))
    kind: Mapped[int] = mapped_column(Integer)
    fingerprint: Mapped[str] = mapped_column(String(32))
    # Of each of its orders.
    quantity: Mapped[Decimal] = _money()
    # A JSON list, in the order they were asked for.
    order_ids: Mapped[str] = mapped_column(Text)
    is_open: Mapped[bool] = mapped_column(Boolean)
    create_time_ns: Mapped[int] = mapped_column(BigInteger)
    update_time_ns: Mapped[int] = mapped_column(BigInteger)


class LeaseRow(Base):
    """An account whose working orders live only while a stream of its client does."""

    __tablename__ = "leases"

    account_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(64))
    duration_ns: Mapped[int] = mapped_column(BigInteger)
    cancel_protective_stops: Mapped[bool] = mapped_column(Boolean)
    # When its orders are canceled; 0 while a stream holds it.
    deadline_ns: Mapped[int] = mapped_column(BigInteger)


class CommitLogRow(Base):
    """The updates of one step, from which streams resume; old ones are trimmed.

    Partitioned by the time of the step, so that PostgreSQL drops all of a period's rows at once.
    """

    __tablename__ = "journal"
    __table_args__ = (Index("journal_by_user", "user_id", "sequence"), by_number("period", PERIODS))

    # Sequences grow within a shard, whichever replica writes it.
    shard: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    # Of its last message.
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # Of the step's time; the numbers come again, long after their rows are gone.
    period: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False, server_default="0")
    # The one behind the shard's row before: where that row is gone, all before this sequence may be.
    first_sequence: Mapped[int] = mapped_column(BigInteger)
    user_id: Mapped[str] = mapped_column(String(64))
    # Messages of the stream, each with its length before it.
    payload: Mapped[bytes] = mapped_column(LargeBinary)


class ShardSequenceRow(Base):
    """The sequence of a shard up to which its owner does not promise the commit log any more."""

    __tablename__ = "shard_sequences"

    shard: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    trimmed_through: Mapped[int] = mapped_column(BigInteger)


class GatewayRow(Base):
    """State of a gateway's trading day."""

    __tablename__ = "gateways"

    gateway: Mapped[str] = mapped_column(String(32), primary_key=True)
    trading_day: Mapped[int] = mapped_column(Integer)
    # A recording that is replayed; of the others the calendar has the day.
    keeps_own_days: Mapped[bool] = mapped_column(Boolean, server_default=false())


class InstrumentRow(Base):
    """Instruments that were traded: fills are booked by them even while market does not answer."""

    __tablename__ = "instruments"

    symbol: Mapped[str] = mapped_column(String(40), primary_key=True)
    terms: Mapped[dict[str, str]] = mapped_column(JsonDocument)


class InboxRow(InboxColumns, Base):
    """Events of other services, and the ids of those that are applied."""

    __tablename__ = "inbox"


class NamedLeaseRow(NamedLeaseColumns, Base):
    """Leases of duties that one replica has at a time: owner, epoch and expiry."""

    __tablename__ = "named_leases"


class ShardLeaseRow(ShardLeaseColumns, Base):
    """Leases of shards: the replica that serves a shard's users, its epoch and expiry."""

    __tablename__ = "shard_leases"


class OutboxRow(OutboxColumns, Base):
    """Events that are not yet delivered."""

    __tablename__ = "outbox"


class ExternalOrderRow(Base):
    """An order at a venue that nobody here asked for; no user's, so its key is its own."""

    __tablename__ = "external_orders"
    __table_args__ = (Index("external_orders_by_time", "create_time_ns", "external_order_id"),)

    external_order_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    gateway: Mapped[str] = mapped_column(String(32))
    venue_order_id: Mapped[str] = mapped_column(Text)
    reference: Mapped[str] = mapped_column(Text)
    symbol: Mapped[str] = mapped_column(String(40))
    side: Mapped[int] = mapped_column(Integer)
    position_effect: Mapped[int] = mapped_column(Integer)
    type: Mapped[int] = mapped_column(Integer)
    quantity: Mapped[Decimal] = _money()
    price: Mapped[Decimal | None] = mapped_column(Amount)
    cumulative_quantity: Mapped[Decimal] = _money()
    status: Mapped[int] = mapped_column(Integer)
    create_time_ns: Mapped[int] = mapped_column(BigInteger)
    update_time_ns: Mapped[int] = mapped_column(BigInteger)
    # Once it is adopted: whose, and as which order.
    account_id: Mapped[str] = mapped_column(String(36))
    order_id: Mapped[str] = mapped_column(String(36))


class ExternalTradeRow(Base):
    """A trade of an order that was not ours when the venue reported it."""

    __tablename__ = "external_trades"
    __table_args__ = (
        Index("external_trades_by_time", "create_time_ns", "external_trade_id"),
        Index("external_trades_by_order", "external_order_id"),
    )

    external_trade_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    external_order_id: Mapped[str] = mapped_column(String(36))
    gateway: Mapped[str] = mapped_column(String(32))
    venue_trade_id: Mapped[str] = mapped_column(Text)
    venue_order_id: Mapped[str] = mapped_column(Text)
    symbol: Mapped[str] = mapped_column(String(40))
    side: Mapped[int] = mapped_column(Integer)
    position_effect: Mapped[int] = mapped_column(Integer)
    kind: Mapped[int] = mapped_column(Integer)
    price: Mapped[Decimal] = _money()
    quantity: Mapped[Decimal] = _money()
    time_ns: Mapped[int] = mapped_column(BigInteger)
    trading_day: Mapped[int] = mapped_column(Integer)
    create_time_ns: Mapped[int] = mapped_column(BigInteger)
