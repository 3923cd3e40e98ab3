"""The seam between strategies and what runs them: the live platform here, a backtest elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.quant.sdk.events import Bar, Effect, Instrument, Interval, OrderKind, Side, Tick


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order that a strategy wants; `price` is the limit, or the trigger of a stop, or None at the market."""

    side: Side
    effect: Effect
    kind: OrderKind
    quantity: float
    price: float | None


class Broker(Protocol):
    """The operations of one strategy. All of it is synchronous: nothing here waits for the platform, but history.

    An order's fate comes back as events (`Host.order`, `Host.trade`), a refusal as an order in state REJECTED.
    """

    @property
    def instrument(self) -> Instrument:
        """The instrument that the strategy trades."""

    @property
    def live(self) -> bool:
        """True if orders go to the platform; False in a backtest."""

    def now(self) -> datetime:
        """The time, aware, in the exchanges' zone; in a backtest that of the data."""

    def send(self, request: OrderRequest) -> str:
        """Send an order, after those sent before it, and return its client_order_id at once."""

    def cancel(self, client_order_id: str) -> None:
        """Ask for an order's end; a finished or unknown one is left alone."""

    def cancel_all(self) -> None:
        """Ask for the end of all open orders of the strategy."""

    def load_bars(self, days: float, interval: Interval) -> Sequence[Bar]:
        """Closed bars of the last days, oldest first. May take seconds: for initialising."""

    def load_ticks(self, days: float) -> Sequence[Tick]:
        """Ticks of the last days, oldest first. May take seconds: for initialising."""

    def log(self, message: str, level: str = "INFO") -> None:
        """Write a line into the strategy's log."""

    def changed(self) -> None:
        """Say that the strategy's variables are worth showing again."""
