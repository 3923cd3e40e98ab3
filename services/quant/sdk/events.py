"""Events of a strategy: ticks, bars, its orders and its trades. Plain values, no protobuf, no vnpy.

Prices and quantities are floats here, as strategies compute with them; the broker turns them into decimals.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

# Sessions and days of Chinese exchanges are in their local time, and so are vnpy's datetimes.
EXCHANGE_TIME = ZoneInfo("Asia/Shanghai")


class Side(StrEnum):
    """The side of an order or a trade."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class Effect(StrEnum):
    """The position effect of an order: whether it opens or closes."""

    OPEN = "OPEN"
    CLOSE = "CLOSE"
    CLOSE_TODAY = "CLOSE_TODAY"
    CLOSE_YESTERDAY = "CLOSE_YESTERDAY"


class OrderKind(StrEnum):
    """The type of an order."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"


class OrderState(StrEnum):
    """The state of an order; the names are the contract's."""

    PENDING_NEW = "PENDING_NEW"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    PENDING_CANCEL = "PENDING_CANCEL"
    CANCELED = "CANCELED"
    PENDING_REPLACE = "PENDING_REPLACE"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_open(self) -> bool:
        """True if it may still be filled."""
        return self not in _FINISHED


_FINISHED = {OrderState.FILLED, OrderState.CANCELED, OrderState.REJECTED, OrderState.EXPIRED}


class Interval(StrEnum):
    """The length of a bar of the platform's history."""

    M1 = "1M"
    M5 = "5M"
    M15 = "15M"
    M30 = "30M"
    H1 = "1H"
    H4 = "4H"
    D1 = "1D"


@dataclass(slots=True)
class Tick:
    """A snapshot of an instrument's market; books are best first, up to five levels."""

    symbol: str
    time_ns: int
    last_price: float
    volume: float = 0.0
    turnover: float = 0.0
    open_interest: float = 0.0
    last_quantity: float = 0.0
    open_price: float = 0.0
    high_price: float = 0.0
    low_price: float = 0.0
    pre_close_price: float = 0.0
    limit_up: float = 0.0
    limit_down: float = 0.0
    bid_prices: tuple[float, ...] = ()
    bid_quantities: tuple[float, ...] = ()
    ask_prices: tuple[float, ...] = ()
    ask_quantities: tuple[float, ...] = ()
    sequence: int = 0
    trading_day: int = 0
    """YYYYMMDD; 0 where the data do not say it."""
    gateway: str = ""
    epoch: str = ""
    """The run of the feed that the sequence is of."""

    @property
    def time(self) -> datetime:
        """Exchange's time, aware, in Asia/Shanghai."""
        return exchange_time(self.time_ns)

    @property
    def bid(self) -> float:
        """The best bid; the last price when there is none."""
        return self.bid_prices[0] if self.bid_prices and self.bid_prices[0] else self.last_price

    @property
    def ask(self) -> float:
        """The best ask; the last price when there is none."""
        return self.ask_prices[0] if self.ask_prices and self.ask_prices[0] else self.last_price


@dataclass(slots=True)
class Bar:
    """The prices of a span of time; `time` is its START, aware, in Asia/Shanghai."""

    symbol: str
    time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float = 0.0
    turnover: float = 0.0
    open_interest: float = 0.0
    incomplete: bool = False
    """True if it was built over a gap: trades of its span may be missing, or others may be in it."""


@dataclass(slots=True)
class Order:
    """An order of the strategy as it is now. `order_id` is empty until the platform has accepted it."""

    client_order_id: str
    symbol: str
    side: Side
    effect: Effect
    kind: OrderKind
    quantity: float
    price: float
    state: OrderState
    order_id: str = ""
    filled: float = 0.0
    average_price: float = 0.0
    reason: str = ""
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def is_open(self) -> bool:
        """True if it may still be filled."""
        return self.state.is_open


@dataclass(frozen=True, slots=True)
class Trade:
    """A fill of one of the strategy's orders."""

    trade_id: str
    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    effect: Effect
    price: float
    quantity: float
    time: datetime

    @property
    def signed_quantity(self) -> float:
        """The change of the position."""
        return self.quantity * self.side.sign


@dataclass(frozen=True, slots=True)
class Instrument:
    """The terms of an instrument as far as a strategy needs them."""

    symbol: str
    price_tick: float
    contract_size: float
    quantity_step: float = 1.0
    min_quantity: float = 1.0


def exchange_time(time_ns: int) -> datetime:
    """A datetime in the exchanges' time of nanoseconds since 1970."""
    return datetime.fromtimestamp(time_ns / 1e9, EXCHANGE_TIME)
