"""Heartbeats of streams that a test plays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def beating(queue: "asyncio.Queue[Any]", message: Any, interval_s: float) -> AsyncIterator[None]:
    """Put a message into a stream's queue again and again; what else is in it comes as soon as without."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(interval_s)
            queue.put_nowait(message)

    task = asyncio.ensure_future(beat())
    try:
        yield
    finally:
        task.cancel()
