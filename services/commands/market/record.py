"""`redfire market record`: every tick of some symbols into a file, and what is missing in it."""

import json
import sys
import time
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from redfire.market.v1 import market_pb2 as pb
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from services.commands.click_command import Command, Failure
from services.commands.market.edge_client import EdgeClient
from services.commands.market.options import distinct, duration_option, edge_options, file_options, symbols_argument
from services.commands.market.rows import tick_row
from services.commands.market.tick_stream import FEED_ENDED, TickStream
from services.commands.market.tick_table import Rate, state_line
from services.commands.market.watching import can_redraw, live_view, until_stopped
from services.commands.recording_file import TICK_COLUMNS, RowWriter, format_of, local_text, recording_file
from services.commands.running import StopSignal, run
from services.commands.terminal_tables import PlainConsole
from services.kernel.errors import RedFireError

WITH_GAPS = 3
"""The exit code when something is missing in the file."""
_NAMED_GAPS = 20
_KEPT_GAPS = 1000


@dataclass(slots=True)
class Recording:
    """The course of a recording; `symbols` has the number of ticks of each symbol, `gaps` are the first ones."""

    path: Path
    symbols: dict[str, int]
    first_ns: int = 0
    last_ns: dict[str, int] = field(default_factory=dict)
    """The time of each symbol's last tick."""
    gaps: list[dict[str, Any]] = field(default_factory=list)
    gap_count: int = 0
    missed: int = 0
    ended: str = "stopped"
    failure: str = ""
    started: float = field(default_factory=time.monotonic)
    rate: Rate = field(default_factory=Rate)

    @property
    def ticks(self) -> int:
        """The number of ticks."""
        return sum(self.symbols.values())

    def add(self, message: pb.StreamTicksResponse) -> None:
        """Count the message's ticks, and note its gap."""
        now = time.monotonic()
        for tick in message.ticks:
            self.symbols[tick.symbol] = self.symbols.get(tick.symbol, 0) + 1
            self.first_ns = min(self.first_ns or tick.time_ns, tick.time_ns)
            self.last_ns[tick.symbol] = tick.time_ns
            self.rate.count(now)
        if message.WhichOneof("event") == "gap":
            gap = message.gap
            missed = gap.last_sequence - gap.first_sequence + 1
            self.missed += missed
            self.note(
                symbol=gap.symbol, first_sequence=gap.first_sequence, last_sequence=gap.last_sequence, ticks=missed
            )

    def note(self, **gap: Any) -> None:
        """Note a gap, after the last tick so far of its symbol, or of all."""
        self.gap_count += 1
        if len(self.gaps) < _KEPT_GAPS:
            last_ns = self.last_ns.get(gap["symbol"], 0) if "symbol" in gap else max(self.last_ns.values(), default=0)
            self.gaps.append({**gap, "after": local_text(last_ns) if last_ns else ""})


