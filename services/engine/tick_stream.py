"""The tick stream: every tick encoded once, a bounded queue per reader, and flow control for a feed that can wait."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from redfire.reasons import Reason

from services.engine.metrics import unreadable
from services.kernel.errors import ResourceExhausted
from services.kernel.tasks import wait_for_event

log = logging.getLogger(__name__)

_BATCH_BYTES = 256 * 1024
_MOST_IN_FLIGHT = 4096
_POLL_S = 0.001


class TooSlow(ResourceExhausted):
    """The reader is too slow for the market."""

    reason = Reason.SLOW_CONSUMER


class ControlMessage(Enum):
    """Messages of a stream besides ticks."""

    HEARTBEAT = "heartbeat"
    FEED_ENDED = "feed ended"


@dataclass(frozen=True, slots=True)
class FeedNature:
    """Properties of the feed: see the contract's StreamTicksResponse.Started."""

    paced: bool
    realtime: bool
    on_demand: bool


class TickReader:
    """One reader's place in the stream."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.frames: deque[bytes] = deque()
        self.wake = asyncio.Event()
        self.too_slow = False

    def put(self, frame: bytes) -> None:
        """Queue a frame; a reader whose queue is full is ended, since it would miss ticks."""
        if len(self.frames) >= self._limit:
            self.too_slow = True
            self.frames.clear()
        elif not self.too_slow:
            self.frames.append(frame)
        self.wake.set()

    def take(self) -> bytes:
        """The frames that wait, joined to one message of a decent size."""
        frames = self.frames
        size = 0
        batch = []
        while frames and size < _BATCH_BYTES:
            frame = frames.popleft()
            size += len(frame)
            batch.append(frame)
        return b"".join(batch)


class TickStream:
    """Fans ticks out. `encode(tick, sequence)` makes a frame: the bytes of field 1 of a StreamTicksResponse.

    Sequences of symbols begin as `begin` sets them, which is called before the first tick.
    """

    def __init__(
        self,
        nature: FeedNature,
        encode: Callable[[Any, int], bytes],
        in_flight: Callable[[], int],
        limit: int,
        heartbeat_s: float,
    ) -> None:
        self.nature = nature
        self._encode = encode
        self._in_flight = in_flight
        self._first_sequence = 1
        self._limit = limit
        self._heartbeat_s = heartbeat_s
        self._sequences: dict[str, int] = {}
        self._unreadable: set[str] = set()
        self._readers: set[TickReader] = set()
        self._ended = False
        self._closed = False
        self._changed = asyncio.Event()
        self.count = 0

    @property
    def readers(self) -> int:
        """Number of readers."""
        return len(self._readers)

    def begin(self, first_sequence: int) -> None:
        """Let each symbol's sequence begin here in this run."""
        self._first_sequence = first_sequence

    def publish(self, ticks: Sequence[Any]) -> None:
        """Ticks of the gateways, in order."""
        for tick in ticks:
            sequence = self._sequences.get(tick.vt_symbol, self._first_sequence)
            try:
                frame = self._encode(tick, sequence)
            except Exception:
                unreadable.labels(tick.gateway_name, "TickData").inc()
                if tick.vt_symbol not in self._unreadable:
                    self._unreadable.add(tick.vt_symbol)
                    log.exception("a tick of %s by %s is unreadable", tick.vt_symbol, tick.gateway_name)
                continue
            self._sequences[tick.vt_symbol] = sequence + 1
            for reader in self._readers:
                reader.put(frame)
        self.count += len(ticks)

    def move(self, symbol: str) -> None:
        """Another gateway serves a symbol: a sequence is left out, so that nobody takes its ticks for one market's."""
        if symbol in self._sequences:
            self._sequences[symbol] += 1

    def end_feed(self) -> None:
        """End the replay: every reader gets FEED_ENDED, also those who come later."""
        self._ended = True
        for reader in self._readers:
            reader.wake.set()

    def close(self) -> None:
        """End all readers' streams when they have what was published."""
        self._closed = True
        for reader in self._readers:
            reader.wake.set()

    async def wait_for_capacity(self, paced: bool) -> None:
        """Return when the readers can take more; a paced feed also waits until there is a reader at all."""
        while self._in_flight() > _MOST_IN_FLIGHT:  # noqa: ASYNC110 - vnpy's thread sets no events
            await asyncio.sleep(_POLL_S)
        while self._is_full() or (paced and not self._readers):
            self._changed.clear()
            await self._changed.wait()

    async def read(self) -> AsyncGenerator[bytes | ControlMessage, None]:
        """Batches of frames as they come, and control messages. Raises: TooSlow."""
        reader = TickReader(self._limit)
        self._readers.add(reader)
        self._changed.set()
        end_sent = False
        try:
            while True:
                if reader.too_slow:
                    raise TooSlow
                if reader.frames:
                    yield reader.take()
                    self._changed.set()
                elif self._ended and not end_sent:
                    end_sent = True
                    yield ControlMessage.FEED_ENDED
                elif self._closed:
                    return
                else:
                    reader.wake.clear()
                    if not await wait_for_event(reader.wake, self._heartbeat_s):
                        yield ControlMessage.HEARTBEAT
        finally:
            self._readers.discard(reader)
            self._changed.set()

    def _is_full(self) -> bool:
        return any(len(reader.frames) > self._limit // 4 for reader in self._readers)
