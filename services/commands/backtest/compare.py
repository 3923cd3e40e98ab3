"""`redfire compare`: runs of `redfire backtest --json` side by side, whatever differs between them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click

from services.commands.backtest import options as shared
from services.commands.click_command import BadInput, Command
from services.quant.backtest.job import BacktestError
from services.quant.backtest.result import BacktestResult


@click.command(cls=Command)
@click.argument("files", metavar="RUN.json...", nargs=-1, required=True, type=click.Path(path_type=Path))
@shared.report_options
def compare(files: tuple[Path, ...], report: Path | None, lang: str) -> None:
    """Show runs that `redfire backtest --json > RUN.json` kept side by side: other data, dates, costs, fills …"""
    shared.check_report(report)
    from services.commands.backtest.comparison_table import show
    from services.quant.backtest.report.comparison import named, render_comparison

    read = [(file.stem, result) for file in files for result in _read(file)]
    runs = named([result for _, result in read])
    alike = Counter(name for name, _ in runs)
    runs = [
        (f"{name} ({stem})" if alike[name] > 1 else name, result)
        for (name, result), (stem, _) in zip(runs, read, strict=True)
    ]
    if report is not None:
        shared.write_report(report, render_comparison(runs, lang=lang))
    show(runs, report)


def _read(file: Path) -> list[BacktestResult]:
    """The runs in a file: one, or the several of a comparison."""
    from services.commands.backtest.document import result_of

    try:
        content: Any = json.loads(file.read_bytes())
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise BadInput(f"{file} is not JSON: {error}") from None
    try:
        runs = content["runs"] if isinstance(content, dict) and "runs" in content else [content]
        return [result_of(run) for run in runs]
    except (BacktestError, TypeError) as error:
        raise BadInput(f"{file}: {error}") from None
