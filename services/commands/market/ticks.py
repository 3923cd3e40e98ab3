"""`redfire ticks`: live ticks as a table, or as JSON lines."""

import json
import sys
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path

import click
from google.protobuf import json_format
from redfire.market.v1 import market_pb2 as pb

from services.commands.click_command import Command
from services.commands.market.edge_client import EdgeClient
from services.commands.market.options import distinct, duration_option, edge_options, symbols_argument
from services.commands.market.tick_stream import TickStream
from services.commands.market.tick_table import TickTable, best, clock_text, number
from services.commands.market.watching import can_redraw, live_view, until_stopped
from services.commands.running import run
from services.commands.terminal_tables import PlainConsole

_SHOWN_EVENTS = {"gap": "gap", "new_epoch": "newEpoch", "feed_state": "feedState", "end": "end"}
"""Fields of a message with their names in JSON."""


@dataclass(frozen=True, slots=True)
class TickOptions:
    """Options of `redfire ticks`."""

    symbols: tuple[str, ...]
    as_json: bool
    count: int | None
    red_up: bool


@click.command(cls=Command)
@symbols_argument
@edge_options
@click.option("--json", "as_json", is_flag=True, help="Print each tick, and what happens to the stream, as JSON lines.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many ticks.")
@duration_option
@click.option("--red-up", is_flag=True, help="Red for up and green for down, as in China.")
def ticks(
    symbols: tuple[str, ...],
    data_dir: Path,
    edge: str | None,
    token: str | None,
    as_json: bool,
    count: int | None,
    duration_s: float | None,
    red_up: bool,
) -> None:
    """Show live ticks of SYMBOL (for instance rb2701.SHFE) until Ctrl-C or the end of a replay.

    On a terminal: a table with each symbol's last tick, the direction of its price, its ticks per second, the time
    since its last tick and the ticks that were lost; below it the feed's epoch and state. Elsewhere: a line for each
    tick.

    With --json each tick is an object as in StreamTicks over REST, and so is what happens to the stream, under the key
    `gap`, `newEpoch`, `feedState` or `end`.

    Every tick is shown, in order. After anything that ends the stream it is opened again where it was, with a new token
    if the old one has expired.
    """
    client = EdgeClient(data_dir, edge, token)
    options = TickOptions(distinct(symbols), as_json, count, red_up)
    run(lambda stop: until_stopped(stop, _show(client, options), duration_s))


async def _show(client: EdgeClient, options: TickOptions) -> None:
    console = PlainConsole()
    plain = options.as_json or not can_redraw(console)
    stream = TickStream(client, options.symbols, on_break=_report_break if plain else _ignore)
    table = TickTable(stream, red_up=options.red_up)
    left = options.count
    async with client, AsyncExitStack() as shown, aclosing(stream.messages()) as messages:
        async for message in messages:
            if message.HasField("started") and not plain and not stream.resumed:
                # Not before: a refusal is one line, without a table.
                await shown.enter_async_context(live_view(console, table))
            if left is not None:
                del message.ticks[left:]
                left -= len(message.ticks)
            if plain:
                _print(message, options.as_json)
            else:
                table.add(message)
            if left == 0:
                return


def _print(message: pb.StreamTicksResponse, as_json: bool) -> None:
    """Print a message's lines in one write."""
    event = message.WhichOneof("event")
    if as_json:
        lines = [json_format.MessageToJson(tick, indent=None) for tick in message.ticks]
        if event in _SHOWN_EVENTS:
            fields = json_format.MessageToDict(getattr(message, event), always_print_fields_with_no_presence=True)
            lines.append(json.dumps({_SHOWN_EVENTS[event]: fields}))
    else:
        lines = [_line(tick) for tick in message.ticks]
        if event in _SHOWN_EVENTS:
            click.echo(_event_text(message), err=True)
    if lines:
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


def _line(tick: pb.Tick) -> str:
    bid, ask = best(tick.bid_prices, tick.bid_quantities), best(tick.ask_prices, tick.ask_quantities)
    return "  ".join(
        (
            clock_text(tick.time_ns), f"{tick.symbol:<16}", f"{number(tick.last_price):>10}",
            f"bid {bid[0]:>10} × {bid[1]:<6}", f"ask {ask[0]:>10} × {ask[1]:<6}", f"volume {number(tick.volume)}",
        )
    )  # fmt: skip


def _event_text(message: pb.StreamTicksResponse) -> str:
    match message.WhichOneof("event"):
        case "gap":
            gap = message.gap
            count = gap.last_sequence - gap.first_sequence + 1
            return f"gap: {count:,} ticks of {gap.symbol} are lost ({gap.first_sequence} to {gap.last_sequence})"
        case "new_epoch":
            return f"the feed began anew, and what was between is not known: epoch {message.new_epoch.epoch}"
        case "feed_state":
            is_heard = message.feed_state.connected
            heard = "the feed is heard" if is_heard else "the feed is silent: the engine is not heard"
            stale = ", ".join(message.feed_state.stale_symbols)
            return f"{heard}; silent for longer than is usual: {stale}" if stale else heard
        case _:
            return f"the stream ended: {message.end.reason}"


def _report_break(reason: str) -> None:
    click.echo(f"redfire: opening the stream again: {reason}", err=True)


def _ignore(reason: str) -> None:
    """The table shows it."""
