"""The models of one run: which orders are filled, and what a trade costs; chosen by the job's `fill`."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from services.strategy.backtest.costs import FeeModel, FixedSlippage, RateFee, SlippageModel
from services.strategy.backtest.job import BacktestError, BacktestJob

_SIM = "services.strategy.backtest.sim_fill"


class FillModel(Protocol):
    """Says what becomes of resting orders. It acts on the core by execute, acknowledge, trigger, reject and
    cancel_order; `core.limits` and `core.stops` have the tickets by id, the first sent first, and
    `core.strategy.pos` is the position.
    """

    def accept(self, core: Any, ticket: Any) -> None:
        """An order has just been sent (it rests already); reject it here, or later in cross."""

    def cross(self, core: Any, row: Any) -> None:
        """Match the resting orders with a row, before the strategy sees it. Called for every row."""

    def cancelled(self, core: Any, ticket: Any) -> None:
        """The strategy has cancelled an order."""


@dataclass(frozen=True, slots=True)
class Models:
    """`fill` None: vnpy's matching, which is part of the core (core.py, cross_limits and cross_stops)."""

    fee: FeeModel
    slippage: SlippageModel
    fill: FillModel | None = None


def models_for(job: BacktestJob) -> Models:
    """The models of a job. `sim_fill.models(job) -> Models` has the stricter ones."""
    if job.fill == "vnpy":
        return Models(RateFee(job.rate), FixedSlippage(job.slippage))
    if find_spec(_SIM) is None:
        raise BacktestError(f"fill model {job.fill!r} is not part of this installation", "fill")
    made: Models = import_module(_SIM).models(job)
    return made
