"""What an account did a moment ago: repeated orders, and cancels that trading has not shown yet."""

import math

# Orders that an account's duplicate window remembers at most.
MOST_RECENT = 20_000


class Behaviour:
    """Kept only of accounts with limits of programme trading."""

    __slots__ = ("_asked", "_asked_in", "_recent")

    def __init__(self) -> None:
        # By what they ask for: when the last such order was let through, and its id.
        self._recent: dict[int, tuple[float, str]] = {}
        # By order: its symbol, and until when its cancel or replace counts without being seen; and how many by symbol.
        self._asked: dict[str, tuple[str, float]] = {}
        self._asked_in: dict[str, int] = {}

    def repeats(self, key: int, order_id: str, now: float, window_s: float) -> float | None:
        """How many seconds ago another such order was let through within the window; None when none was."""
        time, first_id = self._recent.get(key, (-math.inf, ""))
        age = now - time
        return age if age < window_s and first_id != order_id else None

    def remember(self, key: int, order_id: str, time: float, window_s: float) -> None:
        """Remember an order for the window; of very many the latest."""
        before = self._recent.pop(key, None)
        self._recent[key] = (time, order_id) if before is None else max(before, (time, order_id))
        while self._recent:
            oldest = next(iter(self._recent))
            if self._recent[oldest][0] > time - window_s and len(self._recent) <= MOST_RECENT:
                break
            del self._recent[oldest]

    def forget(self, key: int, order_id: str) -> None:
        """It never became an order."""
        if key in self._recent and self._recent[key][1] == order_id:
            del self._recent[key]

    def ask(self, order_id: str, symbol: str, until: float) -> None:
        """Count a cancel or replace that is let through until trading shows it."""
        self.seen(order_id)
        self._asked[order_id] = symbol, until
        self._asked_in[symbol] = self._asked_in.get(symbol, 0) + 1

    def seen(self, order_id: str) -> None:
        """Trading shows it, or the order's end."""
        asked = self._asked.pop(order_id, None)
        if asked is not None:
            left = self._asked_in[asked[0]] - 1
            if left:
                self._asked_in[asked[0]] = left
            else:
                del self._asked_in[asked[0]]

    def is_asked(self, order_id: str, now: float) -> bool:
        """Whether an order's cancel or replace counts already."""
        asked = self._asked.get(order_id)
        return asked is not None and asked[1] > now

    def asked_in(self, symbol: str, now: float) -> int:
        """Cancels and replaces of a symbol that were let through and are not seen yet."""
        while self._asked:
            # All are held equally long: the first one ends first.
            order_id, (_, until) = next(iter(self._asked.items()))
            if until > now:
                break
            self.seen(order_id)
        return self._asked_in.get(symbol, 0)
