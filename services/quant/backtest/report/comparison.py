"""The report of several backtests side by side."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from services.quant.backtest.job import BacktestError
from services.quant.backtest.report import numbers, tables
from services.quant.backtest.report.catalogue import Catalogue, Statistic, catalogue
from services.quant.backtest.report.page import page, plain
from services.quant.backtest.report.single import settings
from services.quant.backtest.result import BacktestResult

Named: TypeAlias = Sequence[tuple[str, BacktestResult]]
"""Runs, each with the name that it has in the comparison."""


@dataclass(frozen=True, slots=True)
class Line:
    """One statistic of all runs: values as text, and which of them are the best."""

    statistic: Statistic
    values: Sequence[str]
    best: frozenset[int]


def named(results: Sequence[BacktestResult]) -> Named:
    """Each run by its class, with the parameters in which it differs from another of that class."""
    runs = []
    for result in results:
        alike = [other for other in results if other.job.class_name == result.job.class_name]
        differing = {name for name, values in _parameters(alike) if len(set(values)) > 1}
        own = [f"{name}={numbers.plain(value)}" for name, value in result.job.parameters.items() if name in differing]
        runs.append((" ".join((result.job.class_name, *own)), result))
    return runs


def render_comparison(runs: Named, lang: str = "en") -> str:
    """The comparison of `runs` as the text of an HTML file: statistics with the best of each marked, equity curves
    and drawdowns over one another. Raises BacktestError for no results or a language that there is none of.
    """
    if not runs:
        raise BacktestError("there is nothing to compare")
    texts = catalogue(lang)
    results = [result for _, result in runs]
    return page(
        "comparison.html",
        texts,
        {
            "runs": [
                {
                    "name": f"{index}. {plain(name)}",
                    "date": [day.date.isoformat() for day in result.days],
                    "return": [round((day.balance / result.job.capital - 1) * 100, 4) for day in result.days],
                    "drawdown": [round(day.ddpercent, 4) for day in result.days],
                }
                for index, (name, result) in enumerate(runs, 1)
            ]
        },
        results=results,
        names=[name for name, _ in runs],
        differences=differences(results, texts),
        groups=lines(results, texts),
    )


def differences(results: Sequence[BacktestResult], texts: Catalogue) -> list[tuple[str, list[str]]]:
    """(label, value of each run) of the settings and parameters that are not the same in all."""
    rows: list[tuple[str, list[str]]] = []
    for values in zip(*(settings(result.job, texts) for result in results), strict=True):
        rows.append((values[0][0], [numbers.plain(value) for _, value in values]))
    return [(label, values) for label, values in rows + _parameters(results) if len(set(values)) > 1]


def _parameters(results: Sequence[BacktestResult]) -> list[tuple[str, list[str]]]:
    """(name, its value in each run)."""
    names = dict.fromkeys(name for result in results for name in result.job.parameters)
    return [(name, [numbers.plain(of.job.parameters.get(name, numbers.NONE)) for of in results]) for name in names]


def lines(results: Sequence[BacktestResult], texts: Catalogue) -> list[tuple[str, list[Line]]]:
    """(group, its statistics over all runs)."""
    groups: Mapping[str, list[Line]] = {group: [] for group in tables.GROUPS}
    # Who did nothing lost nothing: that is best in nothing.
    traded = {index for index, result in enumerate(results) if result.trades}
    present = {name for result in results for name in result.statistics}
    known = [name for name in texts.statistics if name in present]
    for name in known + sorted(present - set(known)):
        statistic = texts.statistic(name)
        values = [result.statistics.get(name, numbers.NONE) for result in results]
        shown = [numbers.statistic(value, statistic.unit) for value in values]
        groups[statistic.group].append(Line(statistic, shown, _best(statistic, values, shown, traded)))
    return [(group, rows) for group, rows in groups.items() if rows]


def _best(
    statistic: Statistic, values: Sequence[float | int | date | str], shown: Sequence[str], traded: Set[int]
) -> frozenset[int]:
    comparable = {
        index: value for index, value in enumerate(values) if index in traded and isinstance(value, int | float)
    }
    if statistic.better == "none" or len({shown[index] for index in comparable}) < 2:
        return frozenset()
    best = (max if statistic.better == "high" else min)(comparable.values())
    return frozenset(index for index, value in comparable.items() if value == best)
