"""The silence limit of a client's stream: a peer that hangs on a live connection is no peer."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from services.kernel.errors import Unavailable
from services.kernel.tasks import TimeLimit

HEARTBEAT_S = 5
SILENCE_S = 12.0
"""Two heartbeats missed, and some time for their way."""


class StreamSilent(Unavailable):
    """Not even a heartbeat came: the peer hangs, whatever TCP believes."""


async def until_silent(stream: Any, limit_s: float = SILENCE_S) -> AsyncGenerator[Any, None]:
    """Yield a server stream's messages, and close it with this generator.

    The request has to ask for heartbeats more often than `limit_s`. Raises StreamSilent when nothing comes for so long;
    the time that the consumer takes for a message does not count.
    """
    async with aclosing(stream):
        while True:
            limit = TimeLimit(limit_s)
            try:
                message = await anext(stream)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                if limit.ends():
                    raise StreamSilent(f"the stream was silent for {limit_s:g} s") from None
                raise
            finally:
                limit.stop()
            yield message
