"""An order, as trading knows it. Enumerations have the contract's numbers and names (FIX's)."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from hashlib import blake2b

from redfire.enums import OrderStatus, OrderType, PositionEffect, PositionSide, Side, TimeInForce

from services.kernel.decimals import plain
from services.trading.domain import money
from services.trading.domain.money import ZERO


class Delivery(IntEnum):
    """Progress of a leg on its way to the venue. In the database QUEUED and SENDING mean: perhaps sent."""

    EMULATED = 1  # of an order without a leg: it waits here, for instance a stop for its trigger
    QUEUED = 2  # to be sent; nothing left this process yet
    SENDING = 3
    SENT = 4  # the venue has it
    UNCERTAIN = 5  # it may have been sent; only the venue knows


class ReplaceStep(IntEnum):
    """Progress of a replacement."""

    NONE = 0
    AMENDING = 1  # the venue was asked to change the order in place
    CANCELING = 2  # the old order is being canceled; only when it is gone is the new one sent


STOP_TYPES = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})
LIMIT_TYPES = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
GOOD_TILL = frozenset({TimeInForce.GTC, TimeInForce.GTD})


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class NewOrder:
    """An order as it is asked for."""

    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    account_id: str = ""
    price: Decimal | None = None
    stop_price: Decimal | None = None
    trailing_offset: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    expire_time_ns: int = 0
    position_effect: PositionEffect = PositionEffect.OPEN
    strategy_id: str = ""
    reduce_only: bool = False
    post_only: bool = False

    def fingerprint(self) -> str:
        """Equal for two requests that ask for the same order, however their numbers are written."""
        # What `fingerprint` makes of these values and the flags that are set, in one piece.
        text = (
            f"{self.symbol}|{self.side:d}|{self.type:d}|{plain(self.quantity)}|{_text(self.price)}"
            f"|{_text(self.stop_price)}|{_text(self.trailing_offset)}|{self.time_in_force:d}|{self.expire_time_ns}"
            f"|{self.position_effect:d}|{self.strategy_id}"
        )
        if self.reduce_only:
            text += "|reduce_only"
        if self.post_only:
            text += "|post_only"
        return blake2b(text.encode(), digest_size=16).hexdigest()


def fingerprint(*values: object) -> str:
    """A short digest of a request's values; decimals count by value."""
    parts = [plain(value) if isinstance(value, Decimal) else str(value) for value in values]
    return blake2b("|".join(parts).encode(), digest_size=16).hexdigest()


def _text(value: Decimal | None) -> str:
    return "None" if value is None else plain(value)


@dataclass(slots=True)
class Leg:
    """One life at the venue of an order or of a part of it.

    `filled` counts all trades that the venue reported of the leg, those it busted later, too.
    """

    number: int
    position_effect: PositionEffect
    quantity: Decimal
    delivery: Delivery = Delivery.QUEUED
    filled: Decimal = ZERO
    announced: Decimal = ZERO  # the most the venue reported as filled; trades may come later
    venue_order_id: str = ""
    # The end that the venue announced, perhaps while trades were still on their way.
    announced_status: OrderStatus | None = None
    announced_reason: str = ""
    announced_message: str = ""
    trading_day: int = 0  # that it was begun on, YYYYMMDD

    @property
    def is_live(self) -> bool:
        """Return whether it may still trade, or trades of it are still to come."""
        if self.announced_status is not None:
            return self.filled < self.announced
        return self.filled < self.quantity

    @property
    def leaves_quantity(self) -> Decimal:
        """The quantity that may still trade."""
        if self.announced_status is not None:
            return max(self.announced - self.filled, ZERO)
        return max(self.quantity - self.filled, ZERO)


