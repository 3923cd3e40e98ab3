"""`redfire market export`: recorded ticks or bars of a symbol into a file, page by page through the edge."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from redfire.common.v1 import common_pb2
from redfire.market.v1 import market_pb2 as pb

from services.commands.click_command import Command, Failure, Fraction, progress_bar
from services.commands.market.edge_client import EdgeClient
from services.commands.market.options import Moment, edge_options, file_options
from services.commands.market.rows import bar_row, tick_row
from services.commands.recording_file import (
    MARKED_BAR_COLUMNS,
    TICK_COLUMNS,
    Row,
    RowWriter,
    format_of,
    local_text,
    recording_file,
)
from services.kernel.errors import DeadlineExceeded, RedFireError, ResourceExhausted, Unauthenticated, Unavailable

INTERVALS = tuple(name.removeprefix("INTERVAL_").lower() for name in common_pb2.Interval.keys()[1:])
_PAGE_ROWS = 1000
_TRIES = 6
_FIRST_PAUSE_S = 0.2


@dataclass(slots=True)
class Exported:
    """The rows so far."""

    rows: int = 0
    first_ns: int = 0
    last_ns: int = 0
    incomplete: int = 0


@click.command(cls=Command)
@click.argument("symbol")
@click.option("--start", type=Moment(), help="From here on: 2026-11-20, or '2026-11-20 09:30' by the exchange's clock.")
@click.option("--end", type=Moment(is_end=True), help="Before this moment; a date alone includes that day.")
@click.option("--bars", type=click.Choice(INTERVALS), help="Closed bars of this length instead of ticks.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="The file; by default SYMBOL.ticks.csv and the like."
)
@file_options
@edge_options
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def export(
    symbol: str,
    start: datetime | None,
    end: datetime | None,
    bars: str | None,
    out: Path | None,
    file_format: str | None,
    force: bool,
    data_dir: Path,
    edge: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Write the ticks or bars that market has recorded of SYMBOL to a file, oldest first.

    `redfire data import` reads the file, and `redfire up --feed replay:FILE` plays one of ticks (CSV). Ticks have the
    columns of vnpy's TickData, bars the time of their start, and `incomplete` is 1 where one was built over a gap.
    Times are by the exchanges' clock. The file gets its name when it is whole; an existing one is kept unless --force
    is given.

    A page has 1000 rows; where the edge limits callers (100 calls a minute by default), the export waits for its turn.
    """
    out = out or Path(f"{symbol}.{bars or 'ticks'}.{file_format or 'csv'}")
    kind, exported = format_of(out, file_format), Exported()
    request = _request(symbol, start, end, bars)
    client = EdgeClient(data_dir, edge, token)

    async def main(writer: RowWriter, bar: Fraction | None) -> None:
        async with client:
            async for rows in _pages(client, request):
                writer.write(rows)
                exported.rows += len(rows)
                exported.first_ns = exported.first_ns or rows[0][0]
                exported.last_ns = rows[-1][0]
                if bars:
                    exported.incomplete += sum(row[-1] for row in rows)
                if bar:
                    bar(_part_done(exported, start, end))

    with (
        recording_file(out, MARKED_BAR_COLUMNS if bars else TICK_COLUMNS, kind, force=force) as writer,
        progress_bar(f"exporting {symbol}") as bar,
    ):
        asyncio.run(main(writer, bar))
        what = f"{bars} bars" if bars else "ticks"
        if not exported.rows:
            raise Failure(f"no {what} of {symbol} are recorded in this time: {out} was not written")
    first, last = local_text(exported.first_ns), local_text(exported.last_ns)
    if as_json:
        outcome = {"file": str(out), "format": kind, "rows": exported.rows, "first": first, "last": last}
        if bars:
            outcome["incomplete"] = exported.incomplete
        click.echo(json.dumps({"symbol": symbol, "interval": bars or "tick", **outcome}, ensure_ascii=False))
    else:
        click.echo(f"{out}: {exported.rows:,} {what} of {symbol} from {first} to {last}")
        if exported.incomplete:
            click.echo(f"{exported.incomplete:,} of them are incomplete: they were built over a gap")


def _request(
    symbol: str, start: datetime | None, end: datetime | None, bars: str | None
) -> pb.ListTicksRequest | pb.ListBarsRequest:
    request: pb.ListTicksRequest | pb.ListBarsRequest
    if bars:
        interval = common_pb2.Interval.Value(f"INTERVAL_{bars.upper()}")
        request = pb.ListBarsRequest(symbol=symbol, page_size=_PAGE_ROWS, interval=interval)  # type: ignore[arg-type]
    else:
        request = pb.ListTicksRequest(symbol=symbol, page_size=_PAGE_ROWS)
    if start:
        request.start_time.FromDatetime(start)
    if end:
        request.end_time.FromDatetime(end)
    return request


async def _pages(client: EdgeClient, request: Any) -> AsyncIterator[list[Row]]:
    """Yield pages of rows that are not empty."""
    while True:
        if isinstance(request, pb.ListTicksRequest):
            page = await _page(client, "ListTicks", request)
            rows: list[Row] = [tick_row(tick) for tick in page.ticks]
        else:
            page = await _page(client, "ListBars", request)
            rows = [bar_row(bar) for bar in page.bars]
        if rows:
            yield rows
        request.page_token = page.next_page_token
        if not request.page_token:
            return


async def _page(client: EdgeClient, name: str, request: Any) -> Any:
    """Call until it is answered: a quota is waited for, an outage some seconds. Raises the kernel's errors."""
    pause_s, tries = _FIRST_PAUSE_S, 0
    while True:
        try:
            return await client.call(name, request)
        except ResourceExhausted as error:
            await asyncio.sleep(error.retry_after_s or 1.0)
        except (Unavailable, DeadlineExceeded, Unauthenticated) as error:
            tries += 1
            if tries == _TRIES:
                raise
            await _recover(client, error, pause_s)
            pause_s *= 2


async def _recover(client: EdgeClient, error: RedFireError, pause_s: float) -> None:
    if isinstance(error, Unauthenticated):
        await client.renew(error)
    else:
        await asyncio.sleep(pause_s)
        await client.find_again()


def _part_done(exported: Exported, start: datetime | None, end: datetime | None) -> float:
    """The part of the time that is exported: how many rows there are nobody knows before."""
    first_ns = int(start.timestamp() * 1e9) if start else exported.first_ns
    end_ns = min(int(end.timestamp() * 1e9), time.time_ns()) if end else time.time_ns()
    return min((exported.last_ns - first_ns) / max(end_ns - first_ns, 1), 1.0)
