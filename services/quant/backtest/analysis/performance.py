"""Statistics of a backtest beyond vnpy's: risk-adjusted ratios, tails, and what the round trips earned."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from services.quant.backtest.analysis.round_trip import RoundTrip, round_trips
from services.quant.backtest.data.dataset import Floats
from services.quant.backtest.job import BacktestJob
from services.quant.backtest.result import Day, Fill

_TAIL = 0.05


def extra_statistics(job: BacktestJob, days: Sequence[Day], fills: Sequence[Fill]) -> dict[str, float | int]:
    """Statistics that vnpy's calculate_statistics lacks, by name; every value is finite, 0 where there is none.

    Returns and ratios are of the daily logarithmic returns, as vnpy's Sharpe ratio is; percentages are 0 … 100. Like
    vnpy, ratios are 0 for a run whose balance fell to 0 or below.
    """
    statistics = _of_returns(job, days) | _of_trips(round_trips(job, days, fills)) | _of_activity(job, days)
    return {name: value if math.isfinite(value) else 0.0 for name, value in statistics.items()}


def _of_returns(job: BacktestJob, days: Sequence[Day]) -> dict[str, float | int]:
    """annual_volatility: standard deviation of the daily returns × √annual_days, in percent.

    sortino_ratio: mean daily return above the risk-free one, over the downside deviation (root mean square of the
    negative daily returns, all days counted), × √annual_days.
    calmar_ratio: annual return over the largest drawdown, both in percent.
    var_95: the daily return, in percent, that the worst 5 % of days stay at or below; cvar_95: the mean of those days.
    """
    zero = dict.fromkeys(("annual_volatility", "sortino_ratio", "calmar_ratio", "var_95", "cvar_95"), 0.0)
    if not days or min(day.balance for day in days) <= 0:
        return {**zero}
    returns: Floats = np.array([day.daily_return for day in days]) * 100
    year = math.sqrt(job.annual_days)
    excess = float(returns.mean()) - job.risk_free / year
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    annual_return = (days[-1].balance / job.capital - 1) * 100 / len(days) * job.annual_days
    worst = min(day.ddpercent for day in days)
    tail = np.sort(returns)[: math.ceil(len(returns) * _TAIL)]
    return {
        "annual_volatility": float(returns.std(ddof=1)) * year if len(days) > 1 else 0.0,
        "sortino_ratio": excess / downside * year if downside else 0.0,
        "calmar_ratio": -annual_return / worst if worst else 0.0,
        "var_95": float(tail[-1]),
        "cvar_95": float(tail.mean()),
    }


def _of_trips(trips: Iterable[RoundTrip]) -> dict[str, float | int]:
    """Statistics of round trips after commission and slippage, in currency; a trip of exactly 0 is no win and no loss.

    win_rate: wins among all, in percent. profit_factor: sum of the wins over the sum of the losses, 0 when there is
    no loss. average_trade: mean of all. largest_loss and average_loss are negative. max_consecutive_losses: the
    longest row of losses, in the order of closing. average_holding_hours: by the calendar.
    """
    pnl, hours = [], []
    for trip in trips:
        pnl.append(trip.net_pnl)
        hours.append(trip.holding_hours)
    wins = [value for value in pnl if value > 0]
    losses = [value for value in pnl if value < 0]
    return {
        "round_trip_count": len(pnl),
        "win_rate": 100 * len(wins) / len(pnl) if pnl else 0.0,
        "profit_factor": -sum(wins) / sum(losses) if losses else 0.0,
        "average_trade": _mean(pnl),
        "average_win": _mean(wins),
        "average_loss": _mean(losses),
        "largest_win": max(wins, default=0.0),
        "largest_loss": min(losses, default=0.0),
        "max_consecutive_losses": _longest_row_of_losses(pnl),
        "average_holding_hours": _mean(hours),
    }


def _of_activity(job: BacktestJob, days: Sequence[Day]) -> dict[str, float | int]:
    """turnover_ratio: how often the average balance is turned over in a year (annual_days).

    exposure: days with a position or a trade among all days, in percent.
    """
    if not days:
        return {"turnover_ratio": 0.0, "exposure": 0.0}
    balance = _mean([day.balance for day in days])
    per_year = sum(day.turnover for day in days) / len(days) * job.annual_days
    held = sum(1 for day in days if day.start_pos or day.end_pos or day.trade_count)
    return {
        "turnover_ratio": per_year / balance if balance > 0 else 0.0,
        "exposure": 100 * held / len(days),
    }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _longest_row_of_losses(pnl: Sequence[float]) -> int:
    longest = row = 0
    for value in pnl:
        row = row + 1 if value < 0 else 0
        longest = max(longest, row)
    return longest
