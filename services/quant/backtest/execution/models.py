"""The models of one run: which orders are filled, and what a trade costs; chosen by the job's `fill`."""

from services.quant.backtest.execution import sim_fill
from services.quant.backtest.execution.costs import FixedSlippage, RateFee
from services.quant.backtest.execution.fill_model import Models
from services.quant.backtest.job import BacktestJob


def models_for(job: BacktestJob) -> Models:
    """The models of a job, by its `fill`."""
    if job.fill == "vnpy":
        return Models(RateFee(job.rate), FixedSlippage(job.slippage))
    return sim_fill.models(job)
