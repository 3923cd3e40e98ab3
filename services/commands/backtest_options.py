"""What `redfire backtest` and `redfire optimize` have in common: their options, the class, the data, the job."""

import difflib
import math
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import click

from services.commands.data_folder import data_dir_option
from services.commands.one_line import BadInput, column_names, named_values, progress_bar
from services.strategy.backtest.job import FIRST_DAY, LAST_DAY, TICK, BacktestJob

_DEFAULT = BacktestJob(class_name="", symbol="any.ANY", interval=TICK)
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True, slots=True)
class Given:
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

    def of(self, named: str) -> "Given":
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
    """The options of Given, which the function gets as one argument `given`."""
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
            "--timezone", default=_DEFAULT.timezone, show_default=True, help="Of days, and of the file's times."
        ),
        click.option(
            "--columns", multiple=True, metavar="NAME=COLUMN", help="A column of the file that is not recognised."
        ),
        click.option("--strict", is_flag=True, help="Refuse a file with bad rows instead of skipping them."),
        click.option("--from", "start", type=Day(), help="The first day; rows before it warm the strategy up."),
        click.option("--to", "end", type=Day(), help="The last day."),
        click.option("--param", multiple=True, metavar="NAME=VALUE", help="A parameter of the strategy."),
        click.option(
            "--rate", type=Number(), default=_DEFAULT.rate, show_default=True, help="Commission, a part of turnover."
        ),
        click.option(
            "--slippage", type=Number(), default=_DEFAULT.slippage, show_default=True, help="In units of price."
        ),
        click.option("--size", type=Number(), help="Units a contract; by default the known contract's, else 10."),
        click.option("--pricetick", type=Number(), help="The price's step; by default the known contract's, else 1."),
        click.option(
            "--capital", type=Number(), default=_DEFAULT.capital, show_default=True, help="Money at the start."
        ),
        click.option(
            "--fill", type=click.Choice(["vnpy", "sim"]), default=_DEFAULT.fill, show_default=True,
            help="How orders are filled: as vnpy's backtests do, or as the simulated exchange does.",
        ),
        click.option("--strategies", type=click.Path(path_type=Path), help="A folder of your own strategies."),
    )  # fmt: skip

    def gathered(**arguments: Any) -> Any:
        names = [name for name in Given.__dataclass_fields__ if name != "class_name"]
        given = Given(**{name: arguments.pop(name) for name in names})
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
    from services.strategy.backtest.whole_file import write_whole

    write_whole(page.encode(), report)


def load_class(given: Given) -> type:
    """The strategy class. Raises: BadInput; a file that raises while it is imported ends with its traceback."""
    from services.strategy.backtest.vnpy_import import prepare_vnpy
    from services.strategy.runner.loading import Loader, UnknownClass

    if given.strategies is not None and not given.strategies.is_dir():
        raise BadInput(f"--strategies {given.strategies}: no such folder")
    prepare_vnpy()
    loader = Loader(given.strategies)
    try:
        return loader.load(given.class_name)
    except UnknownClass:
        raise BadInput(_unknown_class(given.class_name, loader)) from None
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def parameters(given: Given, strategy_class: type) -> dict[str, Any]:
    """All of the class's parameters, those that were given of their default's type. Raises: BadInput."""
    from services.strategy.runner.strategy_class import describe

    known = {parameter.name: parameter for parameter in describe(strategy_class).parameters}
    values = {name: one.default for name, one in known.items() if isinstance(one.default, bool | int | float | str)}
    for name, text in named_values(given.param, "--param").items():
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise BadInput(f"{given.class_name} has no parameter {name}: {has}")
        values[name] = typed(name, text, known[name].type)
    return values


def typed(name: str, text: str, kind: str) -> Any:
    """A parameter's text as its type. Raises: BadInput."""
    try:
        if kind == "int":
            number = float(text)
            if not number.is_integer():
                raise ValueError
            return int(text) if text.lstrip("+-").isdigit() else int(number)
        if kind == "float":
            number = float(text)
            if not math.isfinite(number):
                raise ValueError
            return number
    except (ValueError, OverflowError):
        raise BadInput(f"parameter {name} is {'an int' if kind == 'int' else 'a float'}, not {text!r}") from None
    if kind == "bool":
        if text.lower() not in (*_TRUE, *_FALSE):
            raise BadInput(f"parameter {name} is true or false, not {text!r}")
        return text.lower() in _TRUE
    return text


