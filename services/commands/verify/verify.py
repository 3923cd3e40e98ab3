"""`redfire verify`: do the books add up, across services and the venue?"""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from services import registry
from services.commands.click_command import progress_bar
from services.commands.data_folder import data_dir_option
from services.commands.verify.run import Outcome, verify_all
from services.kernel.errors import StartError
from services.kernel.runtime import settings

SHOWN = 50


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--config", type=click.Path(path_type=Path), help="The YAML file of settings.")
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(0, 600),
    default=10.0,
    show_default=True,
    help="Seconds for which what two places must agree on may differ while the platform runs.",
)
@click.option("--repair", is_flag=True, help="Have trading reconcile with its gateways, and check again.")
@data_dir_option
def verify(as_json: bool, config: Path | None, grace_s: float, repair: bool, data_dir: Path) -> None:
    """Check the books: sums, positions, orders at the venue, events. It may run at any time, and changes nothing.

    With --repair what venues have and the books lack is booked, by the platform's own reconciliation; no row is edited.

    Exit code 0: all is well; 1: there are findings; 2: it could not be checked.
    """
    loaded = settings.load(registry.sections(), config, defaults={"platform": {"data_dir": data_dir}})
    if not data_dir.is_dir():
        raise StartError(f"data folder {data_dir}: no such folder")
    with progress_bar("reading the books") as progress:
        outcome = asyncio.run(verify_all(data_dir, loaded, grace_s, progress or (lambda part: None), repair))
    if as_json:
        click.echo(json.dumps(_document(outcome), indent=2, ensure_ascii=False))
    else:
        _print(outcome)
    sys.exit(1 if outcome.findings.count else 0)


def _document(outcome: Outcome) -> dict[str, object]:
    return {
        "ok": not outcome.findings.count,
        "checked": {name.replace(" ", "_"): count for name, count in outcome.counts.items()},
        "left_out": outcome.left_out,
        "finding_count": outcome.findings.count,
        **({} if outcome.before_repair is None else {"finding_count_before_repair": outcome.before_repair}),
        "findings": [asdict(finding) for finding in outcome.findings.kept],
    }


def _print(outcome: Outcome) -> None:
    for finding in outcome.findings.kept[:SHOWN]:
        ids = (("user", finding.user_id), ("account", finding.account_id), ("order", finding.order_id))
        named = " ".join([*(f"{noun} {value}" for noun, value in ids if value), finding.subject]).strip()
        amounts = f": expected {finding.expected or '–'}, found {finding.found}" if finding.found else ""
        click.echo(f"{finding.check:22} {finding.message}{amounts} ({named})")
    if (more := outcome.findings.count - SHOWN) > 0:
        click.echo(f"… and {more} more")
    for text in outcome.left_out:
        click.echo(f"not checked: {text}")
    if outcome.before_repair is not None:
        click.echo(f"before the repair: {outcome.before_repair} findings")
    counts = ", ".join(f"{count} {name}" for name, count in outcome.counts.items())
    summary = "nothing is wrong" if not outcome.findings.count else f"{outcome.findings.count} findings"
    click.echo(f"{summary}; checked {counts}")
