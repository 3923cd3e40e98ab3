"""`redfire optimize`: good parameters for a strategy class on recorded data, here or on a Dask cluster."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import click

from services.commands.backtest import inputs
from services.commands.backtest import options as shared
from services.commands.backtest.options import BacktestOptions
from services.commands.click_command import Command, named_values
from services.quant.backtest.job import BacktestError


@click.command(cls=Command, pairs=("--param", "--columns", "--range"))
@click.argument("class_name", metavar="CLASS")
@shared.options
@click.option(
    "--range", "ranges", multiple=True, metavar="NAME=1:10:1", help="Values of a parameter: start:end:step, or a,b,c."
)
@click.option("--target", default="sharpe_ratio", show_default=True, help="The statistic to make as high as possible.")
@click.option(
    "--method", type=click.Choice(["grid", "genetic"]), default="grid", show_default=True,
    help="All points of the ranges, or those that a genetic search chooses.",
)  # fmt: skip
@click.option("--population", type=int, default=100, show_default=True, help="Points of a generation (genetic).")
@click.option("--generations", type=int, default=30, show_default=True, help="Generations (genetic).")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed runs the same points (genetic).")
@click.option("--workers", type=int, help="Processes; by default one for each core.")
@click.option("--dask", metavar="ADDRESS", help="Run on the Dask cluster of this scheduler, tcp://host:port.")
@click.option(
    "--walk-forward", metavar="120d:30d",
    help="Optimise on so many days, test on the next, and roll on (also w, m, y).",
)  # fmt: skip
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="Rows of the table.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Keep it all: FILE.json, .csv or .parquet."
)
@shared.report_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def optimize(
    class_name: str,
    given: BacktestOptions,
    ranges: tuple[str, ...],
    target: str,
    method: str,
    population: int,
    generations: int,
    seed: int,
    workers: int | None,
    dask: str | None,
    walk_forward: str | None,
    top: int,
    out: Path | None,
    report: Path | None,
    lang: str,
    as_json: bool,
) -> None:
    """Search the parameters of the strategy CLASS on recorded data. Ctrl-C ends it with the table so far.

    CLASS is one of your own (--strategies), one that ships with RedFire, or one of vnpy's.
    """
    from services.quant.backtest.optimise import Genetic, Space, run_optimisation
    from services.quant.backtest.optimise.document import check_file, document, write_result
    from services.quant.backtest.optimise.target import check_target
    from services.quant.backtest.optimise.walk_forward import WalkForwardResult, Windows, run_walk_forward

    given = replace(given, class_name=class_name)
    space = Space.parse(ranges)
    windows = Windows.parse(walk_forward) if walk_forward else None
    genetic = Genetic(population, generations, seed=seed)
    fixed = _fixed(given)
    inputs.check_strategies(given)
    shared.check_report(report)
    if out is not None:
        check_file(out)
    data = inputs.load_data(given)
    # The class is for the workers: they alone run its code, and check the parameters.
    stand_in = type(given.class_name, (), {})
    job = inputs.make_job(replace(given, param=()), stand_in, getattr(data, "interval", "tick"))
    job = replace(job, parameters=fixed)
    check_target(job, target)
    if not as_json:
        inputs.show_findings(data, job)
    try:
        with _progress(job.class_name) as progress, _stop_on_ctrl_c() as should_stop:
            how: dict[str, Any] = {
                "workers": workers, "dask": dask, "genetic": genetic, "progress": progress, "should_stop": should_stop,
            }  # fmt: skip
            result = (
                run_optimisation(given.strategies, job, data, space, target, method, **how)
                if windows is None
                else run_walk_forward(given.strategies, job, data, space, target, windows, method, **how)
            )
    except BacktestError as error:
        if error.field == "class_name" and str(error).startswith("there is no"):
            inputs.load_class(given)  # says which there are
        raise
    if out is not None:
        write_result(result, out)
    if report is not None:
        shared.write_report(report, _rendered(result, data, lang))
    if as_json:
        output = document(result) | {"diagnostics": [finding.sentence for finding in data.findings]}
        click.echo(json.dumps(output, ensure_ascii=False, allow_nan=False))
    else:
        from services.commands.backtest import search_tables

        if isinstance(result, WalkForwardResult):
            search_tables.show_windows(result)
        else:
            search_tables.show_points(result, top)
        for file in (out, report):
            if file is not None:
                click.echo(f"written: {file}")
    if result.stopped:
        sys.exit(130)
    failed = not result.windows if isinstance(result, WalkForwardResult) else not result.points
    if failed:
        sys.exit(1)


def _rendered(result: Any, data: Any, lang: str) -> str:
    from services.quant.backtest.optimise import OptimisationResult
    from services.quant.backtest.report import render_optimisation, render_walk_forward

    if isinstance(result, OptimisationResult):
        return render_optimisation(result, lang)
    return render_walk_forward(result, data, lang)


def _fixed(given: BacktestOptions) -> dict[str, Any]:
    from services.quant.backtest.optimise.space import value_of

    return {name: value_of(text) for name, text in named_values(given.param, "--param").items()}


@contextmanager
def _stop_on_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Return whether Ctrl-C was pressed; pressed again it ends the command at once."""
    pressed: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(text: str) -> Iterator[Callable[[Any], None] | None]:
    """A bar with the time left and the best value so far; None where there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from services.commands.backtest.search_tables import progress_bar

    with progress_bar(text) as progress:
        yield progress
