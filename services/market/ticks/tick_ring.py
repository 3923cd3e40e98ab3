"""Rings of recent frames, one per symbol, and the memory that all of them share.

Frames leave in the order in which they came, whichever symbol they are of, so that all symbols can be resumed equally
far back. What a frame takes is counted in blocks of frames, not frame by frame: a frame costs two appends here.
"""

from bisect import bisect_right
from collections import deque
from itertools import islice

BLOCK_FRAMES = 256
FRAME_OVERHEAD = 64
"""Bytes that a frame takes besides its own: the object's header, its places in ring and block, rounding."""
MARK_BYTES = 160
"""Bytes that a mark of the exchange's time takes."""
MINUTE_NS = 60_000_000_000
UNKNOWN = -1
"""Sequence of a symbol of which neither a tick nor the epoch's first sequence is known."""

Frames = deque[bytes]


class TickRing:
    """One symbol's last tick and its recent frames, which have no gap inside.

    `sequence` is that of the last tick that was published or told to be lost. `frame` is the last tick as it came,
    empty when there is none; `frame_sequence` is its sequence, UNKNOWN while it is of an earlier epoch.
    """

    __slots__ = (
        "_marks", "_next_mark_ns", "frame", "frame_sequence", "gateway", "marked_ns", "recent", "sequence", "symbol",
    )  # fmt: skip

    def __init__(self, symbol: str, sequence: int, frame: bytes = b"", gateway: str = "") -> None:
        self.symbol = symbol
        self.sequence = sequence
        self.frame = frame
        self.frame_sequence = UNKNOWN
        self.gateway = gateway
        self.recent: Frames = deque()
        self._forget_marks()

    @property
    def first_sequence(self) -> int:
        """The oldest one in the ring; above `sequence` when the ring is empty."""
        return self.sequence - len(self.recent) + 1

    def skip(self, sequence: int) -> None:
        """Go on behind ticks that are lost: those up to `sequence`."""
        self.clear()
        self.sequence = sequence

    def clear(self) -> None:
        """Drop the recent frames; they count as memory until it was their turn to leave."""
        self.recent.clear()
        self.recent = deque()
        self._forget_marks()

    def needs_mark(self, watermark_ns: int, time_ns: int, frames: int) -> bool:
        """Return whether the exchange's time, which is another one than `marked_ns`, matters to the ticks that follow.

        It does to late ones, to the first ones of a minute (a bar may have ended that the ticks themselves would end
        otherwise), and where there are several: they are not looked at one by one.
        """
        return frames > 1 or time_ns < watermark_ns or watermark_ns >= self._next_mark_ns

    def mark(self, sequence: int, watermark_ns: int) -> None:
        """Note that the exchange's time had come so far before the tick of this sequence."""
        marks = self._marks
        half = len(marks) >> 1
        if half > 16 and marks[half][0] <= self.first_sequence:
            del marks[:half]  # the first one that is left is of before the oldest frame, too
        marks.append((sequence, watermark_ns))
        self.marked_ns = watermark_ns
        self._next_mark_ns = (watermark_ns // MINUTE_NS + 1) * MINUTE_NS

    def mark_at(self, sequence: int) -> tuple[int, int, int]:
        """The mark that a tick stands behind: its sequence and watermark, or 0 and 0; and the sequence of the next one,
        one beyond all ticks where there is none."""
        marks = self._marks
        at = bisect_right(marks, sequence, key=lambda mark: mark[0])
        following = marks[at][0] if at < len(marks) else self.sequence + 1
        return (*marks[at - 1], following) if at else (0, 0, following)

    def _forget_marks(self) -> None:
        self._marks: list[tuple[int, int]] = []
        self.marked_ns = 0
        self._next_mark_ns = 0

    def forget(self) -> None:
        """Another gateway serves the symbol: the ticks seen are not of its market."""
        self.clear()
        self.frame, self.frame_sequence = b"", UNKNOWN

    def frames(self, first: int, last: int) -> list[bytes]:
        """The frames of these sequences; all of them must be in the ring."""
        start = first - self.first_sequence
        return list(islice(self.recent, start, start + last - first + 1))


class RingMemory:
    """The memory of all rings, at most `limit_bytes`: the oldest frames leave first."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        # Small limits, as tests have, are kept exactly.
        self._block_frames = max(1, min(BLOCK_FRAMES, limit_bytes >> 18))
        self._blocks: deque[tuple[int, list[Frames]]] = deque()
        self.block: list[Frames] = []
        """For each frame of the newest block, in order, the ring that it was appended to."""
        self._block_bytes = 0
        self.bytes = 0
        """Bytes counted at present."""

    def count(self, size: int, frames: int) -> None:
        """Count frames of so many bytes that were appended to rings and to `block`, and let the oldest leave."""
        size += frames * FRAME_OVERHEAD
        self._block_bytes += size
        self.bytes += size
        if len(self.block) >= self._block_frames:
            self._blocks.append((self._block_bytes, self.block))
            self.block, self._block_bytes = [], 0
            self._shrink()

    def clear(self) -> None:
        """Forget what was counted: all rings were dropped."""
        self._blocks.clear()
        self.block, self._block_bytes, self.bytes = [], 0, 0

    def _shrink(self) -> None:
        blocks = self._blocks
        while self.bytes > self._limit_bytes and blocks:
            size, block = blocks.popleft()
            self.bytes -= size
            for recent in block:
                if recent:  # those of a ring that was cleared left before
                    recent.popleft()
