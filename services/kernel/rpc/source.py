"""Sources: server streams whose messages are taken when they can be written, instead of awaited by a task each.

A servicer answers `SourceStream(coroutine)`, where the coroutine opens the source. gRPC's server and direct calls
iterate over it; the writer of `services.kernel.rpc.http2` takes the messages itself, of thousands of streams.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Protocol


class Source(Protocol):
    """An open stream's messages. Works on the event loop's thread only."""

    @property
    def finished(self) -> bool:
        """True when the last message was taken."""

    @property
    def stall_s(self) -> float:
        """A reader that takes nothing for so long is to be ended."""

    def begin(self, on_ready: Callable[[], None]) -> None:
        """Have `on_ready` called when `take`, which had nothing, should be asked again: only then, and soon."""

    def take(self) -> bytes:
        """The next message, encoded; empty when there is none. Asking says that the one before was written."""

    def close(self) -> None:
        """The reader left, or has had all."""


class SourceStream:
    """A server stream made of a source, which the coroutine opens."""

    def __init__(self, opening: Coroutine[Any, Any, Source]) -> None:
        self._opening = opening
        self._items: AsyncGenerator[bytes, None] | None = None

    async def open(self) -> Source:
        """Open the source, for a writer that takes its messages; it closes it, too."""
        return await self._opening

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        self._items = self._messages()
        return self._items

    async def aclose(self) -> None:
        """Close the source, or never open it."""
        if self._items is not None:
            await self._items.aclose()
        self._opening.close()

    async def _messages(self) -> AsyncGenerator[bytes, None]:
        async for message in messages_of(await self._opening):
            yield message
            message = b""  # not kept until the next one comes


async def messages_of(source: Source) -> AsyncGenerator[bytes, None]:
    """Yield the messages of an open source until it finishes, and close it."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] | None = None

    def wake() -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    source.begin(wake)
    try:
        while True:
            message = source.take()
            if message:
                yield message
                message = b""  # memory for ten thousand last messages is not needed
            elif source.finished:
                return
            else:
                waiter = loop.create_future()
                await waiter
                waiter = None
    finally:
        source.close()
