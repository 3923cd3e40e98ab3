"""Live views of a stream: on a terminal redrawn in place, elsewhere plain lines; until a stop signal or enough."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

from services.commands.running import StopSignal

REFRESH_S = 0.2


async def until_stopped(stop: StopSignal, work: Awaitable[Any], duration_s: float | None) -> None:
    """Await work that a stop signal or the end of the duration cuts short. Raises what it raises."""

    async def limited() -> None:
        limit = asyncio.timeout(duration_s)
        try:
            async with limit:
                await work
        except TimeoutError:
            if not limit.expired():
                raise

    await stop.unless(limited())


def can_redraw(console: Console) -> bool:
    """Test whether lines that are there can be drawn over: not in a pipe or a file, nor where TERM is dumb."""
    return console.is_terminal and not console.is_dumb_terminal


@asynccontextmanager
async def live_view(console: Console, view: RenderableType, *, transient: bool = False) -> AsyncIterator[None]:
    """Redraw the view in place while the block runs; the last one stays on the screen unless it is `transient`."""
    with Live(view, console=console, auto_refresh=False, transient=transient, vertical_overflow="crop") as live:
        drawing = asyncio.ensure_future(_redraw(live))
        try:
            yield
        finally:
            drawing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await drawing
            live.refresh()


async def _redraw(live: Live) -> None:
    while True:
        await asyncio.sleep(REFRESH_S)
        live.refresh()
