"""Several backtests side by side on the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from services.commands.terminal_tables import TITLED, wide_console
from services.quant.backtest.report.catalogue import catalogue
from services.quant.backtest.report.comparison import Named, differences, lines
from services.quant.backtest.result import BacktestResult

_SHOWN = (
    "start_date", "end_date", "total_days", "end_balance", "total_net_pnl", "total_return", "annual_return",
    "max_drawdown", "max_ddpercent", "sharpe_ratio", "sortino_ratio", "calmar_ratio", "total_trade_count", "win_rate",
    "profit_factor", "average_trade", "total_commission", "total_slippage", "exposure",
)  # fmt: skip


def show(runs: Named, report: Path | None) -> None:
    """Print the runs and their statistics, a column each; the best of a row has a star."""
    console = wide_console()
    results: Sequence[BacktestResult] = [result for _, result in runs]
    for number, (name, result) in enumerate(runs, 1):
        job = result.job
        console.print(Text.assemble((f"{number}. {name}", "bold"), f" on {job.symbol}, {job.interval}"))
    table = Table(**TITLED)
    table.add_column()
    for number in range(1, len(runs) + 1):
        table.add_column(f"{number} ", justify="right")
    texts = catalogue("en")
    shown = {texts("class_name"), *(name for result in results for name in result.job.parameters)}
    for label, values in differences(results, texts):
        if label not in shown:
            table.add_row(Text(label.lower(), style="dim"), *(Text(f"{value} ") for value in values))
    by_name = {line.statistic.name: line for _, group in lines(results, texts) for line in group}
    for name in _SHOWN:
        if (line := by_name.get(name)) is not None:
            cells = [
                Text(f"{value}*", style="bold") if number in line.best else Text(f"{value} ")
                for number, value in enumerate(line.values)
            ]
            table.add_row(Text(name.replace("_", " "), style="dim"), *cells)
    console.print(table)
    for number, result in enumerate(results, 1):
        for sentence in result.diagnostics:
            console.print(Text.assemble(("! ", "yellow"), f"{number}. {sentence}"), soft_wrap=True)
    if report is not None:
        console.print(Text(f"report: {report}"))
