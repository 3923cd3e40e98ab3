"""`redfire backtest`: strategy classes on recorded data, here and now, without a platform."""

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from services.commands.backtest import inputs
from services.commands.backtest import options as shared
from services.commands.backtest.options import BacktestOptions
from services.commands.click_command import Command, progress_bar


@click.command(cls=Command, pairs=("--param", "--columns"))
@click.argument("classes", metavar="CLASS...", nargs=-1, required=True)
@shared.options
@shared.report_options
@click.option("--check-lookahead", is_flag=True, help="Run again on shortened data: do signals use what comes later?")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def backtest(
    classes: tuple[str, ...],
    given: BacktestOptions,
    report: Path | None,
    lang: str,
    check_lookahead: bool,
    as_json: bool,
) -> None:
    """Run the strategy CLASS on recorded data: a file's, or those that `redfire data import` brought.

    CLASS is one of your own (--strategies), one that ships with RedFire, or one of vnpy's. Several are run on the same
    data and shown side by side; parameters that are a run's alone follow its class: CLASS:name=value,name=value.
    """
    shared.check_report(report)
    # What the strategy prints is not part of the object.
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        results, data = _run([given.of(name) for name in classes], check_lookahead, show_findings=not as_json)
    if report is not None:
        shared.write_report(report, _rendered(results, data, lang))
    if as_json:
        _print_json(results)
    elif len(results) == 1:
        from services.commands.backtest.result_table import show

        show(results[0], report)
    else:
        from services.commands.backtest.comparison_table import show as show_all
        from services.quant.backtest.report.comparison import named

        show_all(named(results), report)
    errors = [result.error for result in results if result.error]
    for error in errors:
        click.echo(error, err=True)
    if errors:
        sys.exit(1)


def _run(options: Sequence[BacktestOptions], check_lookahead: bool, show_findings: bool) -> tuple[list[Any], Any]:
    """The results, and the data that they are of."""
    from services.quant.backtest.analysis.lookahead import check_lookahead as find_lookahead
    from services.quant.backtest.run import run_backtest

    classes = [inputs.load_class(given) for given in options]
    for given, strategy_class in zip(options, classes, strict=True):
        inputs.parameters(given, strategy_class)  # before a long file is read
    data = inputs.load_data(options[0])
    jobs = [
        inputs.make_job(given, strategy_class, getattr(data, "interval", "tick"))
        for given, strategy_class in zip(options, classes, strict=True)
    ]
    if show_findings:
        inputs.show_findings(data, jobs[0])
    results = []
    for job, strategy_class in zip(jobs, classes, strict=True):
        with progress_bar(f"running {job.class_name}") as bar:
            result = run_backtest(strategy_class, job, data, progress=_progress(bar))
        diagnostics = list(result.diagnostics)
        if check_lookahead and not result.error:
            with progress_bar("looking for look-ahead") as bar:
                seen = find_lookahead(strategy_class, job, data, progress=_progress(bar))
            diagnostics += seen or ["No look-ahead was found: signals are the same on shortened data."]
        results.append(replace(result, diagnostics=tuple(diagnostics)))
    return results, data


def _print_json(results: Sequence[Any]) -> None:
    from services.commands.backtest.document import written

    before, between, after = ("", "", "\n") if len(results) == 1 else ('{"runs": [', ", ", "]}\n")
    for result in results:
        sys.stdout.write(before)
        sys.stdout.writelines(written(result))
        before = between
    sys.stdout.write(after)


def _rendered(results: Sequence[Any], data: Any, lang: str) -> str:
    from services.quant.backtest import report

    if len(results) == 1:
        return report.render_report(results[0], data, lang=lang)
    return report.render_comparison(report.named(results), lang=lang)


def _progress(bar: Callable[[float], None] | None) -> Callable[[int, int], None] | None:
    return None if bar is None else lambda done, total: bar(done / total if total else 1.0)
