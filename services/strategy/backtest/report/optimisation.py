"""The report of an optimisation: the best combinations, and how the target lies over the parameters."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from services.strategy.backtest.report import numbers
from services.strategy.backtest.report.catalogue import catalogue
from services.strategy.backtest.report.page import page, plain

TOP = 25


def render_optimisation(points: Sequence[tuple[Mapping[str, Any], float]], target: str, lang: str = "en") -> str:
    """The points of an optimisation, (parameters, value of the target), as the text of an HTML file: a heat map over
    any two parameters that vary, and the best combinations. Raises BacktestError for an unknown language.
    """
    texts = catalogue(lang)
    names = list(dict.fromkeys(name for parameters, _ in points for name in parameters))
    varying = [name for name in names if len({repr(parameters.get(name)) for parameters, _ in points}) > 1]
    ordered = sorted(
        ((parameters, value) for parameters, value in points if math.isfinite(value)),
        key=lambda point: point[1],
        reverse=True,
    )
    return page(
        "optimisation.html",
        texts,
        {
            "points": [[*(_axis(parameters.get(name)) for name in varying), value] for parameters, value in ordered],
            "parameters": [plain(name) for name in varying],
            "target": plain(texts.statistic(target).label),
        },
        target=texts.statistic(target),
        total=len(points),
        names=names,
        varying=varying,
        top=[
            ([numbers.plain(parameters.get(name, numbers.NONE)) for name in names], numbers.number(value, 4))
            for parameters, value in ordered[:TOP]
        ],
    )


def _axis(value: object) -> float | str:
    """A number stays one, so that the axis is in its order; anything else is its text."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else plain(str(value))
