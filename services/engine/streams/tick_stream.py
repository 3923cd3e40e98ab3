"""The tick stream: each tick encoded and numbered once, a cursor per reader, and flow control for a feed that waits."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from redfire.reasons import Reason

from services.engine.metrics import unreadable
from services.engine.streams.tick_ring import Cursor, FellOut, TickRing
from services.kernel.errors import NotFound, ResourceExhausted
from services.kernel.identifiers import new_id

log = logging.getLogger(__name__)

LOOK_AHEAD = 16_384
"""Ticks that a replay may be ahead of what its slowest reader was sent, where that acknowledges nothing."""
UNACKNOWLEDGED = 2048
"""Ticks that a replay may be ahead of what its slowest reader acknowledged: what a reader must have room for."""
_MOST_IN_FLIGHT = 4096
_POLL_S = 0.001


class TooSlow(ResourceExhausted):
    """The reader is too slow for the market: what comes next is not kept any more. It resumes by its position."""

    reason = Reason.SLOW_CONSUMER


@dataclass(frozen=True, slots=True)
class FeedNature:
    """Properties of SIM's feed: see the contract's StreamTicksResponse.Started."""

    paced: bool
    realtime: bool
    on_demand: bool


@dataclass(frozen=True, slots=True)
class Started:
    """The place where a reader begins: see the contract. `sequences` is empty where it goes on exactly as asked."""

    epoch: str
    position: int
    first_sequence: int
    sequences: dict[str, int]
    reader_id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class FeedEnded:
    """The end of a gateway's replay, behind the tick of this position."""

    position: int
    gateway_name: str = ""


class _Reader:
    __slots__ = ("acknowledged", "cursor", "records", "wake")

    def __init__(self, cursor: Cursor, *, records: bool, acknowledges: bool) -> None:
        self.cursor = cursor
        self.records = records
        self.acknowledged = cursor.position if acknowledges else None
        self.wake = asyncio.Event()

    def is_full(self, position: int) -> bool:
        """Return whether a replay that has come to this position waits for the reader."""
        if self.acknowledged is None:
            return position - self.cursor.position > LOOK_AHEAD
        return position - self.acknowledged > UNACKNOWLEDGED


