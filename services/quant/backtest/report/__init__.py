"""Reports of backtests: each one HTML file that needs nothing else, in English or Chinese."""

from services.quant.backtest.report.comparison import named, render_comparison
from services.quant.backtest.report.optimisation import render_optimisation
from services.quant.backtest.report.page import prepare
from services.quant.backtest.report.single import render_report
from services.quant.backtest.report.walk_forward import render_walk_forward

__all__ = ["named", "prepare", "render_comparison", "render_optimisation", "render_report", "render_walk_forward"]
