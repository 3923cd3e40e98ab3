"""The trading day that each gateway's symbols are in, which decides what of a position is today's.

Nothing needs to happen for a day to begin: each reader of a position asks for the day of that moment. A gateway that
goes with the present has the calendar's days; a fill that carries a later one is believed. One that reports another day
than the calendar's, or whose market is a recording that is replayed, keeps days of its own: the one that it began last,
or the later one that a fill of its carries.
"""

from collections.abc import Callable, Mapping

from services.quant.calendar import Calendar


class TradingDays:
    """Current trading days, YYYYMMDD."""

    def __init__(
        self,
        calendar: Calendar | None = None,
        now_ns: Callable[[], int] = lambda: 0,
        recorded: Mapping[str, bool] | None = None,
    ) -> None:
        """Without a calendar all gateways keep days of their own; those that `recorded` names do at any time."""
        self._calendar = calendar
        self._now_ns = now_ns
        self._recorded: Mapping[str, bool] = {} if recorded is None else recorded
        # By gateway: the day it reported last, and whether it keeps days of its own.
        self._reported: dict[str, tuple[int, bool]] = {}
        # Of gateways with the calendar's days: what fills were ahead of it with, by gateway and symbol.
        self._ahead: dict[tuple[str, str], int] = {}
        # Gateways that may have begun another recording: what they answer next is believed, whatever it is.
        self._doubted: set[str] = set()

    def of(self, gateway: str, symbol: str) -> int:
        """The trading day that a symbol of the gateway is in; 0 when nothing is known."""
        reported, is_own = self._reported.get(gateway, (0, False))
        if is_own or self._calendar is None:
            return reported
        day = self._calendar.trading_day(symbol, self._now_ns())
        return max(day, self._ahead.get((gateway, symbol), 0)) if self._ahead else day

    def takes_orders(self, gateway: str, symbol: str) -> bool:
        """Return whether the symbol's market is in an auction or open now; a replayed recording keeps its own hours."""
        if self._calendar is None or self._reported.get(gateway, (0, False))[1]:
            return True
        return self._calendar.takes_orders(symbol, self._now_ns())

    def is_over(self, gateway: str, symbol: str, day: int) -> bool:
        """Return whether one of the calendar's days is over by now; a gateway says itself when its own ones end."""
        if not day or self._calendar is None or self._reported.get(gateway, (0, False))[1]:
            return False
        return self._now_ns() >= self._calendar.day_end_ns(symbol, day)

    def reported(self, gateway: str) -> tuple[int, bool]:
        """(the day that a gateway reported last or 0, whether it keeps days of its own)."""
        return self._reported.get(gateway, (0, False))

    def begin(self, gateway: str, trading_day: int, asked_ns: int = 0) -> bool:
        """Apply a gateway's report of its trading day; False when that is known.

        An answer to what was asked at `asked_ns` may have been overtaken by what the gateway reported since, or by the
        day's change: it takes no day back.
        """
        doubted = gateway in self._doubted
        self._doubted.discard(gateway)
        before, was_own = self._reported.get(gateway, (0, False))
        if asked_ns and not doubted and (trading_day < before or (trading_day == before and not was_own)):
            return False
        calendar = self._calendar
        now_ns = self._now_ns()
        is_own = (
            calendar is None
            or self._recorded.get(gateway, False)
            or trading_day
            not in (calendar.chinese_trading_day(now_ns), calendar.chinese_trading_day(asked_ns or now_ns))
        )
        if self._reported.get(gateway) == (trading_day, is_own):
            return False
        self._reported[gateway] = (trading_day, is_own)
        return True

    def learn(self, gateway: str, symbol: str, trading_day: int) -> bool:
        """A fill of the gateway carries a trading day; True when what the gateway reported changes by it."""
        if trading_day <= self.of(gateway, symbol):
            return False
        if self._calendar is not None and not self._reported.get(gateway, (0, False))[1]:
            self._ahead[gateway, symbol] = trading_day
            return False
        return self.begin(gateway, trading_day)

    def restore(self, gateway: str, trading_day: int, is_own: bool) -> None:
        """Restore a trading day that was written."""
        self._reported[gateway] = (trading_day, is_own)
        self._doubted.add(gateway)

    def suspect(self) -> None:
        """Reports of gateways were missed, or they were started anew."""
        self._doubted.update(self._reported)

    def clear(self) -> None:
        """Forget what gateways reported."""
        self._reported.clear()
        self._ahead.clear()
        self._doubted.clear()
