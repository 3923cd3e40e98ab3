"""The report of several backtests side by side."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date

from services.strategy.backtest.job import BacktestError
from services.strategy.backtest.report import numbers, tables
from services.strategy.backtest.report.catalogue import Catalogue, Statistic, catalogue
from services.strategy.backtest.report.page import page, plain
from services.strategy.backtest.report.single import settings
from services.strategy.backtest.result import BacktestResult


@dataclass(frozen=True, slots=True)
class Line:
    """One statistic of all runs: values as text, and which of them are the best."""

    statistic: Statistic
    values: Sequence[str]
    best: frozenset[int]


def render_comparison(results: Sequence[BacktestResult], lang: str = "en") -> str:
    """The comparison of `results` as the text of an HTML file: statistics with the best of each marked, equity curves
    and drawdowns over one another. Raises BacktestError for no results or a language that there is none of.
    """
    if not results:
        raise BacktestError("there is nothing to compare")
    texts = catalogue(lang)
    differing = differences(results, texts)
    names = names_of(results, differing)
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
                for index, (name, result) in enumerate(zip(names, results, strict=True), 1)
            ]
        },
        results=results,
        names=names,
        differences=differing,
        groups=lines(results, texts),
    )


def differences(results: Sequence[BacktestResult], texts: Catalogue) -> list[tuple[str, list[str]]]:
    """(label, value of each run) of the settings and parameters that are not the same in all."""
    rows: list[tuple[str, list[str]]] = []
    for values in zip(*(settings(result.job, texts) for result in results), strict=True):
        rows.append((values[0][0], [numbers.plain(value) for _, value in values]))
    for name in dict.fromkeys(name for result in results for name in result.job.parameters):
        rows.append((name, [numbers.plain(result.job.parameters.get(name, numbers.NONE)) for result in results]))
    return [(label, values) for label, values in rows if len(set(values)) > 1]


def names_of(results: Sequence[BacktestResult], differing: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """The class of each run, with the values of the parameters in which it differs from another."""
    parameters = {name for result in results for name in result.job.parameters}
    names = []
    for index, result in enumerate(results):
        own = [f"{label}={values[index]}" for label, values in differing if label in parameters]
        own = [text for text in own if not text.endswith(f"={numbers.NONE}")]
        names.append(" ".join((result.job.class_name, *own)))
    return names


def lines(results: Sequence[BacktestResult], texts: Catalogue) -> list[tuple[str, list[Line]]]:
    """(group, its statistics over all runs)."""
    named: Mapping[str, list[Line]] = {group: [] for group in tables.GROUPS}
    # Who did nothing lost nothing: that is best in nothing.
    traded = {index for index, result in enumerate(results) if result.trades}
    present = {name for result in results for name in result.statistics}
    known = [name for name in texts.statistics if name in present]
    for name in known + sorted(present - set(known)):
        statistic = texts.statistic(name)
        values = [result.statistics.get(name, numbers.NONE) for result in results]
        shown = [numbers.statistic(value, statistic.unit) for value in values]
        named[statistic.group].append(Line(statistic, shown, _best(statistic, values, shown, traded)))
    return [(group, rows) for group, rows in named.items() if rows]


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
