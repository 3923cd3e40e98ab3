"""A tick stream with readable frames, and readers of it that never wait."""

import asyncio
from types import SimpleNamespace

from services.engine.streams.tick_stream import FeedNature, TickStream

FIRST = 10
EPOCH = "e1"


class Unencodable(Exception):
    """A tick that cannot be encoded."""


def tick(symbol="A.X", pad=0, gateway="SIM"):
    return SimpleNamespace(vt_symbol=symbol, pad=pad, gateway_name=gateway)


def encode(one, sequence) -> bytes:
    if one.pad < 0:
        raise Unencodable
    return f"{one.vt_symbol}{'.' * one.pad} {sequence};".encode()


def ticks_stream(ring_bytes=1 << 20, in_flight=lambda: 0) -> TickStream:
    nature = FeedNature(paced=True, realtime=False, on_demand=False)
    stream = TickStream(EPOCH, nature, encode, in_flight, ring_bytes)
    stream.begin(FIRST)
    return stream


class StreamReader:
    """Takes a stream's messages one by one, and none that is not there yet."""

    def __init__(self, stream, *args, **words) -> None:
        self._stream = stream.read(*args, **words)
        self._pending = None

    async def next(self):
        """The next message; None when there is none yet. Raises what the stream raises, and StopAsyncIteration."""
        if self._pending is None:
            self._pending = asyncio.ensure_future(anext(self._stream))
            # A reader that a test leaves behind is ended with the loop.
            self._pending.add_done_callback(lambda pending: pending.cancelled() or pending.exception())
        for _ in range(5):
            await asyncio.sleep(0)
        if not self._pending.done():
            return None
        pending, self._pending = self._pending, None
        return pending.result()

    async def close(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.gather(self._pending, return_exceptions=True)
        await self._stream.aclose()


def frames(message: bytes) -> list[tuple[str, int]]:
    """Symbols and sequences of a message of ticks."""
    texts = message.decode().split(";")[:-1]
    return [(name.rstrip("."), int(number)) for name, number in (text.split(" ") for text in texts)]
