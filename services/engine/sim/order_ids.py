"""RedFire's order ids that the simulated exchange has seen: the same id again is not a second order."""

from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

KEPT = 20_000
# How far apart the clocks of the process that makes ids and ours may be.
_SKEW = timedelta(minutes=1)


class SimOrderIds:
    """The youngest ids in memory; `may_be_older` is true for others that must be looked up in the database.

    RedFire's ids carry the time they were made at (UUIDv7, or trading's own kind of it). An id that was made after the
    oldest one in memory came cannot be among those that were forgotten.
    """

    def __init__(self, recent: Iterable[tuple[str, int, datetime]] = (), kept: int = KEPT) -> None:
        self._kept = kept
        self._ids: OrderedDict[str, tuple[int, datetime]] = OrderedDict()
        self._forgotten_until: datetime | None = None
        self.restore(recent)

    def restore(self, recent: Iterable[tuple[str, int, datetime]]) -> None:
        """Take the youngest ids of earlier runs, oldest first."""
        for order_id, venue_order_id, time in recent:
            self.add(order_id, venue_order_id, time)
        if len(self._ids) >= self._kept:
            self._forgotten_until = next(iter(self._ids.values()))[1]

    def add(self, order_id: str, venue_order_id: int, time: datetime) -> None:
        """An order that came at `time`."""
        if not order_id:
            return
        self._ids[order_id] = (venue_order_id, time)
        if len(self._ids) > self._kept:
            self._forgotten_until = self._ids.popitem(last=False)[1][1]

    def find(self, order_id: str) -> int | None:
        """The exchange's id of an order in memory."""
        entry = self._ids.get(order_id)
        return None if entry is None else entry[0]

    def may_be_older(self, order_id: str) -> bool:
        """Return true when an id that is not in memory may be one that was forgotten."""
        if self._forgotten_until is None:
            return False
        try:
            made = UUID(order_id)
        except ValueError:
            return True
        if made.version not in (7, 8):
            return True
        made_at = datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
        return made_at <= self._forgotten_until + _SKEW
