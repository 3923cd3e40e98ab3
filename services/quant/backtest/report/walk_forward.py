"""The report of a walk-forward: in-sample beside out-of-sample, then the tests joined as one backtest."""

from collections.abc import Mapping

from services.quant.backtest.data.dataset import Dataset
from services.quant.backtest.optimise.walk_forward import WalkForwardResult
from services.quant.backtest.report import numbers
from services.quant.backtest.report.catalogue import Statistic, catalogue
from services.quant.backtest.report.single import render_report
from services.quant.backtest.report.walk_forward_section import WalkForwardSection, WindowRow
from services.quant.backtest.result import BacktestResult

_BESIDE = ("annual_return", "total_return")


def render_walk_forward(result: WalkForwardResult, data: Dataset | None, lang: str = "en") -> str:
    """The walk-forward as the text of an HTML file. Raises BacktestError for an unknown language."""
    texts = catalogue(lang)
    shown = [texts.statistic(name) for name in (result.target, next(name for name in _BESIDE if name != result.target))]
    rows = [
        WindowRow(
            f"{window.train_start} – {window.train_end}",
            f"{window.test_start} – {window.test_end}",
            ", ".join(f"{name}={value}" for name, value in window.best.parameters.items()) if window.best else "",
            [
                (_shown(window.best.statistics if window.best else None, one), _shown(window.test_statistics, one))
                for one in shown
            ],
            window.error,
        )
        for window in result.windows
    ]
    efficiency = texts("no_efficiency") if result.efficiency is None else numbers.number(result.efficiency)
    joined = BacktestResult(
        result.job, result.fills, result.days, result.statistics,
        findings=data.findings if data is not None else (), row_count=0 if data is None else len(data),
    )  # fmt: skip
    return render_report(joined, data, lang, WalkForwardSection(shown, rows, efficiency))


def _shown(statistics: Mapping[str, object] | None, one: Statistic) -> str:
    return numbers.statistic((statistics or {}).get(one.name, numbers.NONE), one.unit)
