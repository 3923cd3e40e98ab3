"""An instrument's last price, and the prices of which orders may go by."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

# No price is so high.
PRICELESS = 1e15


# Not frozen: an unchanged price that is told again makes the quote younger.
@dataclass(slots=True)
class Quote:
    """An instrument's last price and the day's limits; None without one. `bid` and `ask` are 0 without one."""

    last_price: Decimal
    limit_up: Decimal | None
    limit_down: Decimal | None
    bid: float = 0.0
    ask: float = 0.0
    gateway: str = ""  # empty where market does not say
    # When it came, in seconds of the monotonic clock: a recording's ticks carry old times.
    received_s: float = 0.0


class QuoteRules(Protocol):
    """Which quotes count: of which gateways, and how old they are."""

    def same_market(self, one: str, other: str) -> bool:
        """Whether two gateways trade the same market."""

    def age_s(self, quote: Quote) -> float:
        """Seconds since the last tick came."""
