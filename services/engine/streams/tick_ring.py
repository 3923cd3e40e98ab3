"""The ring of the tick stream: the last ticks of all symbols in order, bounded in bytes, and readers' places in it."""

from bisect import bisect_left
from collections import deque

_SEGMENT_BYTES = 256 * 1024
_TICK_OVERHEAD = 64
"""Bytes that a frame costs besides its own: the object's header and two places in lists."""
_SEGMENT_OVERHEAD = 512
_RESERVED_SHARE = 8
"""The part of the ring that no reader begins in: one that begins with the oldest tick has so much time to read it."""


class FellOut(Exception):
    """The ticks behind a cursor are not kept any more."""


class SymbolSequence:
    """A symbol's last sequence, and that of its last tick before the oldest that readers begin with."""

    __slots__ = ("before_oldest", "last")

    def __init__(self, before_first: int) -> None:
        self.last = before_first
        self.before_oldest = before_first


class _Segment:
    """Frames that follow each other, and the heartbeat behind them."""

    __slots__ = ("first_position", "frames", "heartbeat", "heartbeat_number", "sealed", "sequences", "size")

    def __init__(self, first_position: int) -> None:
        self.first_position = first_position
        self.frames: list[bytes] = []
        self.sequences: list[SymbolSequence] = []
        self.size = _SEGMENT_OVERHEAD
        self.heartbeat = b""
        self.heartbeat_number = 0
        self.sealed = False


class Cursor:
    """A reader's place: `position` ticks of the epoch are read."""

    __slots__ = ("heartbeat_number", "position", "segment")

    def __init__(self, segment: int, position: int) -> None:
        self.segment = segment
        self.position = position
        self.heartbeat_number = 0


class TickRing:
    """Frames of one epoch. Positions count its ticks of all symbols, also those that are not kept any more.

    A heartbeat has its place between two ticks; where no tick came after one, the next takes its place, so that an idle
    market's heartbeats do not push ticks out.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._segment_bytes = min(_SEGMENT_BYTES, max(limit_bytes // 16, 1))
        self._tail = _Segment(0)
        self._segments = deque([self._tail])
        self._first_segment = 0
        self._reserved = 0
        self._reserved_bytes = 0
        self._sealed_bytes = 0
        self._heartbeats = 0
        self._symbols: dict[str, SymbolSequence] = {}
        self.first_sequence = 1
        self.position = 0

    @property
    def size(self) -> int:
        """Bytes kept, about."""
        return self._sealed_bytes + self._tail.size

    @property
    def oldest_position(self) -> int:
        """The position behind which readers begin that cannot go on where they were."""
        return self._segments[self._reserved].first_position

    def begin(self, first_sequence: int) -> None:
        """Let each symbol's sequence begin here, before the first tick."""
        self.first_sequence = first_sequence

    def sequence_of(self, symbol: str) -> SymbolSequence:
        """The symbol's sequences."""
        sequence = self._symbols.get(symbol)
        if sequence is None:
            sequence = self._symbols[symbol] = SymbolSequence(self.first_sequence - 1)
        return sequence

    def append(self, sequence: SymbolSequence, frame: bytes) -> None:
        """Keep a symbol's next tick."""
        segment = self._tail
        if segment.sealed or segment.size >= self._segment_bytes:
            segment = self._extend()
        segment.frames.append(frame)
        segment.sequences.append(sequence)
        segment.size += len(frame) + _TICK_OVERHEAD
        sequence.last += 1
        self.position += 1

    def put_heartbeat(self, message: bytes) -> None:
        """Keep a heartbeat in its place, instead of one that no tick came after."""
        self._heartbeats += 1
        tail = self._tail
        tail.heartbeat, tail.heartbeat_number, tail.sealed = message, self._heartbeats, True

    def seal(self) -> None:
        """Let no message hold both a tick from before now and one from after."""
        self._tail.sealed = True

    def find(self, position: int) -> Cursor | None:
        """A cursor behind a position; None where the ticks behind it are not kept, or there was no such position."""
        segments = self._segments
        if not segments[0].first_position <= position <= self.position:
            return None
        # The first of those that the position is in, so that the heartbeat behind it is read again.
        at = max(bisect_left(segments, position, key=lambda segment: segment.first_position) - 1, 0)
        return Cursor(self._first_segment + at, position)

    def oldest(self) -> tuple[Cursor, dict[str, int]]:
        """A cursor before the oldest tick, and by symbol the last sequence before it."""
        sequences = {
            symbol: sequence.before_oldest
            for symbol, sequence in self._symbols.items()
            if sequence.before_oldest >= self.first_sequence
        }
        return Cursor(self._first_segment + self._reserved, self.oldest_position), sequences

    def take(self, cursor: Cursor) -> bytes:
        """The next message at a cursor, which moves on: joined frames or a heartbeat; empty at the end.

        Raises: FellOut.
        """
        if cursor.segment < self._first_segment:
            if cursor.position < self._segments[0].first_position:
                raise FellOut
            cursor.segment = self._first_segment
        last = self._first_segment + len(self._segments) - 1
        while True:
            segment = self._segments[cursor.segment - self._first_segment]
            offset = cursor.position - segment.first_position
            if offset < len(segment.frames):
                frames = segment.frames[offset:] if offset else segment.frames
                cursor.position += len(frames)
                return b"".join(frames)
            if segment.heartbeat_number > cursor.heartbeat_number:
                cursor.heartbeat_number = segment.heartbeat_number
                return segment.heartbeat
            if cursor.segment == last:
                return b""
            cursor.segment += 1

    def _extend(self) -> _Segment:
        self._sealed_bytes += self._tail.size
        segments = self._segments
        tail = self._tail = _Segment(self.position)
        segments.append(tail)
        limit = self._limit_bytes - 2 * self._segment_bytes  # the tail may be longer by a tick
        for_readers = limit - limit // _RESERVED_SHARE
        while self._sealed_bytes - self._reserved_bytes > for_readers and self._reserved < len(segments) - 1:
            segment = segments[self._reserved]
            for sequence in segment.sequences:
                sequence.before_oldest += 1
            self._reserved_bytes += segment.size
            self._reserved += 1
        while self._sealed_bytes > limit and self._reserved:
            segment = segments.popleft()
            self._first_segment += 1
            self._sealed_bytes -= segment.size
            self._reserved_bytes -= segment.size
            self._reserved -= 1
        return tail
