"""Searching a strategy's parameters: grids, the genetic search, processes and clusters, walk-forward.

Light to import: worker processes import it, too.
"""

from services.quant.backtest.optimise.evaluator import ClassSource
from services.quant.backtest.optimise.genetic import Genetic
from services.quant.backtest.optimise.optimisation import OptimisationResult, run_optimisation
from services.quant.backtest.optimise.point import Failure, Point, Progress
from services.quant.backtest.optimise.space import Axis, Space

__all__ = [
    "Axis",
    "ClassSource",
    "Failure",
    "Genetic",
    "OptimisationResult",
    "Point",
    "Progress",
    "Space",
    "run_optimisation",
]
