"""vnpy's calculate_statistics, key for key, without pandas: what a run's days add up to."""

import math
from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np

from services.quant.backtest.data.dataset import Floats
from services.quant.backtest.job import BacktestJob
from services.quant.backtest.result import Day

_ZERO: Mapping[str, float | int | date | str] = {
    "start_date": "", "end_date": "", "total_days": 0, "profit_days": 0, "loss_days": 0, "capital": 0.0,
    "end_balance": 0.0, "max_drawdown": 0.0, "max_ddpercent": 0.0, "max_drawdown_duration": 0, "total_net_pnl": 0.0,
    "daily_net_pnl": 0.0, "total_commission": 0.0, "daily_commission": 0.0, "total_slippage": 0.0,
    "daily_slippage": 0.0, "total_turnover": 0.0, "daily_turnover": 0.0, "total_trade_count": 0,
    "daily_trade_count": 0.0, "total_return": 0.0, "annual_return": 0.0, "daily_return": 0.0, "return_std": 0.0,
    "sharpe_ratio": 0.0, "ewm_sharpe": 0.0, "return_drawdown_ratio": 0.0, "rgr_ratio": 0.0,
}  # fmt: skip


def vnpy_statistics(job: BacktestJob, days: Sequence[Day]) -> dict[str, float | int | date | str]:
    """All of vnpy's keys in its order; {} when there are no days. Only zeros, as in vnpy, when the balance ever falls
    to 0 or below. What has no finite value (one day's standard deviation) is 0."""
    if not days:
        return {}
    figures = {**_ZERO, "capital": job.capital}
    if all(day.balance > 0 for day in days):
        with np.errstate(all="ignore"):
            figures |= _positive(job, days)
    return {
        name: 0.0 if isinstance(value, float) and not math.isfinite(value) else value for name, value in figures.items()
    }


def _positive(job: BacktestJob, days: Sequence[Day]) -> dict[str, float | int | date | str]:
    total_days = len(days)
    returns: Floats = np.array([day.daily_return for day in days])
    net_pnl, commission, slippage, turnover = (
        math.fsum(getattr(day, name) for day in days) for name in ("net_pnl", "commission", "slippage", "turnover")
    )
    trade_count = sum(day.trade_count for day in days)
    end_balance = days[-1].balance
    lowest = min(range(total_days), key=lambda i: days[i].drawdown)
    highest = max(range(lowest + 1), key=lambda i: days[i].balance)
    max_ddpercent = min(day.ddpercent for day in days)
    total_return = (end_balance / job.capital - 1) * 100
    annual_return = total_return / total_days * job.annual_days
    daily_return = float(returns.mean()) * 100
    return_std = float(returns.std(ddof=1)) * 100 if total_days > 1 else math.nan
    sharpe_ratio = ewm_sharpe = 0.0
    if return_std:
        risk_free = job.risk_free / math.sqrt(job.annual_days)
        sharpe_ratio = (daily_return - risk_free) / return_std * math.sqrt(job.annual_days)
        mean, deviation = _weighted(returns, job.half_life)
        ewm_sharpe = _ratio(mean * 100 - risk_free, deviation * 100) * math.sqrt(job.annual_days)
    return {
        "start_date": days[0].date,
        "end_date": days[-1].date,
        "total_days": total_days,
        "profit_days": sum(day.net_pnl > 0 for day in days),
        "loss_days": sum(day.net_pnl < 0 for day in days),
        "end_balance": end_balance,
        "max_drawdown": days[lowest].drawdown,
        "max_ddpercent": max_ddpercent,
        "max_drawdown_duration": (days[lowest].date - days[highest].date).days,
        "total_net_pnl": net_pnl,
        "daily_net_pnl": net_pnl / total_days,
        "total_commission": commission,
        "daily_commission": commission / total_days,
        "total_slippage": slippage,
        "daily_slippage": slippage / total_days,
        "total_turnover": turnover,
        "daily_turnover": turnover / total_days,
        "total_trade_count": trade_count,
        "daily_trade_count": trade_count / total_days,
        "total_return": total_return,
        "annual_return": annual_return,
        "daily_return": daily_return,
        "return_std": return_std,
        "sharpe_ratio": sharpe_ratio,
        "ewm_sharpe": ewm_sharpe,
        "return_drawdown_ratio": -total_return / max_ddpercent if max_ddpercent else 0.0,
        "rgr_ratio": _rgr_ratio(annual_return / 100, return_std, returns, max_ddpercent),
    }


def _ratio(above: float, below: float) -> float:
    """above / below; not finite, as numpy has it, where below is 0."""
    return above / below if below else math.nan


def _weighted(returns: Floats, half_life: float) -> tuple[float, float]:
    """The last exponentially weighted mean and standard deviation, unbiased, of pandas' ewm(halflife)."""
    weights = np.exp(math.log(0.5) / half_life * np.arange(len(returns) - 1, -1, -1))
    total, squares = float(weights.sum()), float((weights**2).sum())
    mean = float((weights * returns).sum()) / total
    variance = float((weights * (returns - mean) ** 2).sum()) / total
    correction = total**2 - squares
    return mean, math.sqrt(variance * total**2 / correction) if correction > 0 else math.nan


def _rgr_ratio(growth: float, return_std: float, returns: Floats, max_ddpercent: float) -> float:
    """vnpy's calc_rgr_ratio: risk-adjusted growth, with stability, skew and fat tails."""
    gain = math.log(1 + growth) if growth > 0 else -math.log(1 - growth)
    stability = 1 / (1 + return_std / 100) if return_std > 0 else 0.0
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2))) * math.sqrt(252)
    tail = np.sort(returns)[: math.ceil(len(returns) * 0.05)]
    cvar = float(np.mean(tail))
    skew, kurtosis = _skew(returns), _kurtosis(returns)
    skew_factor = 1 + 0.1 * math.tanh(skew)
    kurtosis_factor = 1 / (1 + 0.05 * max(kurtosis - 3, 0))
    drawdown = abs(max_ddpercent) / 100.0
    tail_risk = abs(cvar) if cvar != 0 else drawdown * 0.5
    risk = max(0.5 * max(downside, 1e-6) + 0.3 * drawdown + 0.2 * tail_risk, 1e-9)
    return gain * stability * skew_factor * kurtosis_factor / risk


def _moments(returns: Floats) -> tuple[float, float, float]:
    """Sums of the second, third and fourth powers of the distances to the mean; zeros where they are rounding only."""
    centred = returns - returns.mean()
    second = float((centred**2).sum())
    constant = (np.finfo(float).eps * float(np.abs(returns).max())) ** 2 * len(returns)
    if second <= constant:
        return 0.0, 0.0, 0.0
    return second, float((centred**3).sum()), float((centred**4).sum())


def _skew(returns: Floats) -> float:
    """pandas' skew: the adjusted Fisher-Pearson coefficient; NaN below three values."""
    count = len(returns)
    if count < 3:
        return math.nan
    second, third, _ = _moments(returns)
    if second == 0:
        return 0.0
    return float(count * math.sqrt(count - 1) / (count - 2) * third / second**1.5)


def _kurtosis(returns: Floats) -> float:
    """pandas' kurt: the adjusted excess kurtosis; NaN below four values."""
    count = len(returns)
    if count < 4:
        return math.nan
    second, _, fourth = _moments(returns)
    if second == 0:
        return 0.0
    adjustment = 3 * (count - 1) ** 2 / ((count - 2) * (count - 3))
    numerator = count * (count + 1) * (count - 1) * fourth
    return float(numerator / ((count - 2) * (count - 3) * second**2) - adjustment)
