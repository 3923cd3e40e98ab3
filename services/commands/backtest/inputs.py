"""The inputs of a backtest or a search, out of its options: the class, its parameters, the data, the job."""

import difflib
import logging
import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import click

from services.commands.backtest.options import DEFAULT, BacktestOptions
from services.commands.click_command import BadInput, column_names, named_values, progress_bar, required_symbol
from services.quant.backtest.job import BacktestJob, check_days

log = logging.getLogger(__name__)
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def check_strategies(given: BacktestOptions) -> None:
    """Raises: BadInput where the user's folder is none."""
    if given.strategies is not None and not given.strategies.is_dir():
        raise BadInput(f"--strategies {given.strategies}: no such folder")


def load_class(given: BacktestOptions) -> type:
    """The strategy class. Raises: BadInput, also where its file does not import."""
    from services.quant.backtest.engine.vnpy_import import prepare_vnpy
    from services.quant.sdk.loading import Loader, UnknownClass, import_error

    check_strategies(given)
    prepare_vnpy()
    loader = Loader(given.strategies)
    try:
        return loader.load(given.class_name)
    except UnknownClass:
        raise BadInput(_unknown_class(given.class_name, loader)) from None
    except Exception as error:
        log.debug("%s does not import", given.class_name, exc_info=True)
        raise BadInput(import_error(error, given.strategies)) from None


def parameters(given: BacktestOptions, strategy_class: type) -> dict[str, Any]:
    """All of the class's parameters, those that were given of their default's type. Raises: BadInput."""
    from services.quant.sdk.strategy_class import describe

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


def make_job(given: BacktestOptions, strategy_class: type, interval: str) -> BacktestJob:
    """The job; what a contract is known to be stands in for what was not given. Raises: BadInput, BacktestError."""
    symbol = required_symbol(given.symbol)
    job = BacktestJob(
        class_name=strategy_class.__name__,
        symbol=symbol,
        interval=interval,
        parameters=parameters(given, strategy_class),
        start=given.start,
        end=given.end,
        rate=given.rate,
        slippage=given.slippage,
        size=DEFAULT.size if given.size is None else given.size,
        pricetick=DEFAULT.pricetick if given.pricetick is None else given.pricetick,
        capital=given.capital,
        fill=given.fill,
        timezone=given.timezone,
    )
    if given.size is None or given.pricetick is None:
        from services.quant.catalogue import Catalogue

        known = Catalogue.load().find(symbol)
        if known is not None and given.size is None:
            job = replace(job, size=float(known.contract_size))
        if known is not None and given.pricetick is None:
            job = replace(job, pricetick=float(known.price_tick))
    return job


def load_data(given: BacktestOptions) -> Any:
    """The rows, with all that is odd about them in their findings. Raises: BacktestError, BadInput."""
    from services.quant.backtest.data.quality import inspect
    from services.quant.backtest.data.times import zone_of

    symbol = required_symbol(given.symbol)
    zone = zone_of(given.timezone)
    check_days(given.start, given.end)
    if given.data is None:
        data = _from_store(given, symbol)
    else:
        from services.quant.backtest.data.files import read_dataset

        with progress_bar(f"reading {given.data.name}") as progress:
            data = read_dataset(
                given.data, symbol=symbol, interval=given.interval, label=given.label, timezone=given.timezone,
                columns=column_names(given.columns), strict=given.strict, progress=progress,
            )  # fmt: skip
    return replace(data, findings=(*data.findings, *inspect(data, zone)))


def show_findings(data: Any, job: BacktestJob) -> None:
    """Say what is odd about the data, before anything runs on them; where nothing can, the error is all there is."""
    from services.quant.backtest.data.times import day_start_ns

    first = data.time_ns.searchsorted(day_start_ns(job.start, job.zone)) if job.start else 0
    end = data.time_ns.searchsorted(day_start_ns(job.end + timedelta(1), job.zone)) if job.end else len(data)
    for finding in data.findings if first < end else ():
        click.echo(f"data: {finding.sentence}")


def _from_store(given: BacktestOptions, symbol: str) -> Any:
    from services.quant.backtest.data.store import DataStore

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
    classes = [description for descriptions in loader.scan() for description in descriptions]
    names = [description.name for description in classes if not description.error]
    broken = [f"{d.name} does not import: {d.error}" for d in classes if d.error]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return "; ".join([f"there is no strategy class {name}: {hint}there are {', '.join(sorted(names))}", *broken])
