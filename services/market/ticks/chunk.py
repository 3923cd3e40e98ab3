"""Entries of a lossless subscriber's buffer: joined frames, control messages, and what is to be read from a ring."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from services.market.control_messages import TickControlMessages
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

    So a stream that resumes far back costs no memory; what leaves the ring before its turn becomes a gap. For one that
    takes watermarks the exchange's time is between the frames as it was when these came, and behind the last one.
    """

    __slots__ = ("_control", "_mark", "_next", "_ring", "_watermark_ns", "last", "missed")

    count = 0

    def __init__(self, ring: TickRing, after: int, control: TickControlMessages, watermark_ns: int | None) -> None:
        """`watermark_ns` is the time behind the last frame, 0 while it is not known; None for a stream without."""
        self._ring = ring
        self._watermark_ns = watermark_ns
        self._mark = 0
        self.missed = ring.sequence - max(after, ring.first_sequence - 1)
        self._next = after + 1
        self.last = ring.sequence
        self._control = control

    @property
    def symbol(self) -> str:
        """The symbol."""
        return self._ring.symbol

    def take(self) -> Chunk | None:
        """The next piece or a gap, None when nothing is left."""
        ring = self._ring
        if self._next > self.last:
            watermark_ns, self._watermark_ns = self._watermark_ns, None
            return self._time(watermark_ns) if watermark_ns else None
        last = min(self._next + BACKLOG_FRAMES - 1, self.last)
        lost = min(ring.first_sequence - 1, self.last)
        if self._watermark_ns is not None:
            mark, watermark_ns, following = ring.mark_at(max(self._next, lost + 1))
            if mark and mark != self._mark:
                self._mark = mark
                return self._time(watermark_ns)
            last = min(last, following - 1)
        if lost >= self._next:
            gap = Chunk(self._control.gap(ring.symbol, self._next, lost), sequences={ring.symbol: lost})
            self._next = lost + 1
            return gap
        frames = ring.frames(self._next, last)
        self._next = last + 1
        return Chunk(b"".join(frames), len(frames), {ring.symbol: last})

    def _time(self, watermark_ns: int) -> Chunk:
        return Chunk(self._control.symbol_watermark(self._ring.symbol, watermark_ns))
