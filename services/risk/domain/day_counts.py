"""Orders, cancels and replaces of each account, symbol and trading day, as trading has shown them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from redfire.enums import OrderStatus

from services.quant.calendar import Calendar

# Days that are remembered of a symbol: two, so that a clock that jumps to another day and back forgets nothing.
DAYS = 2
KEPT_FOR = timedelta(days=20)
_PENDING_CANCEL = int(OrderStatus.PENDING_CANCEL)
_PENDING_REPLACE = int(OrderStatus.PENDING_REPLACE)


class CountedOrder(Protocol):
    """The fields of an order that are counted; `status` is the contract's number."""

    order_id: str
    account_id: str
    symbol: str
    status: Any


# Not frozen, as it counts.
@dataclass(eq=False, slots=True)
class Counts:
    """Counts of an account in a symbol on one trading day. At a venue a replace is a cancel and an order."""

    orders: int = 0
    cancels: int = 0
    replaces: int = 0


NONE = Counts()


class CountRow(NamedTuple):
    """Counts as they are stored."""

    user_id: str
    account_id: str
    symbol: str
    trading_day: int
    orders: int
    cancels: int
    replaces: int


class FeedPosition(NamedTuple):
    """Position up to which trading's stream is counted, and orders with a cancel or replace on its way then."""

    sequence: int
    time_ns: int  # of the last order
    canceling: tuple[str, ...] = ()
    replacing: tuple[str, ...] = ()
    rate_sequence: int = 0  # of a second ago or more


@dataclass(eq=False, slots=True)
class _Days:
    user_id: str
    account_id: str
    symbol: str
    # The day that was counted last, and the moments that belong to it.
    day: int = 0
    start_ns: int = 0
    end_ns: int = 0
    counts: dict[int, Counts] = field(default_factory=dict)
    changed: bool = False


class DayCounts:
    """Counts each change of an order once: up to `sequence` of trading's stream everything is counted.

    The day is the calendar's at the moment of the change, whatever days a recording that is replayed has. Kept are the
    counts with their sequence, in one transaction; what came after it is counted anew from trading's stream.
    """

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._days: dict[tuple[str, str], _Days] = {}
        self._changed: list[_Days] = []
        # Orders with a cancel or replace on its way, which is counted already.
        self.canceling: set[str] = set()
        self.replacing: set[str] = set()
        self.sequence: int | None = None
        # The time of the last order that is counted, and the sequence that was written last.
        self.counted_ns = 0
        self.saved = 0
        self.rate_sequence = 0

    def load(self, position: FeedPosition | None, rows: Iterable[CountRow]) -> None:
        """Load the stored counts."""
        if position is not None:
            self.sequence = self.saved = position.sequence
            self.rate_sequence = min(position.rate_sequence, position.sequence)
            self.counted_ns = position.time_ns
            self.canceling, self.replacing = set(position.canceling), set(position.replacing)
        for row in sorted(rows, key=lambda row: row.trading_day):
            days = self._days.setdefault((row.account_id, row.symbol), _Days(row.user_id, row.account_id, row.symbol))
            days.counts[row.trading_day] = Counts(row.orders, row.cancels, row.replaces)

    def of(self, account_id: str, symbol: str, time_ns: int) -> Counts:
        """The counts of the trading day that a moment belongs to."""
        days = self._days.get((account_id, symbol))
        if days is None:
            return NONE
        if not days.start_ns <= time_ns < days.end_ns:
            return days.counts.get(self._calendar.trading_day(symbol, time_ns)) or NONE
        return days.counts[days.day]

    def count(self, user_id: str, order: CountedOrder, time_ns: int, *, new: bool) -> None:
        """Count a message of trading's stream about an order; `new`: it is the order's first."""
        status, order_id = order.status, order.order_id
        if new:
            self._add(user_id, order, time_ns).orders += 1
        if status == _PENDING_CANCEL:
            if order_id not in self.canceling:
                self.canceling.add(order_id)
                self._add(user_id, order, time_ns).cancels += 1
        elif self.canceling:
            self.canceling.discard(order_id)
        if status == _PENDING_REPLACE:
            if order_id not in self.replacing:
                self.replacing.add(order_id)
                self._add(user_id, order, time_ns).replaces += 1
        elif self.replacing:
            self.replacing.discard(order_id)

    def position(self) -> FeedPosition | None:
        """Position up to which everything is counted; None before the first snapshot."""
        if self.sequence is None:
            return None
        return FeedPosition(
            self.sequence, self.counted_ns, tuple(self.canceling), tuple(self.replacing), self.rate_sequence
        )

    def take_changed(self) -> list[CountRow]:
        """Take the rows that have to be written."""
        changed, self._changed = self._changed, []
        rows = []
        for days in changed:
            days.changed = False
            for day, counts in days.counts.items():
                values = counts.orders, counts.cancels, counts.replaces
                rows.append(CountRow(days.user_id, days.account_id, days.symbol, day, *values))
        return rows

    def put_back(self, rows: Iterable[CountRow]) -> None:
        """Put back rows that could not be written."""
        for key in {(row.account_id, row.symbol) for row in rows}:
            if (days := self._days.get(key)) is not None:
                self._change(days)

    def forget_before(self, trading_day: int) -> None:
        """Forget days before this one."""
        for key, days in list(self._days.items()):
            if not days.counts or max(days.counts) < trading_day:
                del self._days[key]
        self._changed = [days for days in self._changed if (days.account_id, days.symbol) in self._days]

    def _add(self, user_id: str, order: CountedOrder, time_ns: int) -> Counts:
        key = order.account_id, order.symbol
        days = self._days.get(key)
        if days is None:
            days = self._days[key] = _Days(user_id, *key)
        if not days.start_ns <= time_ns < days.end_ns:
            self._turn(days, time_ns)
        if not days.changed:
            self._change(days)
        return days.counts[days.day]

    def _change(self, days: _Days) -> None:
        if not days.changed:
            days.changed = True
            self._changed.append(days)

    def _turn(self, days: _Days, time_ns: int) -> None:
        days.day = self._calendar.trading_day(days.symbol, time_ns)
        days.start_ns, days.end_ns = self._calendar.day_span_ns(days.symbol, days.day)
        # The days counted last are the last ones here.
        days.counts[days.day] = days.counts.pop(days.day) if days.day in days.counts else Counts()
        for day in list(days.counts)[:-DAYS]:
            del days.counts[day]


def oldest_kept(now: datetime) -> int:
    """The first day (YYYYMMDD) whose counts are still kept."""
    day = (now.astimezone(UTC) - KEPT_FOR).date()
    return day.year * 10_000 + day.month * 100 + day.day