@dataclass(slots=True)
class Order:
    """An order and all that carries it to its end. `cumulative_quantity` is the sum of its booked trades, always."""

    order_id: str
    client_order_id: str
    user_id: str
    account_id: str
    gateway: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    position_effect: PositionEffect
    quantity: Decimal
    price: Decimal | None
    stop_price: Decimal | None
    trailing_offset: Decimal | None
    expire_time_ns: int
    strategy_id: str
    trace_id: str
    fingerprint: str
    create_time_ns: int
    update_time_ns: int
    # What a unit of it is valued at for the reservation: the limit, or a bound of what a market order may cost.
    reserve_price: Decimal
    trading_day: int = 0  # that it was accepted on, YYYYMMDD
    traceparent: str = ""  # W3C Trace Context of the request: what the venue is asked for it belongs to its trace
    status: OrderStatus = OrderStatus.PENDING_NEW
    cumulative_quantity: Decimal = ZERO
    filled_notional: Decimal = ZERO  # sum of price × quantity of its trades
    commission: Decimal = ZERO
    reject_reason: str = ""
    reject_message: str = ""
    triggered: bool = False
    # Its lives at the venue, as far as they are not over for certain. Usually one; several where a close is split into
    # today's and yesterday's contracts; none while the order is held here. Never are two live for the same quantity.
    legs: list[Leg] = field(default_factory=list)
    leg_count: int = 0  # how many it ever had: the number of the next
    # Why it is not at its venue, or not known to be, now: a name of ErrorReason.
    hold_reason: str = ""
    # Of an order at a gateway that knows no end of days: the day it was accepted or held for is over there, so that its
    # end there is that of the day; and the day after which a held one is sent again.
    day_over: bool = False
    held_day: int = 0
    # Why the platform asked for its cancel: a name of ErrorReason; empty where its owner did.
    cancel_reason: str = ""
    order_group_id: str = ""
    # Closes only, and never more than is held (FIX 18, ExecInst).
    reduce_only: bool = False
    # Never takes liquidity (FIX 18=6, participate don't initiate).
    post_only: bool = False
    # Resting orders that must be gone before it is sent, such as those it would trade with; separated by blanks.
    cancel_first: str = ""
    # Of an exit of a bracket: its entry may still fill, so that what it stands for may grow.
    entry_open: bool = False
    replace_step: ReplaceStep = ReplaceStep.NONE
    pending_quantity: Decimal | None = None
    pending_price: Decimal | None = None
    # What a closing order holds of the position.
    hold_today: Decimal = ZERO
    hold_yesterday: Decimal = ZERO
    # In memory only.
    dormant: bool = False  # of an exit of a group: there is nothing yet that it could close
    reserved: Decimal = ZERO
    # Of an exit: the owner's orders that it would meet and risk was asked about, and whether they must be gone first.
    crossed: dict[str, bool] = field(default_factory=dict)
    trade_ids: set[str] = field(default_factory=set)

    @property
    def is_open(self) -> bool:
        """Return whether it may still trade."""
        return self.status not in FINISHED

    @property
    def is_held(self) -> bool:
        """Return whether it is open and not at the venue: it waits here, for instance a stop for its trigger."""
        return not self.legs and self.status not in FINISHED

    @property
    def is_live(self) -> bool:
        """Return whether any leg may trade, or has trades to come."""
        return any(leg.is_live for leg in self.legs)

    @property
    def has_uncertain_leg(self) -> bool:
        """Return whether the venue alone knows what became of a leg that may trade."""
        return any(leg.is_live and leg.delivery is Delivery.UNCERTAIN for leg in self.legs)

    @property
    def is_closing(self) -> bool:
        """Return whether it closes a position."""
        return self.position_effect is not PositionEffect.OPEN

    @property
    def is_retried(self) -> bool:
        """Return whether what cannot be sent now is tried again: a stop that has triggered, or an exit of a group."""
        return self.triggered or (self.is_closing and bool(self.order_group_id))

    @property
    def leaves_quantity(self) -> Decimal:
        """The quantity that may still trade; 0 when it is finished."""
        return max(self.quantity - self.cumulative_quantity, ZERO) if self.is_open else ZERO

    @property
    def average_price(self) -> Decimal | None:
        """Average price of its trades, or None without any."""
        if not self.cumulative_quantity:
            return None
        return money.quotient(self.filled_notional, self.cumulative_quantity)

    @property
    def venue_order_id(self) -> str:
        """The venue's id, of several legs joined by commas; empty while it is not known."""
        legs = self.legs
        if len(legs) == 1:
            return legs[0].venue_order_id
        return ",".join(leg.venue_order_id for leg in legs if leg.venue_order_id)

    def reference(self, leg: Leg) -> str:
        """Return the venue's reference of a leg: order_id, or order_id-1, -2 … for later legs."""
        return self.order_id if not leg.number else f"{self.order_id}-{leg.number}"

    def find_leg(self, reference: str) -> Leg | None:
        """The leg that the venue knows by this; None for one that is over."""
        suffix = reference[37:]
        number = int(suffix) if suffix.isascii() and suffix.isdigit() else 0
        for leg in self.legs:
            if leg.number == number:
                return leg
        return None

    def asked_again(self) -> NewOrder:
        """The request for its rest, as it would be made now."""
        return NewOrder(
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            side=self.side,
            type=self.type,
            quantity=self.leaves_quantity,
            account_id=self.account_id,
            price=self.price,
            stop_price=self.stop_price,
            trailing_offset=self.trailing_offset,
            time_in_force=self.time_in_force,
            expire_time_ns=self.expire_time_ns,
            position_effect=self.position_effect,
            strategy_id=self.strategy_id,
            reduce_only=self.reduce_only,
            post_only=self.post_only,
        )

    @property
    def venue_type(self) -> OrderType:
        """The type that the venue sees: stops are trading's own."""
        return OrderType.LIMIT if self.type in LIMIT_TYPES else OrderType.MARKET

    @property
    def venue_time_in_force(self) -> TimeInForce:
        """The time in force at the venue: a stop without a limit becomes a market order, never good till canceled."""
        if self.venue_type is OrderType.MARKET and self.time_in_force in GOOD_TILL:
            return TimeInForce.DAY
        return self.time_in_force

    @property
    def position_side(self) -> PositionSide:
        """The side of the position it opens or closes."""
        if self.is_closing:
            return PositionSide.SHORT if self.side is Side.BUY else PositionSide.LONG
        return PositionSide.LONG if self.side is Side.BUY else PositionSide.SHORT


def order_id_of(venue_reference: str) -> str:
    """The order that a venue's reference belongs to: a UUID has 36 characters, a leg's number follows it."""
    return venue_reference[:36]


FINISHED = frozenset({OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.REJECTED, OrderStatus.EXPIRED})
