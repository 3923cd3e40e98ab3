"""A backtest's result as a table on the terminal."""

from datetime import date
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from services.commands.terminal_tables import TITLED, PlainConsole

_GROUPS: tuple[tuple[str, ...], ...] = (
    ("start_date", "end_date", "total_days", "profit_days", "loss_days"),
    ("capital", "end_balance", "total_return", "annual_return", "total_net_pnl", "daily_net_pnl"),
    ("max_drawdown", "max_ddpercent", "max_drawdown_duration", "return_std"),
    ("sharpe_ratio", "ewm_sharpe", "return_drawdown_ratio", "sortino_ratio", "calmar_ratio", "rgr_ratio"),
    ("total_trade_count", "daily_trade_count", "win_rate", "profit_factor", "average_trade"),
    ("total_commission", "total_slippage", "total_turnover"),
)
_PERCENT = {"total_return", "annual_return", "daily_return", "return_std", "max_ddpercent", "win_rate"}
_SIGNED = {"total_return", "annual_return", "total_net_pnl", "daily_net_pnl", "average_trade"}


def show(result: Any, report: Path | None) -> None:
    """Print the statistics, then the diagnostics of the run."""
    console = PlainConsole(soft_wrap=True)
    job = result.job
    table = Table(title=f"{job.class_name} on {job.symbol}, {job.interval}", show_header=False, **TITLED)
    for _ in range(2):
        table.add_column()
        table.add_column(justify="right")
    for group in _GROUPS:
        cells: list[str | Text] = []
        for name in group:
            if name in result.statistics:
                cells += [Text(name.replace("_", " "), style="dim"), _shown(name, result.statistics[name])]
        for at in range(0, len(cells), 4):
            table.add_row(*cells[at : at + 4])
        if cells:
            table.add_section()
            table.add_row()
    console.print(table)
    speed = f", {result.row_count / result.elapsed_s:,.0f} a second" if result.elapsed_s else ""
    counts = f"{result.row_count:,} rows in {result.elapsed_s:.2f} s{speed}"
    console.print(Text(f"{counts}; {result.order_count:,} orders, {len(result.trades):,} trades"))
    if job.parameters:
        console.print(Text("parameters: " + ", ".join(f"{name}={value}" for name, value in job.parameters.items())))
    for sentence in result.diagnostics:
        console.print(Text.assemble(("! ", "yellow"), sentence))
    if report is not None:
        console.print(Text(f"report: {report}"))


def _shown(name: str, value: Any) -> Text:
    if isinstance(value, date) or not isinstance(value, int | float):
        return Text(str(value))
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
    style = ("green" if value > 0 else "red" if value < 0 else "") if name in _SIGNED else ""
    return Text(text + ("%" if name in _PERCENT else ""), style=style)
