"""Entries of a lossless subscriber's buffer: joined frames, control messages, and what is to be read from a ring."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from services.market.ticks.tick_ring import TickRing

BACKLOG_FRAMES = 256
"""Frames read at once from the ring for a stream that resumes."""

NO_SEQUENCES: Mapping[str, int] = {}


@dataclass(slots=True, frozen=True)
class Chunk:
    """Joined frames that several subscribers share, or a control message (then count is 0)."""

    data: bytes
    count: int = 0
    sequences: Mapping[str, int] = field(default_factory=dict)
    """The last sequence of each symbol in it."""


@dataclass(slots=True, frozen=True)
class Watermarks(Chunk):
    """The control message of the exchanges' time, in its place between the ticks."""

    gateways: frozenset[str] = frozenset()


@dataclass(slots=True, frozen=True)
class EpochChange:
    """The control message of a new epoch, in its place between the ticks."""

    count: ClassVar[int] = 0
    data: bytes
    epoch: str
    sent: dict[str, int] = field(default_factory=dict)
    """Sequences to go on behind, were the stream to end right after it."""


class Backlog:
    """The frames of one symbol that a resumed subscriber missed, read from the ring piece by piece as it is written.

    So a stream that resumes far back costs no memory; what leaves the ring before its turn becomes a gap.
    """

    __slots__ = ("_gap_message", "_next", "_ring", "last", "missed")

    count = 0

    def __init__(self, ring: TickRing, after: int, gap_message: Callable[[str, int, int], bytes]) -> None:
        self._ring = ring
        self.missed = ring.sequence - max(after, ring.first_sequence - 1)
        self._next = after + 1
        self.last = ring.sequence
        self._gap_message = gap_message

    @property
    def symbol(self) -> str:
        """The symbol."""
        return self._ring.symbol

    def take(self) -> Chunk | None:
        """The next piece or a gap, None when nothing is left."""
        if self._next > self.last:
            return None
        ring = self._ring
        lost = min(ring.first_sequence - 1, self.last)
        if lost >= self._next:
            gap = Chunk(self._gap_message(ring.symbol, self._next, lost), sequences={ring.symbol: lost})
            self._next = lost + 1
            return gap
        last = min(self._next + BACKLOG_FRAMES - 1, self.last)
        frames = ring.frames(self._next, last)
        self._next = last + 1
        return Chunk(b"".join(frames), len(frames), {ring.symbol: last})
