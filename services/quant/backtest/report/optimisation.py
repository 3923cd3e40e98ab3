"""The report of an optimisation: the best combinations, and how the target lies over the parameters."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.quant.backtest.report import numbers
from services.quant.backtest.report.catalogue import Catalogue, Statistic, catalogue
from services.quant.backtest.report.page import page, plain
from services.quant.backtest.report.single import interval, settings

if TYPE_CHECKING:
    from services.quant.backtest.optimise import OptimisationResult, Point

TOP = 25
_FAILURES = 10
_BESIDE = ("total_return", "annual_return", "sharpe_ratio", "max_ddpercent", "total_trade_count", "win_rate")


def render_optimisation(result: "OptimisationResult", lang: str = "en") -> str:
    """The points of an optimisation as the text of an HTML file: a heat map over any two parameters that vary, and the
    best combinations with their statistics. Raises BacktestError for an unknown language.
    """
    texts = catalogue(lang)
    names = result.space.varied
    varying = [name for name in names if len({repr(point.parameters.get(name)) for point in result.points}) > 1]
    ordered = [point for point in result.points if math.isfinite(point.value)]
    beside = [texts.statistic(name) for name in _BESIDE if name != result.target]
    return page(
        "optimisation.html",
        texts,
        {
            "points": [[*(_axis(point.parameters.get(name)) for name in varying), point.value] for point in ordered],
            "parameters": [plain(name) for name in varying],
            "target": plain(texts.statistic(result.target).label),
        },
        result=result,
        interval=interval(result.job, texts),
        target=texts.statistic(result.target),
        warnings=_warnings(result, texts),
        names=names,
        varying=varying,
        beside=beside,
        top=[_row(point, names, result.target, beside, texts) for point in ordered[:TOP]],
        settings_shown=[(label, numbers.plain(value)) for label, value in settings(result.job, texts)],
        fixed=[(name, numbers.plain(value)) for name, value in result.job.parameters.items() if name not in names],
    )


def _row(
    point: "Point", names: Sequence[str], target: str, beside: Sequence[Statistic], texts: Catalogue
) -> tuple[list[str], str, list[str]]:
    """Its parameters, its target's value, its other statistics, as text."""
    unit = texts.statistic(target).unit
    value = numbers.number(point.value, 4) if unit in ("ratio", "text") else numbers.statistic(point.value, unit)
    others = [numbers.statistic(point.statistics.get(one.name, numbers.NONE), one.unit) for one in beside]
    return [numbers.plain(point.parameters.get(name, numbers.NONE)) for name in names], value, others


def _warnings(result: "OptimisationResult", texts: Catalogue) -> list[str]:
    """Warnings to be read before the table."""
    warnings = []
    done = len(result.points) + len(result.failures)
    if result.stopped:
        warnings.append(texts("points_stopped", done=numbers.number(done, 0), size=numbers.number(result.size, 0)))
    if idle := sum(point.statistics.get("total_trade_count") == 0 for point in result.points):
        warnings.append(texts("points_idle", count=numbers.number(idle, 0)))
    if result.failures:
        warnings.append(texts("points_failed", count=numbers.number(len(result.failures), 0)))
    for failure in result.failures[:_FAILURES]:
        given = ", ".join(f"{name}={failure.parameters[name]}" for name in result.space.varied)
        warnings.append(f"{given}: {failure.error}")
    return warnings


def _axis(value: object) -> float | str:
    """A number stays one, so that the axis is in its order; anything else is its text."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else plain(str(value))
