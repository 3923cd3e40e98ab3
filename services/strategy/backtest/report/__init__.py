"""Reports of backtests: each one HTML file that needs nothing else, in English or Chinese."""

from services.strategy.backtest.report.comparison import named, render_comparison
from services.strategy.backtest.report.optimisation import render_optimisation
from services.strategy.backtest.report.single import render_report

__all__ = ["named", "render_comparison", "render_optimisation", "render_report"]
