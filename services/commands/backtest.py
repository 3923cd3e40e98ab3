"""`redfire backtest`: a strategy class on recorded data, here and now, without a platform."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from services.commands import backtest_options as shared
from services.commands.backtest_options import Given
from services.commands.one_line import BadInput, Command, progress_bar

_DAY_NAMES = {"daily_return": "return"}
"""Ours → the column of vnpy's table."""


@click.command(cls=Command, pairs=("--param", "--columns"))
@shared.options
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write an HTML report to this file.")
@click.option("--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="The report's language.")
@click.option("--check-lookahead", is_flag=True, help="Run again on shortened data: do signals use what comes later?")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def backtest(given: Given, report: Path | None, lang: str, check_lookahead: bool, as_json: bool) -> None:
    """Run the strategy CLASS on recorded data: a file's, or those that `redfire data import` brought.

    CLASS is one of your own (--strategies), one that ships with RedFire, or one of vnpy's.
    """
    if report is not None and not report.absolute().parent.is_dir():
        raise BadInput(f"--report {report}: there is no folder {report.parent}")
    # What the strategy prints is not part of the object.
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        result, data = _run(given, check_lookahead)
    if report is not None:
        from services.strategy.backtest.report import render_report

        _write(report, render_report(result, data, lang=lang))
    if as_json:
        click.echo(json.dumps(document(result), ensure_ascii=False, allow_nan=False))
    else:
        from services.commands.backtest_screen import show

        show(result, report)
    if result.error:
        click.echo(result.error, err=True)
        sys.exit(1)


def _run(given: Given, check_lookahead: bool) -> tuple[Any, Any]:
    """The result and the data it is of."""
    strategy_class = shared.load_class(given)
    shared.parameters(given, strategy_class)  # before a long file is read
    data = shared.load_data(given)
    job = shared.make_job(given, strategy_class, getattr(data, "interval", "tick"))
    from services.strategy.backtest.run import run_backtest

    with progress_bar(f"running {job.class_name}") as bar:
        result = run_backtest(strategy_class, job, data, progress=_counted(bar))
    diagnostics = list(result.diagnostics)
    if check_lookahead:
        with progress_bar("looking for look-ahead") as bar:
            lookahead = import_module("services.strategy.backtest.lookahead")
            seen = lookahead.check_lookahead(strategy_class, job, data, progress=_counted(bar))
        diagnostics += seen or ["No look-ahead was found: signals are the same on shortened data."]
    return replace(result, diagnostics=tuple(diagnostics)), data


def document(result: Any) -> dict[str, Any]:
    """The result in JSON's types: times in ISO 8601 with their offset, null for what is no number."""
    job = result.job
    return {
        "statistics": {name: _plain(value) for name, value in result.statistics.items()},
        "trades": [
            {
                "datetime": trade.time.isoformat(),
                "direction": trade.direction,
                "offset": trade.offset,
                "price": _plain(trade.price),
                "volume": _plain(trade.volume),
                "commission": _plain(trade.commission),
                "trade_id": trade.trade_id,
                "order_id": trade.order_id,
            }
            for trade in result.trades
        ],
        "daily": [
            {_DAY_NAMES.get(field.name, field.name): _plain(getattr(day, field.name)) for field in fields(day)}
            for day in result.days
        ],
        "diagnostics": list(result.diagnostics),
        "findings": [
            {"kind": one.kind, "count": one.count, "sentence": one.sentence, "lines": list(one.lines)}
            for one in result.findings
        ],
        "job": {field.name: _plain(getattr(job, field.name)) for field in fields(job)},
        "rows": result.row_count,
        "orders": result.order_count,
        "elapsed_s": _plain(result.elapsed_s),
        "variables": _plain(dict(result.variables)),
        "logs": list(result.logs),
        "error": result.error,
    }


def _plain(value: Any) -> Any:
    from services.strategy.runner.values import plain

    return value.isoformat() if hasattr(value, "isoformat") else plain(dict(value) if hasattr(value, "keys") else value)


def _counted(bar: Callable[[float], None] | None) -> Callable[[int, int], None] | None:
    return None if bar is None else lambda done, total: bar(done / total if total else 1.0)


def _write(file: Path, text: str) -> None:
    """The file is whole or not there."""
    half = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        half.write_text(text, encoding="utf-8")
        half.replace(file)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise BadInput(f"--report {file}: {error.strerror}") from None
