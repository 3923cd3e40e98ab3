"""A search on the terminal: its bar while it runs, and the tables at the end."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from services.commands.terminal_tables import TITLED, wide_console
from services.quant.backtest.optimise import OptimisationResult
from services.quant.backtest.optimise.point import Progress as SearchProgress
from services.quant.backtest.optimise.walk_forward import WalkForwardResult

_BESIDE = ("total_return", "sharpe_ratio", "max_ddpercent", "total_trade_count", "win_rate")
_SHOWN_ERRORS = 3
_WHOLE_FROM = 1000


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[SearchProgress], None]]:
    """A bar on the error stream that shows the search's progress."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"), TextColumn("{task.fields[best]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"{text}: starting", total=None, left="", best="")

        def update(now: SearchProgress) -> None:
            stage = f", {now.stage}" if now.stage else ""
            left = "" if now.left_s is None else f"{timedelta(seconds=round(now.left_s))} left"
            best = "" if now.best is None else f"best {_number(now.best.value)}"
            failed = f", {now.failed} failed" if now.failed else ""
            progress.update(
                task, description=text + stage, completed=now.done, total=now.total, left=left, best=best + failed
            )

        yield update


def show_points(result: OptimisationResult, top: int) -> None:
    """Print the best points, then the counts of the others and the failures."""
    console = wide_console()
    names = result.space.varied
    beside = [name for name in _BESIDE if name != result.target]
    table = Table(title=f"{result.job.class_name} on {result.job.symbol}: best {result.target}", **TITLED)
    for name in names:
        table.add_column(Text(name), justify="right")
    for name in (result.target, *beside):
        table.add_column(Text(name.replace("_", " ")), justify="right", style="bold" if name == result.target else "")
    for point in result.points[:top]:
        values = [point.value, *(point.statistics.get(name, 0) for name in beside)]
        table.add_row(*(Text(str(point.parameters[name])) for name in names), *map(_number, values))
    if result.points:
        console.print(table)
    done = len(result.points) + len(result.failures)
    early = "stopped: " if result.stopped else ""
    of = f"{done:,} of {result.size:,} points" if done < result.size else f"{done:,} points"
    console.print(Text(f"{early}{of} in {result.elapsed_s:.1f} s, {result.workers} workers"))
    if result.failures:
        console.print(Text(f"{len(result.failures):,} points failed:", style="red"))
    for failure in result.failures[:_SHOWN_ERRORS]:
        console.print(Text(f"  {_parameters(failure.parameters, names)}: {failure.error}"))


def show_windows(result: WalkForwardResult) -> None:
    """In-sample beside out-of-sample, a window a row; then the tests joined."""
    console = wide_console()
    target = result.target.replace("_", " ")
    table = Table(title=f"{result.job.class_name} on {result.job.symbol}: walk-forward", **TITLED)
    for name in ("optimised on", "tested on"):
        table.add_column(name, no_wrap=True)
    table.add_column("parameters")
    for name in (f"{target} in", "out of sample", "annual % in", "out of sample"):
        table.add_column(Text(name), justify="right", no_wrap=True)
    for window in result.windows:
        cells = [
            f"{window.train_start} – {window.train_end}",
            f"{window.test_start} – {window.test_end}",
            _parameters(window.best.parameters, list(window.best.parameters)) if window.best else "",
        ]
        if window.best is None or window.test_statistics is None:
            table.add_row(*map(Text, [*cells, window.error]))
            continue
        inside, outside = window.best.statistics, window.test_statistics
        table.add_row(
            *map(Text, cells), _number(window.best.value), _number(window.test_value),
            _number(inside.get("annual_return", 0)), _number(outside.get("annual_return", 0)),
        )  # fmt: skip
    console.print(table)
    joined = ", ".join(
        f"{name.replace('_', ' ')} {_number(result.statistics[name])}"
        for name in ("total_return", "annual_return", "sharpe_ratio", "max_ddpercent", "total_trade_count")
        if name in result.statistics
    )
    console.print(Text(f"out of sample, joined: {joined}"))
    ratio = "none: in sample it earned nothing" if result.efficiency is None else f"{result.efficiency:.2f}"
    console.print(Text(f"efficiency (annual return, out of sample over in sample): {ratio}"))
    if result.stopped:
        console.print(Text("stopped: the windows that were finished"))


def _parameters(parameters: Mapping[str, Any], names: Any) -> str:
    return ", ".join(f"{name}={parameters[name]}" for name in names)


def _number(value: object) -> str:
    if not isinstance(value, int | float):
        return "–"
    if isinstance(value, int) or abs(value) >= _WHOLE_FROM:
        return f"{value:,.0f}"
    return f"{value:,.4g}"
