"""The silence limit of a client's stream: a peer that hangs on a live connection is no peer."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from services.kernel.errors import Unavailable

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
        limit = _Silence(limit_s)
        try:
            while True:
                limit.begin()
                try:
                    message = await anext(stream)
                except StopAsyncIteration:
                    return
                except asyncio.CancelledError:
                    if limit.ends():
                        raise StreamSilent(f"the stream was silent for {limit_s:g} s") from None
                    raise
                limit.waits = False
                yield message
        finally:
            limit.stop()


class _Silence:
    """Cancels the task that waits for a message for so long. One timer for many messages: it looks when they came."""

    def __init__(self, limit_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit_s = limit_s
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._expired = self.waits = False
        self._since = 0.0
        self._timer = self._loop.call_later(limit_s, self._look)

    def begin(self) -> None:
        """A wait begins."""
        self._since, self.waits = self._loop.time(), True
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()

    def ends(self) -> bool:
        """Test whether a CancelledError is the limit's own."""
        expired, self._expired, self.waits = self._expired, False, False
        return expired and self._task is not None and self._task.uncancel() <= self._cancelling

    def stop(self) -> None:
        """End the limit."""
        self._timer.cancel()
        if self._expired and self._task is not None:
            self._task.uncancel()

    def _look(self) -> None:
        left_s = self._since + self._limit_s - self._loop.time() if self.waits else self._limit_s
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        elif self._task is not None:
            self._expired = True
            self._task.cancel()
