"""One subscriber of a stream: a bounded buffer that takes frames from the hub and gives messages to its writer.

The writer asks for the next message when the last one was written, so that what came meanwhile forms one batch: single
ticks when it is idle, big ones under load. Both kinds of subscriber work on the event loop's thread only.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.market.control_messages import ControlMessages
from services.market.ticks.tick_ring import TickRing

MESSAGE_BYTES = 256 * 1024
"""A message ends at this size; gRPC clients refuse messages above 4 MiB by default."""

BACKLOG_FRAMES = 256
"""Frames read at once from the ring for a stream that resumes."""

CATCH_UP = 8
"""A stream that resumes may be behind by up to so many times its limit more, until it has caught up once."""

SLOW_CONSUMER = "SLOW_CONSUMER"
SHUTTING_DOWN = "SHUTTING_DOWN"
FEED_ENDED = "FEED_ENDED"


@dataclass(slots=True, frozen=True)
class Chunk:
    """Joined frames that several subscribers share, or a control message (then count is 0)."""

    data: bytes
    count: int = 0
    sequences: Mapping[str, int] = field(default_factory=dict)
    """The last sequence of each symbol in it."""


class Backlog:
    """The frames of one symbol that a resumed subscriber missed, read from the ring piece by piece as it is written.

    So a stream that resumes far back costs no memory; what leaves the ring before its turn becomes a gap.
    """

    __slots__ = ("_gap_message", "_last", "_next", "_ring", "count")

    def __init__(self, ring: TickRing[Any], after: int, gap_message: Callable[[str, int, int], bytes]) -> None:
        self._ring = ring
        self.count = ring.sequence - max(after, ring.first_sequence - 1)
        self._next = after + 1
        self._last = ring.sequence
        self._gap_message = gap_message

    def take(self) -> Chunk | None:
        """The next piece or a gap, None when nothing is left."""
        if self._next > self._last:
            return None
        ring = self._ring
        first = min(ring.first_sequence, self._last + 1)
        if ring.sequence < self._last or first > self._next:
            lost = max(first - 1, self._next) if ring.sequence >= self._last else self._last
            gap = self._gap_message(ring.symbol, self._next, lost)
            self._next = lost + 1
            return Chunk(gap)
        last = min(self._next + BACKLOG_FRAMES - 1, self._last)
        frames = ring.frames(self._next, last)
        self._next = last + 1
        return Chunk(b"".join(frames), len(frames), {ring.symbol: last})


class Subscriber(ABC):
    """The part that both kinds share: waiting, the heartbeat, the end.

    `messages()` is the stream: encoded response messages until the stream ended or its reader left.
    """

    lossless = True

    def __init__(
        self, stream_id: str, user_id: str, symbols: frozenset[str], control: ControlMessages, heartbeat_s: float
    ) -> None:
        self.stream_id = stream_id
        self.user_id = user_id
        self.symbols = symbols
        self.sent: dict[str, int] = {}
        self.end_reason = ""
        self._loop = asyncio.get_running_loop()
        self.taken_at = self._loop.time()
        self._control = control
        self._heartbeat_s = heartbeat_s
        self._waiter: asyncio.Future[None] | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._beat_due = False

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Yield messages as they form; the last one gives the reason of the end."""
        loop = self._loop
        self._beat = loop.call_later(self._heartbeat_s, self._on_beat)
        try:
            while True:
                data = self._take()
                if not data:
                    if self.end_reason:
                        yield self._control.end(self.end_reason, self.sent)
                        return
                    if not self._beat_due:
                        self._waiter = loop.create_future()
                        try:
                            await self._waiter
                        finally:
                            self._waiter = None
                        continue
                    data = self._control.heartbeat()
                self._beat_due = False
                yield data
                self.taken_at = loop.time()
        finally:
            self.close()

    def close(self) -> None:
        """Stop the timers."""
        if self._beat is not None:
            self._beat.cancel()

    def end(self, reason: str) -> None:
        """Deliver what is buffered, then end; the first reason stays."""
        self.end_reason = self.end_reason or reason
        self.wake()

    def wake(self) -> None:
        """Let a waiting writer look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @abstractmethod
    def offer_control(self, message: bytes) -> None:
        """Queue a control message, in its place."""

    @abstractmethod
    def _take(self) -> bytes:
        """The next message, empty when nothing waits."""

    def _on_beat(self) -> None:
        """Re-armed lazily: one timer per interval, not one per message."""
        silent_s = self._loop.time() - self.taken_at
        left_s = self._heartbeat_s - silent_s
        if left_s <= 0.002:
            left_s = self._heartbeat_s
            if self._waiter is not None:
                self._beat_due = True
                self.wake()
        self._beat = self._loop.call_later(left_s, self._on_beat)


class LosslessSubscriber(Subscriber):
    """Every frame in order. One that falls behind by more than `limit` frames is ended, never silently thinned out.

    One that resumes is behind from the start: until it has caught up it may be by as much more as it missed, so that a
    reader that is faster than the feed is not ended for what came while it read its backlog.
    """

    def __init__(
        self,
        stream_id: str,
        user_id: str,
        symbols: frozenset[str],
        control: ControlMessages,
        heartbeat_s: float,
        limit: int,
        on_capacity: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(stream_id, user_id, symbols, control, heartbeat_s)
        self.waiting = 0
        self._limit = limit
        self._allowance = 0
        self._on_capacity = on_capacity
        self._chunks: deque[Chunk | Backlog] = deque()

    @property
    def full(self) -> bool:
        """True while a paced feed should wait for this subscriber."""
        return self.waiting * 2 >= self._limit and not self.end_reason

    def offer(self, chunk: Chunk, *, bounded: bool = True, wake: bool = True) -> None:
        """Queue a chunk. Above the limit the stream ends, unless it is not `bounded` (a snapshot, a paced feed)."""
        if self.end_reason:
            return
        if bounded and self.waiting + chunk.count > self._limit + self._allowance:
            self.overrun()
            return
        self._chunks.append(chunk)
        self.waiting += chunk.count
        if wake:
            self.wake()

    def offer_control(self, message: bytes) -> None:
        """Queue a control message, in its place between the ticks."""
        self.offer(Chunk(message))

    def overrun(self) -> None:
        """End as too slow. Queued chunks are dropped at once: the client resumes after the last one sent."""
        self._chunks.clear()
        self.waiting = 0
        self.end(SLOW_CONSUMER)

    def resume(self, backlog: Backlog) -> None:
        """Queue a backlog; it is read when its turn comes."""
        self._chunks.append(backlog)
        self._allowance = min(self._allowance + backlog.count, CATCH_UP * self._limit)

    def _take(self) -> bytes:
        chunks = self._chunks
        while chunks:
            head = chunks.popleft()
            if isinstance(head, Backlog):
                piece = head.take()
                if piece is None:
                    continue
                chunks.appendleft(head)
                self.sent.update(piece.sequences)
                return piece.data
            return self._join(head)
        return b""

    def _join(self, chunk: Chunk) -> bytes:
        """One message of this chunk and those behind it, as far as they fit."""
        chunks, sent = self._chunks, self.sent
        was_full = self.full
        data, count = chunk.data, chunk.count
        sent.update(chunk.sequences)
        if count and chunks:
            parts, size = [data], len(data)
            while chunks:
                following = chunks[0]
                # Control messages and backlogs keep their place between ticks.
                if isinstance(following, Backlog) or not following.count:
                    break
                size += len(following.data)
                if size > MESSAGE_BYTES:
                    break
                chunks.popleft()
                parts.append(following.data)
                count += following.count
                sent.update(following.sequences)
            data = b"".join(parts)
        self.waiting -= count
        if self._allowance and self.waiting <= self._limit and not any(isinstance(one, Backlog) for one in chunks):
            self._allowance = 0
        if was_full and self._on_capacity is not None and not self.full:
            self._on_capacity()
        return data


class ConflatedSubscriber(Subscriber):
    """The latest frame per symbol, at most one per `min_interval_s`; never holds more than one frame per symbol."""

    lossless = False

    def __init__(
        self,
        stream_id: str,
        user_id: str,
        symbols: frozenset[str],
        control: ControlMessages,
        heartbeat_s: float,
        min_interval_s: float,
    ) -> None:
        super().__init__(stream_id, user_id, symbols, control, heartbeat_s)
        self._min_interval_s = min_interval_s
        self._latest: dict[str, tuple[bytes, int]] = {}
        self._preamble: deque[bytes] = deque()
        self._due: dict[str, float] = {}
        self._alarm: asyncio.TimerHandle | None = None

    def offer_control(self, message: bytes) -> None:
        """Queue a control message: it is sent before any tick."""
        self._preamble.append(message)
        self.wake()

    def offer(self, symbol: str, latest: tuple[bytes, int]) -> None:
        """Queue a symbol's latest frame and its sequence."""
        self._latest[symbol] = latest
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self._alarm is None or self._due.get(symbol, 0.0) <= self._loop.time():
            waiter.set_result(None)

    def forget(self, symbol: str) -> None:
        """Drop the frame of a symbol that is no longer subscribed."""
        self._latest.pop(symbol, None)
        self._due.pop(symbol, None)

    def close(self) -> None:
        """Stop the timers."""
        super().close()
        if self._alarm is not None:
            self._alarm.cancel()

    def _take(self) -> bytes:
        if self._preamble:
            return self._preamble.popleft()
        latest = self._latest
        if not latest:
            return b""
        if self._min_interval_s and not self.end_reason:
            latest = self._pick_due()
        elif len(latest) > 1:
            latest, self._latest = latest, {}
        else:
            ((symbol, (data, sequence)),) = latest.items()
            latest.clear()
            self.sent[symbol] = sequence
            return data
        self.sent.update((symbol, sequence) for symbol, (_, sequence) in latest.items())
        return b"".join([data for data, _ in latest.values()])

    def _pick_due(self) -> dict[str, tuple[bytes, int]]:
        now = self._loop.time()
        due = self._due
        ready = {symbol: self._latest.pop(symbol) for symbol in list(self._latest) if due.get(symbol, 0.0) <= now}
        for symbol in ready:
            due[symbol] = now + self._min_interval_s
        if self._latest and not ready and self._alarm is None:
            wake_at = min(due[symbol] for symbol in self._latest)
            self._alarm = self._loop.call_later(max(wake_at - now, 0.001), self._on_alarm)
        return ready

    def _on_alarm(self) -> None:
        self._alarm = None
        self.wake()
