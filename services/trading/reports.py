"""What a venue reports of orders and trades."""

from dataclasses import dataclass
from decimal import Decimal

from services.trading.orders import OrderStatus, PositionSide


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class OrderReport:
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


@dataclass(frozen=True, slots=True)
class TradeReport:
    """A fill as the venue sees it. `trading_day` is YYYYMMDD, 0 when it does not say."""

    gateway: str
    reference: str
    venue_trade_id: str
    symbol: str
    price: Decimal
    quantity: Decimal
    time_ns: int
    trading_day: int = 0


@dataclass(frozen=True, slots=True)
class PositionReport:
    """A position as the venue sees it, of all accounts together."""

    gateway: str
    symbol: str
    side: PositionSide
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class VenueState:
    """What a gateway has, at the moment of stream position (`epoch`, `sequence`)."""

    orders: list[OrderReport]
    trades: list[TradeReport]
    positions: list[PositionReport]
    trading_day: int
    complete: bool
