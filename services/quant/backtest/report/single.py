"""The report of one backtest."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from services.quant.backtest.analysis.round_trip import round_trips
from services.quant.backtest.data.dataset import Dataset
from services.quant.backtest.job import TICK, BacktestJob
from services.quant.backtest.report import numbers, tables
from services.quant.backtest.report.catalogue import Catalogue, catalogue
from services.quant.backtest.report.page import page
from services.quant.backtest.report.price_series import MAX_TRADES, price_series
from services.quant.backtest.report.walk_forward_section import WalkForwardSection
from services.quant.backtest.result import BacktestResult, Day

LOG_LINES = 200
_BINS = 40  # even: none has both gains and losses
_YUAN_EXCHANGES = frozenset({"CFFEX", "SHFE", "INE", "DCE", "CZCE", "GFEX", "SSE", "SZSE", "BSE", "SGE"})


def render_report(
    result: BacktestResult, data: Dataset | None, lang: str = "en", walk: WalkForwardSection | None = None
) -> str:
    """The report of `result` as the text of an HTML file. `data` is what the backtest ran on: without it the price
    chart has the days' closes only. `walk`: it is the tests of a walk-forward, joined. Raises BacktestError for a
    language that there is none of.
    """
    texts = catalogue(lang)
    trips = list(round_trips(result.job, result.days, result.trades))
    price = price_series(result, data, trips)
    months = tables.months(result.days, result.job.capital)
    return page(
        "report.html",
        texts,
        {
            "equity": equity_series(result.days, result.job.capital),
            "daily": _daily_series(result),
            "price": price,
            "costs": [[texts(cost.name), cost.amount] for cost in tables.costs(result.days)],
            "currency": currency(result.job.symbol, texts),
        },
        result=result,
        walk=walk,
        job=result.job,
        interval=interval(result.job, texts),
        currency=currency(result.job.symbol, texts),
        price=price,
        max_trades=MAX_TRADES,
        headline=headline(result),
        months=months,
        groups=tables.statistics_by_group(result, texts),
        costs=tables.costs(result.days),
        sides=tables.sides(trips),
        trips=tables.best_and_worst(trips),
        settings_shown=[(label, numbers.plain(value)) for label, value in settings(result.job, texts)],
        parameters=[(name, numbers.plain(value)) for name, value in result.job.parameters.items()],
        variables=[(name, numbers.plain(value)) for name, value in result.variables.items()],
        findings=result.findings or (data.findings if data is not None else ()),
        logs=result.logs[-LOG_LINES:],
    )


def headline(result: BacktestResult) -> Mapping[str, float]:
    """The figures of the cards by name: 0 where a statistic is missing."""
    names = (
        "total_net_pnl", "total_return", "annual_return", "sharpe_ratio", "sortino_ratio", "max_ddpercent",
        "max_drawdown", "max_drawdown_duration", "win_rate", "profit_factor", "total_trade_count", "round_trip_count",
        "annual_volatility", "exposure",
    )  # fmt: skip
    values = {name: result.statistics.get(name, 0) for name in names}
    return {name: float(value) if isinstance(value, int | float) else 0.0 for name, value in values.items()}


def settings(job: BacktestJob, texts: Catalogue) -> list[tuple[str, object]]:
    """(label, value) of everything that was set, but the parameters."""
    return [
        (texts("class_name"), job.class_name),
        (texts("symbol"), job.symbol),
        (texts("interval"), job.interval),
        (texts("start"), job.start or texts("from_first")),
        (texts("end"), job.end or texts("to_last")),
        (texts("timezone"), job.timezone),
        (texts("capital"), job.capital),
        (texts("rate"), f"{job.rate:.10f}".rstrip("0").rstrip(".")),
        (texts("slippage_setting"), job.slippage),
        (texts("size"), job.size),
        (texts("pricetick"), job.pricetick),
        (texts("fill"), job.fill),
        (texts("risk_free"), job.risk_free),
        (texts("annual_days"), job.annual_days),
        (texts("half_life"), job.half_life),
    ]


def interval(job: BacktestJob, texts: Catalogue) -> str:
    """Name the interval of the backtest's data."""
    return texts("ticks_of") if job.interval == TICK else texts("bars_of", interval=job.interval)


def currency(symbol: str, texts: Catalogue) -> str:
    """The currency that the exchange of `symbol` counts in."""
    return texts("currency_CNY" if symbol.rpartition(".")[2] in _YUAN_EXCHANGES else "currency_none")


def equity_series(days: Sequence[Day], capital: float) -> Mapping[str, Any]:
    """Balance and drawdown by day, the product's price as if the capital were in it, and the largest drawdown."""
    balances = [day.balance for day in days]
    first = next((day.close_price for day in days if day.close_price > 0), 0.0)
    worst: list[str] = []
    if days and min(day.drawdown for day in days) < 0:
        bottom = min(range(len(days)), key=lambda row: days[row].drawdown)
        peak = max(range(bottom + 1), key=balances.__getitem__)
        worst = [days[peak].date.isoformat(), days[bottom].date.isoformat()]
    return {
        "date": [day.date.isoformat() for day in days],
        "balance": [round(balance, 2) for balance in balances],
        "drawdown": [round(day.ddpercent, 4) for day in days],
        "held": [round(capital * day.close_price / first, 2) if first else None for day in days],
        "worst": worst,
        "capital": capital,
    }


def _daily_series(result: BacktestResult) -> Mapping[str, Any]:
    profits = np.array([day.net_pnl for day in result.days], dtype=np.float64)
    traded = profits[profits != 0]
    if not len(traded) or not np.all(np.isfinite(traded)):
        return {"net": [], "centres": [], "counts": [], "width": 1.0, "mean": 0.0}
    # Days without a trade or a position would hide all others; the few wildest share the outermost bins.
    reach = float(np.quantile(np.abs(traded), 0.995)) or float(np.max(np.abs(traded)))
    edges = np.linspace(-reach, reach, _BINS + 1)
    counts, _ = np.histogram(np.clip(traded, -reach, reach), edges)
    return {
        "net": [round(float(value), 2) for value in profits],
        "centres": [round(float(value), 2) for value in (edges[:-1] + edges[1:]) / 2],
        "counts": [int(count) for count in counts],
        "width": float(edges[1] - edges[0]),
        "mean": float(profits.mean()),
    }
