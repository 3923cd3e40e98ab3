"""Orders as risk sees them: one to check, and one that works."""

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache


# Orders have few sizes and prices; a look is a fifth of what making one takes.
@lru_cache(maxsize=4096)
def number(text: str) -> Decimal:
    """A decimal of the contract; 0 for the empty string."""
    return Decimal(text or 0)


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class OrderCandidate:
    """An order to check, or (`replaces`) an accepted order with its new quantity and price."""

    user_id: str
    account_id: str
    order_id: str
    symbol: str
    buys: bool
    opens: bool
    quantity: Decimal
    value_price: Decimal  # what one point is valued at: the limit, else the reference price
    contract_size: Decimal  # 0: not known
    price: Decimal | None = None  # the limit, if it has one
    gateway: str = ""
    dry_run: bool = False
    replaces: bool = False
    # A stop that waits for its trigger: it is not at the venue, so that its limit may be anywhere.
    held: bool = False
    # A stop that has triggered: it was let through and counted when it was accepted.
    triggered: bool = False
    # The numbers of the contract, and the trigger, by which a repeated order is known.
    type: int = 0
    effect: int = 0
    stop_price: str = ""

    @property
    def repeat_key(self) -> int:
        """A number that is equal for two orders with the same content."""
        return repeat_key(
            self.symbol, self.buys, self.effect, self.type, self.quantity, self.price, number(self.stop_price)
        )

    @property
    def notional(self) -> Decimal:
        """Notional of the whole order."""
        return abs(self.value_price) * self.quantity * self.contract_size


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class WorkingOrder:
    """The open part of an accepted order. `cancelling`: a cancel is on its way, or its state is not known."""

    order_id: str
    symbol: str
    buys: bool
    opens: bool
    quantity: Decimal
    leaves: Decimal
    price: Decimal | None
    value_price: Decimal  # what one point is valued at: the limit, else the trigger, else the last price
    notional: Decimal  # of what is left
    cancelling: bool = False
    changing: bool = False  # a cancel or replace is on its way
    held: bool = False  # it waits at trading: a stop for its trigger, an exit for its entry
    immediate: bool = False  # IOC or FOK: it never rests


# Not frozen, as one is made for each order: that would take four times as long.
@dataclass(slots=True)
class Reservation:
    """An order that was let through and is not seen at trading yet; of a replaced one only what is new."""

    symbol: str
    buys: bool
    opens: bool
    leaves: Decimal
    notional: Decimal
    quantity: Decimal  # the whole order's
    value_price: Decimal
    replaces: bool
    until: float  # of the monotonic clock
    repeat_key: int = 0  # 0: repeats are not looked for


def repeat_key(*values: object) -> int:
    """A number for the content of an order; a thousand orders fit into a few kilobytes."""
    return hash(values)
