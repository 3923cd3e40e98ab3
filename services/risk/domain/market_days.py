"""The trading day that each market is in: real gateways share one, a simulated gateway has its own.

All Chinese exchanges begin a trading day at the same moment, after the close of all and before any night session: so
one day counts for all symbols of a market. A replayed recording has days of its own, which are no other market's.
"""

from collections.abc import Callable


class MarketDays:
    """Trading days (YYYYMMDD) by market; 0 while none was seen."""

    def __init__(self) -> None:
        self._days: dict[str, int] = {}
        # Markets of which a tick of the trading day was seen. Before, after a restart, it may be over already: then
        # what was stored of it is its end, not what positions are worth now.
        self._confirmed: set[str] = set()
        # Recordings that began again: their days count though later ones were stored.
        self._again: set[str] = set()

    def of(self, market: str) -> int:
        """The trading day of a market."""
        return self._days.get(market, 0)

    def begins(self, market: str, day: int, *, again: bool = False) -> bool:
        """Return whether a day begins that is seen: a later one, or, where the recording begins `again`, any."""
        return again or day > self.of(market)

    def begin(self, market: str, day: int, *, again: bool = False) -> None:
        """A day begins."""
        self._days[market] = day
        if again:
            self._again.add(market)

    def confirm(self, market: str, day: int) -> None:
        """A tick of this day was seen."""
        if day == self.of(market):
            self._confirmed.add(market)

    def is_confirmed(self, market: str, day: int) -> bool:
        """Return whether a tick of this day, which is the market's, was seen."""
        return market in self._confirmed and day == self.of(market)

    def is_over(self, market: str, day: int) -> bool:
        """Return whether what was reckoned on this day is of another day than the market's."""
        return day < self.of(market) or (market in self._again and day != self.of(market))

    def move(self, market_of: Callable[[str], str]) -> None:
        """Gateways turned out to be of another market."""
        days: dict[str, int] = {}
        for gateway, day in self._days.items():
            market = market_of(gateway)
            days[market] = max(day, days.get(market, 0))
        self._days = days
        self._confirmed = {market_of(gateway) for gateway in self._confirmed}
        self._again = {market_of(gateway) for gateway in self._again}
