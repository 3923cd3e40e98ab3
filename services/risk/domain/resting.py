"""The limit orders of one user that rest or are about to, by gateway, symbol and side, in order of price."""

from bisect import bisect_left, bisect_right, insort
from decimal import Decimal
from typing import NamedTuple


class Side(NamedTuple):
    """One side of a symbol at a gateway."""

    gateway: str
    symbol: str
    buys: bool


class RestingOrders:
    """Finds the orders that a new one would trade with, of all the accounts of its user."""

    def __init__(self) -> None:
        self._sides: dict[Side, list[tuple[Decimal, str]]] = {}
        # By order: where it rests, and where it will when its replace is through.
        self._places: dict[tuple[str, bool], tuple[Side, Decimal]] = {}

    def put(self, order_id: str, side: Side, price: Decimal, *, replacing: bool = False) -> None:
        """An order rests here; `replacing`: when its replace is through."""
        place = self._places.get((order_id, replacing))
        if place == (side, price):
            return
        if place is not None:
            self.drop(order_id, replacing=replacing)
        self._places[order_id, replacing] = side, price
        insort(self._sides.setdefault(side, []), (price, order_id))

    def drop(self, order_id: str, *, replacing: bool = False) -> None:
        """Remove an order that rests no more."""
        place = self._places.pop((order_id, replacing), None)
        if place is not None:
            side, price = place
            orders = self._sides[side]
            del orders[bisect_left(orders, (price, order_id))]
            if not orders:
                del self._sides[side]

    def crossing(self, gateway: str, symbol: str, buys: bool, price: Decimal | None, order_id: str) -> list[str]:
        """The orders that an order of this side and limit (None: at any price) would trade with, but for itself."""
        orders = self._sides.get(Side(gateway, symbol, not buys))
        if not orders:
            return []
        if price is None:
            crossed = orders
        elif buys:
            crossed = orders[: bisect_right(orders, (price, _LAST))]
        else:
            crossed = orders[bisect_left(orders, (price, "")) :]
        # An order that is being replaced may be here twice.
        return [one for one in dict.fromkeys(one for _, one in crossed) if one != order_id]


_LAST = chr(0x10FFFF)
