"""The silence limit of a client's stream: a peer that hangs on a live connection is no peer."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from services.kernel.errors import Unavailable

HEARTBEAT_S = 5
SILENCE_S = 12.0
"""Two heartbeats missed, and some time for their way."""
PROMPT_HEARTBEAT_S = 1
PROMPT_SILENCE_S = 4.0
"""The same for streams that orders depend on: another replica may have what one that stands still does not send."""


class StreamSilent(Unavailable):
    """Not even a heartbeat came: the peer hangs, whatever TCP believes."""


async def until_silent(
    stream: Any, limit_s: float = SILENCE_S, read_limit_s: Callable[[Any], float | None] | None = None
) -> AsyncGenerator[Any, None]:
    """Yield a server stream's messages, and close it with this generator.

    The request has to ask for heartbeats more often than `limit_s`; or `read_limit_s` reads another limit in the first
    message, None where that states none. Raises StreamSilent when nothing comes for so long;
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
                        raise StreamSilent(f"the stream was silent for {limit.limit_s:g} s") from None
                    raise
                limit.waits = False
                if read_limit_s is not None:
                    limit.set_limit(read_limit_s(message) or limit_s)
                    read_limit_s = None
                yield message
        finally:
            limit.stop()


class _Silence:
    """Cancels the task that waits for a message for so long. One timer for many messages: it looks when they came."""

    def __init__(self, limit_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.limit_s = limit_s
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._expired = self.waits = False
        self._since = 0.0
        self._timer = self._loop.call_later(limit_s, self._look)

    def set_limit(self, limit_s: float) -> None:
        """Another limit from now on."""
        self.limit_s = limit_s
        self._timer.cancel()
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
        left_s = self._since + self.limit_s - self._loop.time() if self.waits else self.limit_s
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        elif self._task is not None:
            self._expired = True
            self._task.cancel()
