"""One subscriber of a stream: a bounded buffer that takes frames from the hub and gives messages to its writer.

The writer asks for the next message when the last one was written, so that what came meanwhile forms one batch: single
ticks when it is idle, big ones under load. Both kinds of subscriber work on the event loop's thread only.
"""

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from services.market.control_messages import ControlMessages
from services.market.ticks.chunk import Backlog, Chunk, EpochChange, Watermarks

_log = logging.getLogger(__name__)

MESSAGE_BYTES = 256 * 1024
"""A message ends at this size; gRPC clients refuse messages above 4 MiB by default."""

MOST_CONTROL_MESSAGES = 1024
"""Control messages, beyond the limit of frames, that a lossless stream may be behind."""

CATCH_UP = 8
"""A stream that resumes may be behind by up to so many times its limit more, until it has caught up once."""

SLOW_CONSUMER = "SLOW_CONSUMER"
SHUTTING_DOWN = "SHUTTING_DOWN"
FEED_ENDED = "FEED_ENDED"


def _begin_first() -> None:
    raise RuntimeError("nobody began to take messages")


class Subscriber(ABC):
    """The part that both kinds share: waiting, the heartbeat, the end.

    It is the source of a stream (`services.kernel.rpc.source`): encoded response messages for a writer that takes them.
    """

    lossless = True
    stall_s = math.inf
    """A reader that takes nothing for so long is ended; noticed within a heartbeat's interval."""

    def __init__(
        self, stream_id: str, user_id: str, symbols: frozenset[str], control: ControlMessages, heartbeat_s: float
    ) -> None:
        self.stream_id = stream_id
        self.user_id = user_id
        self.symbols = symbols
        self.routed: frozenset[str] = frozenset()
        """The symbols that the hub delivers at present; those that are to be resumed later are not among them."""
        self.epoch = ""
        """The epoch of `sent`."""
        self.sent: dict[str, int] = {}
        self.end_reason = ""
        self._bases = self.sent
        self._loop = asyncio.get_running_loop()
        self.taken_at = self._given_at = self._loop.time()
        self._control = control
        self._heartbeat_s = heartbeat_s
        self.idle = False
        """True while the writer waits: its last write is done, and there was nothing for another one."""
        self.finished = False
        """True when the last message was taken."""
        self.on_close: Callable[[], None] | None = None
        self._on_ready: Callable[[], None] = _begin_first
        self._beat: asyncio.TimerHandle | None = None
        self._beat_due = self._away = False
        self._started = b""
        self._state = b""

    def begin(self, on_ready: Callable[[], None]) -> None:
        """Call `on_ready` when the writer, which was given nothing, should ask again."""
        self._on_ready = on_ready
        self._beat = self._loop.call_later(self._heartbeat_s, self._on_beat)

    def take(self) -> bytes:
        """The next message, empty when there is none; the last one gives the reason of the end.

        A writer that asks has written the one before.
        """
        if self._away:
            self._away = False
            self.taken_at = self._loop.time()
        message = self._next()
        if message:
            self._beat_due = False
            self._given_at = self._loop.time()
            self._away = True
        else:
            self.idle = not self.finished
        return message

    def close(self) -> None:
        """The reader left, or has had all."""
        if self._beat is not None:
            self._beat.cancel()
        if self.on_close is not None:
            self.on_close()
            self.on_close = None

    def start(self, message: bytes, epoch: str) -> None:
        """Begin the stream with this message, in this epoch."""
        self._started = message
        self.epoch = epoch

    def end(self, reason: str) -> None:
        """Deliver what is buffered, then end; the first reason stays."""
        self.end_reason = self.end_reason or reason
        self.wake()

    def overrun(self) -> None:
        """End as too slow; what waits for the reader is dropped."""
        self.end(SLOW_CONSUMER)

    def wake(self) -> None:
        """Let an idle writer look again."""
        if self.idle:
            self.idle = False
            self._on_ready()

    def resume_behind(self, symbol: str, sequence: int) -> None:
        """Let an end that comes before any tick of the symbol name this sequence to resume after."""
        self._bases[symbol] = sequence

    def offer_state(self, message: bytes) -> None:
        """Queue the state of the feed, before what waits: only the newest one matters."""
        if not self.end_reason:
            self._state = message
            self.wake()

    def begin_epoch(self, message: bytes, epoch: str) -> None:
        """Queue the control message of a new epoch, in its place between the ticks."""
        if not self.end_reason:
            change = EpochChange(message, epoch)
            self._bases = change.sent
            self._offer_epoch(change)
            self.wake()

    @abstractmethod
    def last_queued(self, symbol: str) -> int | None:
        """The last sequence of the symbol that waits, None when none does."""

    @abstractmethod
    def _offer_epoch(self, change: EpochChange) -> None:
        """Queue the change in its place."""

    @abstractmethod
    def _take(self) -> bytes:
        """The next message, empty when nothing waits."""

    def _next(self) -> bytes:
        if self.finished:
            return b""
        if self._started:
            message, self._started = self._started, b""
        elif self._state:
            message, self._state = self._state, b""
        else:
            message = self._take()
            if not message and self.end_reason:
                resume_after = {symbol: self.sent.get(symbol, 0) for symbol in self.symbols}
                message = self._control.end(self.end_reason, resume_after, self.epoch)
                self.finished = True
            elif not message and self._beat_due:
                message = self._control.heartbeat()
        return message

    def _take_epoch(self, change: EpochChange) -> bytes:
        self.epoch, self.sent = change.epoch, change.sent
        return change.data

    def _on_beat(self) -> None:
        """Re-armed lazily: one timer per interval, not one per message."""
        silent_s = self._loop.time() - self.taken_at
        left_s = self._heartbeat_s - silent_s
        if left_s <= 0.002:
            left_s = self._heartbeat_s
            if self.idle:
                self._beat_due = True
                self.wake()
            elif self._loop.time() - self._given_at >= self.stall_s and not self.end_reason:
                _log.info("stream %s took nothing for %g s: ended", self.stream_id, self.stall_s)
                self.overrun()
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
        self._backlogs = 0
        self._on_capacity = on_capacity
        self.takes_watermarks = False
        """True if it is to get the exchanges' time, too."""
        self._chunks: deque[Chunk | Backlog | EpochChange] = deque()

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

    def offer_control(self, chunk: Chunk) -> None:
        """Queue a control message, in its place between the ticks."""
        if len(self._chunks) > self._limit + MOST_CONTROL_MESSAGES:
            self.overrun()
        else:
            self.offer(chunk, bounded=False)

    def offer_watermarks(self, watermarks: Watermarks) -> None:
        """Queue the exchanges' time between the ticks, unless ticks of before it are yet to come: those resumed later.

        What waits right before it, of the same gateways or fewer, is of an earlier time, and not needed any more.
        """
        if self.routed != self.symbols:
            return
        last = self._chunks[-1] if self._chunks else None
        if isinstance(last, Watermarks) and last.gateways <= watermarks.gateways:
            self._chunks[-1] = watermarks
        else:
            self.offer_control(watermarks)

    def overrun(self) -> None:
        """End as too slow. Queued chunks are dropped at once: the client resumes after the last one sent."""
        epochs = [chunk for chunk in self._chunks if isinstance(chunk, EpochChange)]
        self._chunks.clear()
        # So that what came in the new epoch can be resumed.
        self._chunks.extend(epochs[-1:])
        self.waiting = self._backlogs = 0
        self.end(SLOW_CONSUMER)

    def resume(self, backlog: Backlog) -> None:
        """Queue a backlog; it is read when its turn comes."""
        self._chunks.append(backlog)
        self._backlogs += 1
        self._allowance = min(self._allowance + backlog.missed, CATCH_UP * self._limit)

    def last_queued(self, symbol: str) -> int | None:
        """The last sequence of the symbol that waits, None when none does."""
        for chunk in reversed(self._chunks):
            if isinstance(chunk, EpochChange):
                break
            if isinstance(chunk, Backlog):
                if chunk.symbol == symbol:
                    return chunk.last
            elif symbol in chunk.sequences:
                return chunk.sequences[symbol]
        return None

    def _offer_epoch(self, change: EpochChange) -> None:
        self._chunks.append(change)

    def _take(self) -> bytes:
        chunks = self._chunks
        while chunks:
            head = chunks.popleft()
            if isinstance(head, Chunk):
                if head.count:
                    return self._join(head)
            elif isinstance(head, Backlog):
                piece = head.take()
                if piece is None:
                    self._backlogs -= 1
                    continue
                chunks.appendleft(head)
                head = piece
            else:
                return self._take_epoch(head)
            self.sent.update(head.sequences)
            return head.data
        return b""

    def _join(self, chunk: Chunk) -> bytes:
        """One message of this chunk and those behind it, as far as they fit."""
        chunks, sent = self._chunks, self.sent
        was_full = self.full
        data, count = chunk.data, chunk.count
        sent.update(chunk.sequences)
        if chunks:
            parts, size = [data], len(data)
            while chunks:
                following = chunks[0]
                # Control messages and backlogs keep their place between ticks.
                if not isinstance(following, Chunk) or not following.count:
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
        if self._allowance and self.waiting <= self._limit and not self._backlogs:
            self._allowance = 0
        if was_full and self._on_capacity is not None and not self.full:
            self._on_capacity()
        return data
