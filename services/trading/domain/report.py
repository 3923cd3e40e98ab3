"""Reports of a venue about orders and trades."""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import IntEnum

from redfire.enums import OrderStatus, OrderType, PositionEffect, PositionSide, Side


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class OrderStatusReport:
    """An order as the venue sees it. `reference` is the name it was sent under; empty for one that is not ours."""

    gateway: str
    reference: str
    venue_order_id: str
    symbol: str
    quantity: Decimal
    price: Decimal | None
    cumulative_quantity: Decimal
    status: OrderStatus
    reason: str = ""
    message: str = ""
    amend_rejected: bool = False
    # As far as the venue reports them: of orders that are not ours there is no other source.
    side: Side | None = None
    position_effect: PositionEffect = PositionEffect.OPEN
    type: OrderType = OrderType.LIMIT


class TradeKind(IntEnum):
    """Effect of a trade report (FIX 150: Trade, Trade Cancel, Trade Correct)."""

    NEW = 1
    BUST = 2
    CORRECTION = 3


@dataclass(frozen=True, slots=True)
class FillReport:
    """A fill as the venue sees it. `trading_day` is YYYYMMDD, 0 when it is not reported."""

    gateway: str
    reference: str
    venue_trade_id: str
    symbol: str
    price: Decimal
    quantity: Decimal
    time_ns: int
    trading_day: int = 0
    kind: TradeKind = TradeKind.NEW
    venue_order_id: str = ""
    side: Side | None = None
    position_effect: PositionEffect = PositionEffect.OPEN


@dataclass(frozen=True, slots=True)
class UnreadableReport:
    """A report whose numbers are none, or more than the books can hold: an administrator must look at it."""

    gateway: str
    kind: str  # "order", "trade" or "position"
    reference: str
    venue_id: str
    symbol: str
    problem: str


@dataclass(frozen=True, slots=True)
class PositionReport:
    """A position as the venue sees it, of all accounts together."""

    gateway: str
    symbol: str
    side: PositionSide
    quantity: Decimal
    yesterday_quantity: Decimal = Decimal(0)
    average_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class AccountReport:
    """An account as the venue sees it. `margin` is None where it is not reported."""

    gateway: str
    venue_account_id: str
    currency: str
    balance: Decimal
    available: Decimal
    margin: Decimal | None
    frozen: Decimal
    time_ns: int
    # `balance` less the books' cash, as it was when the report was booked.
    difference: Decimal = Decimal(0)

    def says_the_same(self, other: "AccountReport") -> bool:
        """Return whether all but the time is the same."""
        return replace(self, time_ns=other.time_ns) == other


@dataclass(frozen=True, slots=True)
class VenueState:
    """The state of a gateway: open and asked orders, trades of its trading day after a cursor, positions."""

    orders: list[OrderStatusReport]
    trades: list[FillReport]
    positions: list[PositionReport]
    trading_day: int
    complete: bool
    # Asked references that may be, or were, at the venue though it does not show them. Those neither here nor among
    # the orders were never sent.
    uncertain: frozenset[str] = frozenset()
    next_trades_cursor: str = ""
    more_trades: bool = False
    unreadable: list[UnreadableReport] = field(default_factory=list)
    accounts: list[AccountReport] = field(default_factory=list)
    # Given-up references that the gateway never had, and does not get any more.
    refused: frozenset[str] = frozenset()
