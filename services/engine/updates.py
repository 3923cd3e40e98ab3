"""Updates by gateways: orders, trades, positions, accounts and their own state, in the platform's words."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from redfire.reasons import Reason


class Side(StrEnum):
    """The side of an order."""

    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    """The type of a gateway's order; stops are emulated by trading."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"


class TimeInForce(StrEnum):
    """The lifetime of an order."""

    DAY = "DAY"
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTD = "GTD"


class PositionEffect(StrEnum):
    """The effect of an order on positions."""

    OPEN = "OPEN"
    CLOSE = "CLOSE"
    CLOSE_TODAY = "CLOSE_TODAY"
    CLOSE_YESTERDAY = "CLOSE_YESTERDAY"


class PositionSide(StrEnum):
    """The side of a position."""

    LONG = "LONG"
    SHORT = "SHORT"


class OrderStatus(StrEnum):
    """The state of an order at its venue."""

    PENDING_NEW = "PENDING_NEW"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"

    @property
    def is_open(self) -> bool:
        """True while more may happen to the order."""
        return self in _OPEN


_OPEN = {OrderStatus.PENDING_NEW, OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED}


class GatewayStatus(StrEnum):
    """The state of a gateway's connection."""

    DISCONNECTED = "DISCONNECTED"
    CONNECTING = "CONNECTING"
    CONNECTED = "CONNECTED"
    ERROR = "ERROR"


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class OrderRequest:
    """An order for a gateway. `price` is None for market orders."""

    gateway_name: str
    order_id: str
    account_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    position_effect: PositionEffect
    quantity: Decimal
    price: Decimal | None
    expire_time: datetime | None = None
    post_only: bool = False
    traceparent: str = ""


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class OrderUpdate:
    """An order as its gateway sees it; `order_id` is empty for orders that RedFire did not send."""

    gateway_name: str
    order_id: str
    venue_order_id: str
    symbol: str
    side: Side
    position_effect: PositionEffect
    quantity: Decimal
    price: Decimal | None
    cumulative_quantity: Decimal
    status: OrderStatus
    time: datetime
    reason: Reason | None = None
    message: str = ""
    amend_rejected: bool = False
    type: OrderType | None = None


@dataclass(frozen=True, slots=True)
class TradeUpdate:
    """A fill, at the venue's time."""

    gateway_name: str
    order_id: str
    venue_order_id: str
    venue_trade_id: str
    symbol: str
    side: Side
    position_effect: PositionEffect
    price: Decimal
    quantity: Decimal
    time: datetime
    trading_day: int


@dataclass(frozen=True, slots=True)
class PositionUpdate:
    """A position as the gateway sees it."""

    gateway_name: str
    symbol: str
    side: PositionSide
    quantity: Decimal
    yesterday_quantity: Decimal
    average_price: Decimal | None = None  # where the venue gives it


@dataclass(frozen=True, slots=True)
class AccountUpdate:
    """An account as the gateway sees it. vnpy gives neither its currency nor its margin."""

    gateway_name: str
    venue_account_id: str
    balance: Decimal
    available: Decimal
    frozen: Decimal
    time: datetime


@dataclass(frozen=True, slots=True)
class TradingDayUpdate:
    """Another trading day, YYYYMMDD."""

    gateway_name: str
    trading_day: int


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway's state."""

    gateway_name: str
    status: GatewayStatus
    last_error: str
    connect_time: datetime | None
    exchanges: tuple[str, ...]
    simulated: bool
    recorded: bool = False  # its market is a recording that is replayed

    @property
    def time_in_forces(self) -> tuple[TimeInForce, ...]:
        """Lifetimes that the venue keeps by itself: vnpy has no others."""
        return tuple(TimeInForce) if self.simulated else (TimeInForce.DAY, TimeInForce.IOC, TimeInForce.FOK)

    @property
    def keeps_order_ids(self) -> bool:
        """True when an order that the venue does not know was never sent: vnpy's gateways keep no id of RedFire."""
        return self.simulated


Update = OrderUpdate | TradeUpdate | PositionUpdate | AccountUpdate | TradingDayUpdate | Gateway


@dataclass(frozen=True, slots=True)
class VenueState:
    """State of a gateway: open orders and those asked for, their trades and all of the day, positions, accounts.

    `trades_cursor` is where the trades of the day ended; `uncertain_order_ids` may be, or were, at the venue.
    """

    orders: list[OrderUpdate]
    trades: list[TradeUpdate]
    positions: list[PositionUpdate]
    trading_day: int
    complete: bool
    trades_cursor: str = ""
    more_trades: bool = False
    uncertain_order_ids: list[str] = field(default_factory=list)
    accounts: list[AccountUpdate] = field(default_factory=list)
    refused_order_ids: list[str] = field(default_factory=list)
    """Orders that were given up: the gateway never had them, and does not get them any more."""
