"""A group of orders that depend on each other."""

from dataclasses import dataclass
from decimal import Decimal

from redfire.enums import OrderGroupKind

from services.trading.domain.money import ZERO
from services.trading.domain.order import Order


@dataclass(slots=True)
class OrderGroup:
    """A group. `quantity` is what each of its orders was asked for with."""

    order_group_id: str
    client_order_group_id: str
    user_id: str
    account_id: str
    kind: OrderGroupKind
    fingerprint: str
    quantity: Decimal
    # In the order they were asked for: of a BRACKET entry, take profit, stop.
    orders: list[Order]
    create_time_ns: int
    update_time_ns: int

    @property
    def is_open(self) -> bool:
        """Return whether some order of it may still trade."""
        return any(order.is_open for order in self.orders)

    @property
    def entry(self) -> Order | None:
        """The order that the others wait for."""
        return self.orders[0] if self.kind is OrderGroupKind.BRACKET else None

    @property
    def members(self) -> list[Order]:
        """The orders of which one takes from the others: all of an OCO, the exits of a BRACKET."""
        return self.orders[1:] if self.kind is OrderGroupKind.BRACKET else self.orders

    @property
    def closes(self) -> bool:
        """Return whether its members close a position."""
        return self.members[0].is_closing

    @property
    def remaining(self) -> Decimal:
        """The quantity that its members stand for now, each of them."""
        total = self.quantity if self.entry is None else self.entry.cumulative_quantity
        return max(total - sum((order.cumulative_quantity for order in self.members), ZERO), ZERO)

    @property
    def protected_quantity(self) -> Decimal:
        """The quantity that its open members stand for, each of them, at most."""
        return max((order.leaves_quantity for order in self.members if order.is_open), default=ZERO)

    @property
    def unprotected_quantity(self) -> Decimal:
        """The quantity that its closing members neither closed nor stand for; closed by other orders counts, too."""
        return max(self.remaining - self.protected_quantity, ZERO) if self.closes else ZERO

    def adopt(self, order: Order) -> None:
        """Adopt the cache's own object of an order: a finished one may have been read anew."""
        for index, mine in enumerate(self.orders):
            if mine.order_id == order.order_id:
                self.orders[index] = order