class TickStream:
    """Fans ticks out. `encode(tick, sequence)` makes a frame: the bytes of field 1 of a StreamTicksResponse.

    Ticks are numbered in the order of `publish`, whichever gateway they are of; one that cannot be encoded takes no
    number. All readers read one ring of the last `ring_bytes`; one that falls out of it is ended. Only a replay waits
    for readers (`wait_for_capacity`): ticks of live gateways never do, whatever feed runs beside them.
    """

    def __init__(
        self,
        epoch: str,
        nature: FeedNature,
        encode: Callable[[Any, int], bytes],
        in_flight: Callable[[], int],
        ring_bytes: int,
    ) -> None:
        self.epoch = epoch
        self.nature = nature
        self._encode = encode
        self._in_flight = in_flight
        self._ring = TickRing(ring_bytes)
        self._unreadable: set[str] = set()
        self._readers: dict[str, _Reader] = {}
        self._ended: FeedEnded | None = None
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def readers(self) -> int:
        """Number of readers."""
        return len(self._readers)

    @property
    def position(self) -> int:
        """Number of ticks published."""
        return self._ring.position

    @property
    def size(self) -> int:
        """Bytes of memory that the kept ticks take, about."""
        return self._ring.size

    def begin(self, first_sequence: int) -> None:
        """Let each symbol's sequence begin here in this epoch; called before the first tick."""
        self._ring.begin(first_sequence)

    def publish(self, ticks: Sequence[Any]) -> None:
        """Ticks of the gateways, in order."""
        ring, encode = self._ring, self._encode
        sequence_of, append = ring.sequence_of, ring.append
        for tick in ticks:
            sequence = sequence_of(tick.vt_symbol)
            try:
                frame = encode(tick, sequence.last + 1)
            except Exception:
                self._note_unreadable(tick)
                continue
            append(sequence, frame)
        self._wake()

    def publish_heartbeat(self, message: bytes) -> None:
        """Put an encoded heartbeat behind the ticks that were published."""
        self._ring.put_heartbeat(message)
        self._wake()

    def end_feed(self, gateway_name: str = "") -> None:
        """End a gateway's replay: every reader gets FeedEnded in its place, also those who come later."""
        self._ring.seal()
        self._ended = FeedEnded(self._ring.position, gateway_name)
        self._wake()

    def close(self) -> None:
        """End all readers' streams when they have what was published."""
        self._closed = True
        self._wake()

    async def wait_for_recorder(self) -> None:
        """Return when there is a reader that records."""
        if not self._has_recorder():
            log.info("the replay begins when a market reads its ticks to record them")
        while not self._has_recorder():
            await self._wait_for_change()

    async def wait_for_capacity(self, needs_recorder: bool) -> None:
        """Return when all readers can take more of a replay and, if it needs one, there is one that records."""
        while self._in_flight() > _MOST_IN_FLIGHT:  # noqa: ASYNC110 - vnpy's thread sets no events
            await asyncio.sleep(_POLL_S)
        while self._is_full() or (needs_recorder and not self._has_recorder()):
            await self._wait_for_change()

    def acknowledge(self, reader_id: str, position: int) -> None:
        """A reader has room for more of a replay behind this position. Raises: NotFound."""
        reader = self._readers.get(reader_id)
        if reader is None or reader.acknowledged is None:
            raise NotFound("reader of ticks that acknowledges", reader_id)
        # Not beyond what it was sent: it cannot have taken that.
        reader.acknowledged = max(reader.acknowledged, min(position, reader.cursor.position))
        self._changed.set()

    async def read(
        self, epoch: str = "", position: int = 0, *, records: bool = False, acknowledges: bool = False
    ) -> AsyncGenerator[Started | FeedEnded | bytes, None]:
        """Started, then messages: batches of frames, heartbeats, and the end of a replay. Raises: TooSlow.

        Behind a position of this epoch, if the ticks behind it are kept; otherwise from the oldest one that is.
        """
        cursor, started = self._place(epoch, position)
        reader = _Reader(cursor, records=records, acknowledges=acknowledges)
        self._readers[started.reader_id] = reader
        self._changed.set()
        end_sent = False
        try:
            yield started
            while True:
                if self._ended is not None and not end_sent and cursor.position >= self._ended.position:
                    end_sent = True
                    yield self._ended
                elif message := self._ring.take(cursor):
                    self._changed.set()
                    yield message
                elif self._closed:
                    return
                else:
                    reader.wake.clear()
                    await reader.wake.wait()
        except FellOut:
            log.warning("a reader of the ticks fell %d behind: ended", self._ring.position - cursor.position)
            raise TooSlow from None
        finally:
            del self._readers[started.reader_id]
            self._changed.set()

    def _place(self, epoch: str, position: int) -> tuple[Cursor, Started]:
        ring = self._ring
        cursor = ring.find(position) if epoch == self.epoch else None
        sequences: dict[str, int] = {}
        if cursor is None:
            cursor, sequences = ring.oldest()
        return cursor, Started(self.epoch, cursor.position, ring.first_sequence, sequences, new_id())

    def _note_unreadable(self, tick: Any) -> None:
        unreadable.labels(tick.gateway_name, "TickData").inc()
        if tick.vt_symbol not in self._unreadable:
            self._unreadable.add(tick.vt_symbol)
            log.exception("a tick of %s by %s is unreadable", tick.vt_symbol, tick.gateway_name)

    def _wake(self) -> None:
        for reader in self._readers.values():
            reader.wake.set()

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _is_full(self) -> bool:
        return any(reader.is_full(self._ring.position) for reader in self._readers.values())

    def _has_recorder(self) -> bool:
        return any(reader.records for reader in self._readers.values())