def make_job(given: Given, strategy_class: type, interval: str) -> BacktestJob:
    """The job; what a contract is known to be stands in for what was not given. Raises: BadInput, BacktestError."""
    symbol = symbol_of(given)
    job = BacktestJob(
        class_name=strategy_class.__name__,
        symbol=symbol,
        interval=interval,
        parameters=parameters(given, strategy_class),
        start=given.start,
        end=given.end,
        rate=given.rate,
        slippage=given.slippage,
        size=_DEFAULT.size if given.size is None else given.size,
        pricetick=_DEFAULT.pricetick if given.pricetick is None else given.pricetick,
        capital=given.capital,
        fill=given.fill,
        timezone=given.timezone,
    )
    if given.size is None or given.pricetick is None:
        from services.simulation.catalogue import Catalogue

        known = Catalogue.load().find(symbol)
        if known is not None and given.size is None:
            job = replace(job, size=float(known.contract_size))
        if known is not None and given.pricetick is None:
            job = replace(job, pricetick=float(known.price_tick))
    return job


def symbol_of(given: Given) -> str:
    """The symbol. Raises: BadInput."""
    if not given.symbol:
        raise BadInput("--symbol is missing: say which contract the data are of, for instance --symbol rb888.SHFE")
    return given.symbol


def load_data(given: Given) -> Any:
    """The rows, with all that is odd about them in their findings. Raises: BacktestError, BadInput."""
    from services.strategy.backtest.quality import inspect
    from services.strategy.backtest.times import zone_of

    symbol = symbol_of(given)
    zone = zone_of(given.timezone)
    if given.start and given.end and given.start > given.end:
        raise BadInput(f"the dates are empty: from {given.start} to {given.end}")
    if given.data is None:
        data = _from_store(given, symbol)
    else:
        from services.strategy.backtest.files import read_dataset

        with progress_bar(f"reading {given.data.name}") as progress:
            data = read_dataset(
                given.data, symbol=symbol, interval=given.interval, label=given.label, timezone=given.timezone,
                columns=column_names(given.columns), strict=given.strict, progress=progress,
            )  # fmt: skip
    return replace(data, findings=(*data.findings, *inspect(data, zone)))


def show_findings(data: Any, job: BacktestJob) -> None:
    """Say what is odd about the data, before anything runs on them; where nothing can, the error is all there is."""
    from services.strategy.backtest.times import day_start_ns

    first = data.time_ns.searchsorted(day_start_ns(job.start, job.zone)) if job.start else 0
    end = data.time_ns.searchsorted(day_start_ns(job.end + timedelta(1), job.zone)) if job.end else len(data)
    for finding in data.findings if first < end else ():
        click.echo(f"data: {finding.sentence}")


def _from_store(given: Given, symbol: str) -> Any:
    from services.strategy.backtest.store import DataStore

    store = DataStore(given.data_dir, given.timezone)
    interval = given.interval
    if interval is None:
        stored = [one.interval for one in store.list() if one.symbol == symbol]
        if len(stored) != 1:
            there = f"the store has {', '.join(stored)}" if stored else f"there is nothing of {symbol} in the store"
            raise BadInput(f"--interval is missing, or --data FILE: {there}")
        interval = stored[0]
    # A night's trading day is not the day that the clock shows: what is left over is after the job's end.
    return store.load(symbol, interval, None, given.end and given.end + timedelta(1))


def _unknown_class(name: str, loader: Any) -> str:
    found = [description for descriptions in loader.scan() for description in descriptions]
    names = [description.name for description in found if not description.error]
    broken = [f"{d.name} does not import: {d.error}" for d in found if d.error]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return "; ".join([f"there is no strategy class {name}: {hint}there are {', '.join(sorted(names))}", *broken])
