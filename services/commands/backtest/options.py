"""The options that `redfire backtest`, `redfire optimize` and `redfire compare` have in common."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import click

from services.commands.click_command import BadInput
from services.commands.data_folder import data_dir_option
from services.quant.backtest.job import FILLS, FIRST_DAY, LAST_DAY, TICK, BacktestJob

DEFAULT = BacktestJob(class_name="", symbol="any.ANY", interval=TICK)
"""The defaults of options that are not given."""


@dataclass(frozen=True, slots=True)
class BacktestOptions:
    """The options as they were given; None where they were not. The class is an argument of its own: see `of`."""

    symbol: str | None
    data: Path | None
    data_dir: Path
    interval: str | None
    label: str
    timezone: str
    columns: tuple[str, ...]
    strict: bool
    start: date | None
    end: date | None
    param: tuple[str, ...]
    rate: float
    slippage: float
    size: float | None
    pricetick: float | None
    capital: float
    fill: str
    strategies: Path | None
    class_name: str = ""

    def of(self, named: str) -> "BacktestOptions":
        """The same for a class, which may bring parameters of its own: `Class:name=value,name=value`."""
        class_name, _, own = named.partition(":")
        pairs = tuple(pair for pair in own.split(",") if pair)
        return replace(self, class_name=class_name, param=(*self.param, *pairs))


class Day(click.ParamType[date]):
    """A date: 2020-01-31."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Raises: click.BadParameter."""
        if isinstance(value, date):
            return value
        try:
            day = date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date like 2020-01-31", param, ctx)
        if not FIRST_DAY <= day <= LAST_DAY:
            self.fail(f"{value} is not between {FIRST_DAY} and {LAST_DAY}", param, ctx)
        return day


class Number(click.ParamType[float]):
    """A finite number."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises: click.BadParameter."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of BacktestOptions, which the function gets as one argument `given`."""
    listed: tuple[Callable[[Any], Any], ...] = (
        click.option("--symbol", help="The contract, for instance rb888.SHFE."),
        click.option(
            "--data", type=click.Path(path_type=Path), help="A CSV or Parquet file; by default the data folder's store."
        ),
        data_dir_option,
        click.option("--interval", help="1m, 5m, 1h, 1d …, tick; by default as far apart as the data are."),
        click.option(
            "--label", type=click.Choice(["start", "end"]), default="start", show_default=True,
            help="Which end of a bar its time in the file is.",
        ),
        click.option(
            "--timezone", default=DEFAULT.timezone, show_default=True, help="Of days, and of the file's times."
        ),
        click.option(
            "--columns", multiple=True, metavar="NAME=COLUMN", help="A column of the file that is not recognised."
        ),
        click.option("--strict", is_flag=True, help="Refuse a file with bad rows instead of skipping them."),
        click.option("--from", "start", type=Day(), help="The first day; rows before it warm the strategy up."),
        click.option("--to", "end", type=Day(), help="The last day."),
        click.option("--param", multiple=True, metavar="NAME=VALUE", help="A parameter of the strategy."),
        click.option(
            "--rate", type=Number(), default=DEFAULT.rate, show_default=True, help="Commission, a part of turnover."
        ),
        click.option(
            "--slippage", type=Number(), default=DEFAULT.slippage, show_default=True, help="In units of price."
        ),
        click.option("--size", type=Number(), help="Units a contract; by default the known contract's, else 10."),
        click.option("--pricetick", type=Number(), help="The price's step; by default the known contract's, else 1."),
        click.option(
            "--capital", type=Number(), default=DEFAULT.capital, show_default=True, help="Money at the start."
        ),
        click.option(
            "--fill", type=click.Choice(FILLS), default=DEFAULT.fill, show_default=True,
            help="How orders are filled: as vnpy's backtests do, or as the simulated exchange does.",
        ),
        click.option("--strategies", type=click.Path(path_type=Path), help="A folder of your own strategies."),
    )  # fmt: skip

    def gathered(**arguments: Any) -> Any:
        names = [name for name in BacktestOptions.__dataclass_fields__ if name != "class_name"]
        given = BacktestOptions(**{name: arguments.pop(name) for name in names})
        return function(given=given, **arguments)

    gathered.__doc__, gathered.__name__ = function.__doc__, function.__name__
    params = getattr(function, "__click_params__", [])
    gathered.__click_params__ = params  # type: ignore[attr-defined]
    for option in reversed(listed):
        gathered = option(gathered)
    return gathered


def report_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--report` and `--lang`."""
    for option in (
        click.option(
            "--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="The report's language."
        ),
        click.option(
            "--report", type=click.Path(path_type=Path, dir_okay=False), help="Write an HTML report to this file."
        ),
    ):
        function = option(function)
    return function


def check_report(report: Path | None) -> None:
    """Raises: BadInput, before any work, where the report cannot be written."""
    if report is not None and not report.absolute().parent.is_dir():
        raise BadInput(f"--report {report}: there is no folder {report.parent}")


def write_report(report: Path, page: str) -> None:
    """The file is whole or not there. Raises: BacktestError."""
    from services.quant.backtest.output_file import write_output

    write_output(page.encode(), report)
