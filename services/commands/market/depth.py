"""`redfire depth`: the best five bids and asks of a symbol, live."""

from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import click

from services.commands.click_command import Command
from services.commands.market.depth_view import DepthView
from services.commands.market.edge_client import EdgeClient
from services.commands.market.options import duration_option, edge_options
from services.commands.market.tick_stream import TickStream
from services.commands.market.watching import can_redraw, live_view, until_stopped
from services.commands.running import run
from services.commands.terminal_tables import PlainConsole

_MIN_INTERVAL_MS = 100


@click.command(cls=Command)
@click.argument("symbol")
@edge_options
@click.option("--count", type=click.IntRange(min=1), help="End after so many snapshots.")
@duration_option
@click.option("--red-up", is_flag=True, help="Red for up and green for down, as in China.")
def depth(
    symbol: str,
    data_dir: Path,
    edge: str | None,
    token: str | None,
    count: int | None,
    duration_s: float | None,
    red_up: bool,
) -> None:
    """Show the order book of SYMBOL (for instance rb2701.SHFE) until Ctrl-C or the end of a replay.

    Up to five asks and five bids, their quantities also as bars, between them the last trade and the spread. On a
    terminal it is redrawn in place, at most ten times a second with the latest snapshot; elsewhere each snapshot is
    printed below the one before.
    """
    client = EdgeClient(data_dir, edge, token)

    run(lambda stop: until_stopped(stop, _show(client, symbol, count, red_up), duration_s))


async def _show(client: EdgeClient, symbol: str, count: int | None, red_up: bool) -> None:
    console = PlainConsole()
    stream = TickStream(client, [symbol], conflated_ms=_MIN_INTERVAL_MS)
    live = can_redraw(console)
    view = DepthView(symbol, stream if live else None, red_up=red_up)
    shown = 0
    async with client, AsyncExitStack() as screen, aclosing(stream.messages()) as messages:
        async for message in messages:
            if live and message.HasField("started") and not stream.resumed:
                # Not before: a refusal is one line, without a view.
                await screen.enter_async_context(live_view(console, view))
            for tick in message.ticks:
                view.add(tick)
                shown += 1
                if not live:
                    console.print(view)
                    console.print()
                if shown == count:
                    return
