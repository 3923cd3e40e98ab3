"""Matching: one symbol's orders against the quotes of its market, in integer ticks and lots; no vnpy, threads or clock.

The rules:
- A snapshot shows quantities at price levels. All our orders together take at most what is shown; the next snapshot
  shows fresh quantities.
- Among our orders the better price goes first, then the earlier order. A market order's rest is the best price of all.
- A new order takes level after level at the levels' prices. A resting order that a later snapshot crosses fills at its
  own price, as it would have in the exchange's book; a market order's rest fills at the level's price.
- What is left of a market order waits for the next snapshots, within limit_up and limit_down, unless it is IOC or FOK.
- Our orders do not trade with each other: the quotes are the market.
"""

from bisect import insort
from dataclasses import dataclass, field
from enum import Enum

MARKET_PRICE = 1 << 62


class Lifetime(Enum):
    """The time in force of the part that does not fill at once."""

    RESTS = "rests"
    IOC = "ioc"
    FOK = "fok"


@dataclass(slots=True, eq=False)
class MatchOrder:
    """An order in the book. `price` in ticks, None for market; `lots` are what is left of it."""

    id: int
    buy: bool
    price: int | None
    lots: int
    priority: int

    @property
    def rank(self) -> tuple[int, int]:
        """Sorts the orders of a side: who goes first is smallest."""
        limit = MARKET_PRICE if self.price is None else self.price if self.buy else -self.price
        return -limit, self.priority


@dataclass(frozen=True, slots=True)
class Fill:
    """A fill of one of our orders at one price."""

    order_id: int
    price: int
    lots: int


@dataclass(slots=True)
class Level:
    """The quantity left at a price of the snapshot."""

    price: int
    lots: int


@dataclass(slots=True)
class _Side:
    """Resting orders of one side, and the levels that they trade against."""

    orders: list[MatchOrder] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)


class Book:
    """One symbol's book: our resting orders, and what is left of the last snapshot."""

    def __init__(self) -> None:
        self._sides = {True: _Side(), False: _Side()}
        self._orders: dict[int, MatchOrder] = {}

    def __len__(self) -> int:
        """The number of resting orders."""
        return len(self._orders)

    def get(self, order_id: int) -> MatchOrder | None:
        """A resting order."""
        return self._orders.get(order_id)

    def quote(self, bids: list[Level], asks: list[Level]) -> list[Fill]:
        """A new snapshot, levels best first: its quantities replace what was left of the last one."""
        self.show(bids, asks)
        fills: list[Fill] = []
        for side in self._sides.values():
            if side.orders and side.levels:
                for order in side.orders:
                    if not self._take(side, order, fills, resting=True):
                        break
                if fills:
                    self._drop_filled(side)
        return fills

    def show(self, bids: list[Level], asks: list[Level]) -> None:
        """A new snapshot for new orders only: those that rest have met it, or wait for the next one."""
        self._sides[True].levels = asks
        self._sides[False].levels = bids

    def submit(self, order: MatchOrder, lifetime: Lifetime) -> list[Fill]:
        """A new order. `order.lots` is what is left of it afterwards; it rests when its lifetime lets it."""
        side = self._sides[order.buy]
        fills: list[Fill] = []
        if lifetime is Lifetime.FOK and self.reachable(order) < order.lots:
            return fills
        self._take(side, order, fills, resting=False)
        if order.lots and lifetime is Lifetime.RESTS:
            self.rest(order)
        return fills

    def rest(self, order: MatchOrder) -> None:
        """Put an order into the book as it is: after a restart."""
        orders = self._sides[order.buy].orders
        # Many are the last of their price, and nobody's price is worse: a search would compare a dozen ranks.
        if not orders or orders[-1].rank <= order.rank:
            orders.append(order)
        else:
            insort(orders, order, key=lambda resting: resting.rank)
        self._orders[order.id] = order

    def remove(self, order_id: int) -> MatchOrder | None:
        """Take a resting order out of the book."""
        order = self._orders.pop(order_id, None)
        if order is not None:
            self._sides[order.buy].orders.remove(order)
        return order

    def reachable(self, order: MatchOrder) -> int:
        """The number of lots that the snapshot still offers an order."""
        return sum(level.lots for level in self._sides[order.buy].levels if _crosses(order, level))

    def _take(self, side: _Side, order: MatchOrder, fills: list[Fill], *, resting: bool) -> bool:
        """Fill an order from the levels. Whether an order behind it may find anything, too."""
        for level in side.levels:
            if not _crosses(order, level):
                return False
            lots = min(order.lots, level.lots)
            if lots:
                level.lots -= lots
                order.lots -= lots
                price = order.price if resting and order.price is not None else level.price
                self._add(fills, order.id, price, lots)
            if not order.lots:
                return True
        return False

    @staticmethod
    def _add(fills: list[Fill], order_id: int, price: int, lots: int) -> None:
        if fills and fills[-1].order_id == order_id and fills[-1].price == price:
            lots += fills.pop().lots
        fills.append(Fill(order_id, price, lots))

    def _drop_filled(self, side: _Side) -> None:
        filled = [order.id for order in side.orders if not order.lots]
        if filled:
            side.orders = [order for order in side.orders if order.lots]
            for order_id in filled:
                del self._orders[order_id]


def _crosses(order: MatchOrder, level: Level) -> bool:
    if order.price is None:
        return True
    return level.price <= order.price if order.buy else level.price >= order.price
