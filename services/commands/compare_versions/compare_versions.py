"""`redfire compare-versions`: does a new version answer as the old one does?"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from services.commands.click_command import BadInput, Command
from services.commands.compare_versions.comparison import Comparison, compare
from services.commands.compare_versions.requests import Requests, read_requests
from services.commands.compare_versions.version import version_at
from services.commands.terminal_tables import TITLED, wide_console

VOLATILE = ("requestId",)
SHOWN = 50
WIDTH = 60


@click.command(cls=Command)
@click.argument("old")
@click.argument("new")
@click.option(
    "--requests",
    "file",
    required=True,
    type=click.Path(path_type=Path),
    help="A line each, GET /api/… or POST /api/… {JSON}; or an access log of the edge.",
)
@click.option("--token", envvar="TOKEN", default="", help="An access token of both; also TOKEN in the environment.")
@click.option("--new-token", help="One of NEW's own, where it does not take OLD's.")
@click.option("--ignore", multiple=True, metavar="FIELD", help="A field not to compare: updateTime, or orders.price.")
@click.option(
    "--writes", is_flag=True, help="Send requests that change something too, where repeating them is harmless."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def compare_versions(
    old: str,
    new: str,
    file: Path,
    token: str,
    new_token: str | None,
    ignore: tuple[str, ...],
    writes: bool,
    as_json: bool,
) -> None:
    """Send requests to two running versions, and compare their answers field by field.

    OLD and NEW are base URLs of edges (http://HOST:PORT, asked by REST) or gRPC addresses (HOST:PORT, of an edge or of
    a service's process). Only what reads is sent, by the contract, unless --writes. Answers that differ are asked for
    again, so that what happened between the two does not count; fields that change from one answer of OLD's to the
    next are counted apart.

    Exit code 0: no difference; 1: there are some, or a version does not answer; 2: it could not be asked.
    """
    requests = read_requests(file, writes)
    if not requests.asked:
        reasons = ", ".join(f"{count} {reason}" for reason, count in requests.left_out.items())
        raise BadInput(f"{file}: no request to compare{f' ({reasons})' if reasons else ''}")
    comparison = asyncio.run(_compare(old, new, (token, token if new_token is None else new_token), requests, ignore))
    if as_json:
        click.echo(json.dumps(_document(comparison, requests), indent=2, ensure_ascii=False))
    else:
        _print(comparison, requests)
    sys.exit(1 if comparison.differing else 0)


async def _compare(
    old: str, new: str, tokens: tuple[str, str], requests: Requests, ignore: tuple[str, ...]
) -> Comparison:
    async with version_at(old, tokens[0]) as before, version_at(new, tokens[1]) as after:
        return await compare(before, after, requests.asked, {*VOLATILE, *ignore})


def _document(comparison: Comparison, requests: Requests) -> dict[str, Any]:
    old_ms, new_ms = comparison.medians_ms
    return {
        "ok": not comparison.differing,
        "requests": len(requests.asked),
        "statuses": dict(comparison.statuses),
        "left_out": requests.left_out,
        "median_ms": {"old": round(old_ms, 3), "new": round(new_ms, 3)},
        "differences": [
            {"request": request.name, "field": one.field, "old": one.old, "new": one.new}
            for request, one in comparison.differing
        ],
        "moving": [{"request": request.name, "field": name} for request, name in comparison.moving],
    }


def _print(comparison: Comparison, requests: Requests) -> None:
    if comparison.differing:
        console = wide_console()
        table = Table(**TITLED)
        for title in ("request", "field", "old", "new"):
            table.add_column(title, overflow="fold")
        for request, one in comparison.differing[:SHOWN]:
            table.add_row(*(Text(_clipped(value)) for value in (request.name, one.field, one.old, one.new)))
        console.print(table)
        if (more := len(comparison.differing) - SHOWN) > 0:
            click.echo(f"… and {more} more")
    for reason, count in requests.left_out.items():
        click.echo(f"left out: {count} {reason}")
    if comparison.moving:
        click.echo(f"{len(comparison.moving)} fields change from one answer to the next and were not compared")
    statuses = ", ".join(f"{count} {status}" for status, count in comparison.statuses.most_common())
    summary = f"{len(comparison.differing)} fields differ" if comparison.differing else "no difference"
    old_ms, new_ms = comparison.medians_ms
    click.echo(f"{summary}; {len(requests.asked)} requests ({statuses}), median {old_ms:.1f} ms, now {new_ms:.1f} ms")


def _clipped(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
