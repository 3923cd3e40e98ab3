"""`redfire data`: recorded bars and ticks into the data folder, and what is there."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from services.commands.click_command import BadInput, Command, column_names, progress_bar, required_symbol
from services.commands.data_folder import data_dir_option, open_private
from services.commands.data_sample import sample

_READ_PART = 0.6
"""Part of the progress bar for reading; writing takes the rest."""
_timezone = click.option("--timezone", default="Asia/Shanghai", show_default=True, help="The exchange's local time.")


@click.group()
def data() -> None:
    """Import recorded market data, list what there is, or write a sample."""


data.add_command(sample)


@data.command("import", cls=Command, pairs=("--columns",))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--symbol", help="The contract, for instance rb888.SHFE.")
@click.option("--kind", type=click.Choice(["bars", "ticks"]), help="By default what the file's columns are.")
@click.option("--interval", help="Of bars: 1m, 5m, 1h, 1d …; by default as far apart as they are.")
@click.option(
    "--label",
    type=click.Choice(["start", "end"]),
    default="start",
    show_default=True,
    help="Which end of a bar its time in the file is.",
)
@_timezone
@click.option("--columns", multiple=True, metavar="NAME=COLUMN", help="A column of the file that is not recognised.")
@click.option("--strict", is_flag=True, help="Refuse a file with bad rows instead of skipping them.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_(
    file: Path,
    symbol: str | None,
    kind: str | None,
    interval: str | None,
    label: str,
    timezone: str,
    columns: tuple[str, ...],
    strict: bool,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Bring the bars or ticks of FILE (CSV, gzipped or not, or Parquet) into the data folder's store.

    Rows whose time is there already change nothing, so a file may be imported again. A platform may run meanwhile: it
    serves the rows at once.
    """
    symbol = required_symbol(symbol)
    if kind == "ticks" and interval not in (None, "tick"):
        raise BadInput(f"--interval {interval}: ticks have none")
    if kind == "bars" and interval == "tick":
        raise BadInput("--interval tick: bars are 1m, 5m, 1h, 1d …")
    from services.quant.backtest.data.files import read_dataset
    from services.quant.backtest.data.quality import inspect
    from services.quant.backtest.data.store import DataStore
    from services.quant.backtest.data.times import zone_of

    open_private(data_dir)
    with progress_bar(f"importing {file.name}") as bar:
        dataset = read_dataset(
            file, symbol=symbol, interval="tick" if kind == "ticks" else interval, kind=kind, label=label,
            timezone=timezone, columns=column_names(columns), strict=strict,
            progress=bar and (lambda done: bar(done * _READ_PART)),
        )  # fmt: skip
        try:
            imported = DataStore(data_dir, timezone).import_dataset(
                dataset, progress=bar and (lambda done: bar(_READ_PART + done * (1 - _READ_PART)))
            )
        except OSError as error:
            raise BadInput(f"data folder {data_dir}: {error.strerror or error}") from None
    zone = zone_of(timezone)
    findings = (*dataset.findings, *inspect(dataset, zone))
    name = getattr(dataset, "interval", "tick")
    first, last = int(dataset.time_ns[0]), int(dataset.time_ns[-1])
    if as_json:
        document = {
            "symbol": symbol,
            "kind": "ticks" if name == "tick" else "bars",
            "interval": name,
            "rows": len(dataset),
            "added": imported.added,
            "known": imported.known,
            "first": _iso(first, zone),
            "last": _iso(last, zone),
            "findings": [asdict(finding) for finding in findings],
        }
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    what = "ticks" if name == "tick" else f"{name} bars"
    known = f", {imported.known:,} were there already" if imported.known else ""
    click.echo(f"{symbol}: {imported.added:,} {what} added{known}; {_iso(first, zone)} to {_iso(last, zone)}")
    for finding in findings:
        click.echo(f"data: {finding.sentence}")


@data.command("list", cls=Command)
@data_dir_option
@_timezone
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def list_(data_dir: Path, timezone: str, as_json: bool) -> None:
    """Show the recorded and imported data of the data folder."""
    from services.quant.backtest.data.store import DataStore
    from services.quant.backtest.data.times import zone_of

    zone = zone_of(timezone)
    rows: list[dict[str, Any]] = []
    for one in DataStore(data_dir, timezone).list():
        row = asdict(one)
        row["first"], row["last"] = _iso(row.pop("first_ns"), zone), _iso(row.pop("last_ns"), zone)
        rows.append(row)
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo(f"there are no data in {data_dir}: redfire data import FILE brings some")
        return
    from rich.table import Table

    from services.commands.terminal_tables import PlainConsole

    table = Table("symbol", "interval", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("rows", "first", "last", "size"):
        table.add_column(name, justify="right" if name in ("rows", "size") else "left", no_wrap=True)
    for row in rows:
        times = (row[name][:16].replace("T", " ") for name in ("first", "last"))
        table.add_row(row["symbol"], row["interval"], f"{row['rows']:,}", *times, f"{row['bytes'] / 1e6:,.1f} MB")
    PlainConsole().print(table)


def _iso(time_ns: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).astimezone(zone).isoformat()
