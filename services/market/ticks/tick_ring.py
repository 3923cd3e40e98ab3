"""Rings of recent frames, one per symbol, and the memory that all of them share.

Frames leave in the order in which they came, whichever symbol they are of, so that all symbols can be resumed equally
far back. What a frame takes is counted in blocks of frames, not frame by frame: a frame costs two appends here.
"""

from collections import deque
from itertools import islice

BLOCK_FRAMES = 256
FRAME_OVERHEAD = 64
"""Bytes that a frame takes besides its own: the object's header, its places in ring and block, rounding."""
UNKNOWN = -1
"""Sequence of a symbol of which neither a tick nor the epoch's first sequence is known."""

Frames = deque[bytes]


class TickRing:
    """One symbol's last tick and its recent frames, which have no gap inside.

    `sequence` is that of the last tick that was published or told to be lost. `frame` is the last tick as it came,
    empty when there is none; `frame_sequence` is its sequence, UNKNOWN while it is of an earlier epoch.
    """

    __slots__ = ("frame", "frame_sequence", "gateway", "recent", "sequence", "symbol")

    def __init__(self, symbol: str, sequence: int, frame: bytes = b"", gateway: str = "") -> None:
        self.symbol = symbol
        self.sequence = sequence
        self.frame = frame
        self.frame_sequence = UNKNOWN
        self.gateway = gateway
        self.recent: Frames = deque()

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
        """What is counted at present."""

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