class Progress:
    """The line that shows how a recording goes."""

    def __init__(self, recording: Recording, stream: TickStream) -> None:
        self._recording = recording
        self._stream = stream

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render ticks, rate, time and gaps, and the line of state."""
        recording, now = self._recording, time.monotonic()
        running = timedelta(seconds=int(now - recording.started))
        line = f"{recording.ticks:,} ticks  {recording.rate.per_second(now):,.0f}/s  {recording.gap_count:,} gaps"
        yield Text(f"{recording.path.name}: {line}  {running}", no_wrap=True, overflow="ellipsis")
        yield state_line(self._stream)


@click.command(cls=Command)
@symbols_argument
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write.")
@file_options
@duration_option
@edge_options
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def record(
    symbols: tuple[str, ...],
    out: Path,
    file_format: str | None,
    force: bool,
    duration_s: float | None,
    data_dir: Path,
    edge: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Write every tick of SYMBOL to a file, until Ctrl-C or the end of a replay.

    The file has the columns of vnpy's TickData, times by the exchanges' clock: `redfire data import` reads it, and
    `redfire up --feed replay:FILE` plays it (CSV). It gets its name when it is whole; an existing one is kept unless
    --force is given.

    After anything that ends the stream it is opened again where it was. What is lost all the same is named at the end,
    and the exit code says so: 0 nothing is missing, 3 something is, 1 the recording failed, 2 wrong usage.
    """
    client = EdgeClient(data_dir, edge, token)
    recording = Recording(out, dict.fromkeys(distinct(symbols), 0))
    kind = format_of(out, file_format)

    async def main(stop: StopSignal) -> None:
        async with client:
            with recording_file(out, TICK_COLUMNS, kind, force=force, keep_part=True) as writer:
                await _record(stop, client, recording, writer, duration_s)
                if not recording.ticks:
                    raise Failure(f"no tick of {', '.join(recording.symbols)} came: {out} was not written")

    run(main)
    _report(recording, kind, as_json)
    if recording.failure:
        raise Failure(f"the recording ends before its time: {recording.failure}")
    if recording.gap_count:
        sys.exit(WITH_GAPS)


async def _record(
    stop: StopSignal, client: EdgeClient, recording: Recording, writer: RowWriter, duration_s: float | None
) -> None:
    """Write ticks until the end. A failure of the stream after a tick is noted: what was written remains."""
    stream = TickStream(client, list(recording.symbols))
    try:
        await until_stopped(stop, _follow(stream, recording, writer), duration_s)
    except RedFireError as error:
        if not recording.ticks:
            raise
        recording.failure = recording.ended = f"{error.message} ({error.reason})"
    if stream.end_reason == FEED_ENDED:
        recording.ended = FEED_ENDED
    elif stream.trouble and not recording.failure:
        recording.note(reason=f"the stream was not open at the end: {stream.trouble}")


async def _follow(stream: TickStream, recording: Recording, writer: RowWriter) -> None:
    console, epochs = PlainConsole(stderr=True), 0
    async with AsyncExitStack() as shown, aclosing(stream.messages()) as messages:
        async for message in messages:
            if message.HasField("started") and can_redraw(console) and not stream.resumed:
                await shown.enter_async_context(live_view(console, Progress(recording, stream), transient=True))
            if stream.epochs > epochs:
                epochs = stream.epochs
                recording.note(reason="the feed began anew, and what was between is not known", epoch=stream.epoch)
            # On the event loop: the next message is read when this one is written, and nobody else is served here.
            writer.write(map(tick_row, message.ticks))
            recording.add(message)


def _report(recording: Recording, kind: str, as_json: bool) -> None:
    first, last = local_text(recording.first_ns), local_text(max(recording.last_ns.values()))
    if as_json:
        outcome = {
            "file": str(recording.path), "format": kind, "ticks": recording.ticks, "symbols": recording.symbols,
            "first": first, "last": last, "missed": recording.missed, "gap_count": recording.gap_count,
            "gaps": recording.gaps, "ended": recording.ended,
        }  # fmt: skip
        click.echo(json.dumps(outcome, ensure_ascii=False))
        return
    each = ", ".join(f"{symbol} {count:,}" for symbol, count in recording.symbols.items())
    click.echo(f"{recording.path}: {recording.ticks:,} ticks ({each}) from {first} to {last}; {recording.ended}")
    for gap in recording.gaps[:_NAMED_GAPS]:
        after = f" after {gap['after']}" if gap["after"] else ""
        if "symbol" in gap:
            sequences = f"sequences {gap['first_sequence']} to {gap['last_sequence']}"
            click.echo(f"gap{after}: {gap['ticks']:,} ticks of {gap['symbol']} are lost ({sequences})")
        else:
            click.echo(f"gap{after}: {gap['reason']}")
    if recording.gap_count > _NAMED_GAPS:
        click.echo(f"… and {recording.gap_count - _NAMED_GAPS:,} more gaps; {recording.missed:,} ticks are lost in all")
