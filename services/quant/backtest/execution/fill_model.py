"""The fill model of a run and the costs of its trades: what each implementation has."""

from dataclasses import dataclass
from typing import Any, Protocol

from services.quant.backtest.execution.costs import FeeModel, SlippageModel

AT_MARKET = 1e12
"""The limit that stands for a market order to buy, its negative for one to sell: it crosses whatever there is."""


def is_native(strategy: Any) -> bool:
    """Return whether it is a BaseStrategy, as native.py gives it to the core, and no CtaTemplate."""
    return bool(getattr(type(strategy), "is_native", False))


class FillModel(Protocol):
    """Says what becomes of limit orders and when stops are triggered. It acts on the core by execute, acknowledge,
    trigger, reject and withdraw; `core.limits` and `core.stops` have the tickets in the order in which they were sent,
    `core.strategy.pos` the position. Cancelled stops are gone from `core.stops` without its being asked.
    """

    def accept(self, core: Any, ticket: Any) -> None:
        """An order has just been sent (it rests already); reject or fill it later, in cross or settle."""

    def cancel(self, core: Any, ticket: Any) -> None:
        """The strategy asks for the end of a limit order: withdraw it now or later."""

    def cross(self, core: Any, row: Any) -> None:
        """A row, before the strategy sees it."""

    def settle(self, core: Any) -> None:
        """The strategy has seen the row."""


@dataclass(frozen=True, slots=True)
class Models:
    """`fill` None: vnpy's matching, which is part of the core (core.py, cross_limits and cross_stops)."""

    fee: FeeModel
    slippage: SlippageModel
    fill: FillModel | None = None
