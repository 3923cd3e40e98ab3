"""Reports of backtests: each one HTML file that needs nothing else, in English or Chinese."""

from services.strategy.backtest.report.comparison import named, render_comparison
from services.strategy.backtest.report.optimisation import render_optimisation
from services.strategy.backtest.report.page import prepare
from services.strategy.backtest.report.single import render_report
from services.strategy.backtest.report.walk_forward import render_walk_forward

__all__ = ["named", "prepare", "render_comparison", "render_optimisation", "render_report", "render_walk_forward"]
