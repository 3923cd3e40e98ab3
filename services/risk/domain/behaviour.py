"""Recent behaviour of an account: repeated orders, and cancels that trading has not shown yet."""

import math

# Orders that an account's duplicate window remembers at most.
MOST_RECENT = 20_000


class Behaviour:
    """Kept only of accounts with limits of programme trading."""

    __slots__ = ("_pending", "_pending_by_symbol", "_recent")

    def __init__(self) -> None:
        # By repeat key: when the last such order was let through, and its id.
        self._recent: dict[int, tuple[float, str]] = {}
        # By order: its symbol, and until when its cancel or replace counts without being seen; and how many by symbol.
        self._pending: dict[str, tuple[str, float]] = {}
        self._pending_by_symbol: dict[str, int] = {}

    def repeats(self, key: int, order_id: str, now: float, window_s: float) -> float | None:
        """Seconds since another such order was let through within the window; None when none was."""
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
        """Forget an order that never came to be."""
        if key in self._recent and self._recent[key][1] == order_id:
            del self._recent[key]

    def add_pending_cancel(self, order_id: str, symbol: str, until: float) -> None:
        """Count a cancel or replace that is let through until trading shows it."""
        self.confirm_cancel(order_id)
        self._pending[order_id] = symbol, until
        self._pending_by_symbol[symbol] = self._pending_by_symbol.get(symbol, 0) + 1

    def confirm_cancel(self, order_id: str) -> None:
        """Stop counting: trading shows the cancel, or the order's end."""
        pending = self._pending.pop(order_id, None)
        if pending is not None:
            left = self._pending_by_symbol[pending[0]] - 1
            if left:
                self._pending_by_symbol[pending[0]] = left
            else:
                del self._pending_by_symbol[pending[0]]

    def is_cancel_pending(self, order_id: str, now: float) -> bool:
        """Return true when an order's cancel or replace counts already."""
        pending = self._pending.get(order_id)
        return pending is not None and pending[1] > now

    def pending_cancels(self, symbol: str, now: float) -> int:
        """Cancels and replaces of a symbol that were let through and are not seen yet."""
        while self._pending:
            # All are held equally long: the first one ends first.
            order_id, (_, until) = next(iter(self._pending.items()))
            if until > now:
                break
            self.confirm_cancel(order_id)
        return self._pending_by_symbol.get(symbol, 0)
