"""One symbol's last tick and its ring of recent frames, which has no gap inside."""

from collections import deque
from itertools import islice
from typing import Generic, Protocol, TypeVar


class Tick(Protocol):
    """The fields of a parsed tick that routing reads."""

    symbol: str
    sequence: int
    gateway: str


T = TypeVar("T", bound=Tick)


class TickRing(Generic[T]):
    """The symbol's state; `sequence` is 0 until a tick was seen."""

    __slots__ = ("frame", "recent", "restored", "sequence", "symbol", "tick")

    def __init__(self, symbol: str, ring_frames: int) -> None:
        self.symbol = symbol
        self.sequence = 0
        self.frame = b""
        self.tick: T | None = None
        self.recent: deque[bytes] = deque(maxlen=ring_frames)
        self.restored = False
        """True while the last tick is one of an earlier run of ours."""

    @property
    def first_sequence(self) -> int:
        """The oldest one in the ring; above `sequence` when the ring is empty."""
        return self.sequence - len(self.recent) + 1

    def put(self, frame: bytes, tick: T, sequence: int) -> None:
        """Add the next tick. One that does not follow the last one starts the ring anew."""
        if sequence != self.sequence + 1:
            self.recent.clear()
        self.sequence = sequence
        self.frame = frame
        self.tick = tick
        self.recent.append(frame)

    def forget(self) -> None:
        """Another gateway serves the symbol: the ticks seen are not of its market."""
        self.frame, self.tick = b"", None
        self.recent.clear()

    def frames(self, first: int, last: int) -> list[bytes]:
        """The frames of these sequences; all of them must be in the ring."""
        start = first - self.first_sequence
        return list(islice(self.recent, start, start + last - first + 1))
