"""Searching a strategy's parameters: grids, the genetic search, processes and clusters, walk-forward.

Light to import: worker processes import it, too.
"""

from services.strategy.backtest.optimise.evaluator import ClassSource
from services.strategy.backtest.optimise.genetic import Genetic
from services.strategy.backtest.optimise.optimisation import OptimisationResult, run_optimisation
from services.strategy.backtest.optimise.point import Failure, Point, Progress
from services.strategy.backtest.optimise.space import Axis, Space

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
