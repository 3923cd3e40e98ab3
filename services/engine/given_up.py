"""Orders that trading has given up: a request to send one that comes late is refused, so nobody has to wait for it.

A request may be on its way for as long as a connection holds it back, though its caller waits no more. Kept in memory:
with this process the connections end, too.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_KEPT = 100_000


class GivenUpOrders:
    """Ids of orders that are not sent from now on, the last ones, and of those that are being sent."""

    def __init__(self) -> None:
        self._given_up: dict[str, None] = {}
        self._sending: Counter[str] = Counter()

    def __contains__(self, order_id: str) -> bool:
        return order_id in self._given_up

    @contextmanager
    def sending(self, order_id: str) -> Iterator[None]:
        """Note that an order is being sent meanwhile."""
        self._sending[order_id] += 1
        try:
            yield
        finally:
            self._sending[order_id] -= 1
            if not self._sending[order_id]:
                del self._sending[order_id]

    def add(self, order_ids: Iterable[str]) -> list[str]:
        """Give orders up, but for those that are being sent at this moment; the ones that are given up."""
        given_up = [order_id for order_id in order_ids if order_id not in self._sending]
        for order_id in given_up:
            self._given_up[order_id] = None
        while len(self._given_up) > _KEPT:
            del self._given_up[next(iter(self._given_up))]
        return given_up
