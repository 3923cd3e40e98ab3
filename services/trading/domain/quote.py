"""An instrument's last price, and the prices of which orders may go by."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

# No price is so high.
PRICELESS = 1e15
# No gateway has this name.
_REAL = " real"


# Not frozen: an unchanged price that is published again makes the quote younger.
@dataclass(slots=True)
class Quote:
    """An instrument's last price and the day's limits; None without one. `bid` and `ask` are 0 without one."""

    last_price: Decimal
    limit_up: Decimal | None
    limit_down: Decimal | None
    bid: float = 0.0
    ask: float = 0.0
    gateway: str = ""  # empty where market does not state it
    # When it came, in seconds of the monotonic clock: a recording's ticks carry old times.
    received_s: float = 0.0
    time_ns: int = 0  # the exchange's; 0 where market does not state it


class LastPrices:
    """The last prices of each market: real gateways reach the same exchanges, a simulated one only itself."""

    def __init__(self, simulated: Mapping[str, bool] | None = None) -> None:
        """`simulated`: for each gateway that the engine reported, whether its money is simulated."""
        self._simulated = {} if simulated is None else simulated
        self._by_market: dict[str, dict[str, Decimal]] = {}

    def of(self, gateway: str) -> dict[str, Decimal]:
        """The prices that count for a gateway, by symbol."""
        if self._simulated.get(gateway) is not False:
            return self._by_market.setdefault(gateway, {})
        real = self._by_market.setdefault(_REAL, {})
        # Told of before the gateway was known to be a real one.
        if (early := self._by_market.pop(gateway, None)) is not None:
            real.update(early)
        return real


class QuoteRules(Protocol):
    """Rules of the quotes that count: by gateway and age."""

    def same_market(self, one: str, other: str) -> bool:
        """Return whether two gateways trade the same market."""

    def age_s(self, quote: Quote) -> float:
        """Seconds since the last tick came, or since the exchange sent it."""
