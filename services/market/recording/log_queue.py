"""Records that wait for the write-ahead log: runs of ticks and control messages, in order, and where its files begin.

Added to on the event loop, written by one other thread.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from redfire.engine.v1 import engine_pb2

from services.market.recording.tick_store import TickStore
from services.market.recording.tick_wal import Record


@dataclass(frozen=True, slots=True)
class Rotation:
    """A new file of the log begins here, with this record."""

    number: int
    first: Record


class LogQueue:
    """Records on their way to the log. Nothing leaves it before it is written, nor is written twice."""

    def __init__(self, store: TickStore) -> None:
        self._store = store
        self._items: deque[Record | Rotation] = deque()
        self._run: list[bytes] = []
        self.pending_bytes = 0
        """Bytes of ticks since the last run was closed."""
        self.position = 0
        """Position of the last tick of the open run."""
        self.records = 0
        """Records of the log's present file, those that wait counted in."""

    @property
    def is_empty(self) -> bool:
        """True when all of it is written."""
        return not self._items and not self._run

    def add_ticks(self, frames: Sequence[bytes]) -> None:
        """Add ticks to the open run; set `position` to where they end."""
        self._run.extend(frames)
        self.pending_bytes += sum(map(len, frames))

    def add_control(self, message: engine_pb2.StreamTicksResponse, position: int) -> None:
        """Add a control message, in its place between the ticks."""
        self.close_run()
        self._items.append(Record(position, message.SerializeToString()))
        self.records += 1

    def close_run(self) -> None:
        """Make one record of the ticks since the last one."""
        if self._run:
            self._items.append(Record(self.position, b"".join(self._run)))
            self.records += 1
            self._run = []
            self.pending_bytes = 0

    def rotate(self, number: int, first: engine_pb2.StreamTicksResponse, position: int) -> None:
        """Begin a new file of the log, with this message."""
        self.close_run()
        self._items.append(Rotation(number, Record(position, first.SerializeToString())))
        self.records = 1

    def write(self) -> None:
        """Write what waits (the log's thread). What is not written when it raises OSError waits further."""
        items = self._items
        while items:
            first = items[0]
            if isinstance(first, Rotation):
                self._store.rotate(first.number, first.first)
                items.popleft()
                continue
            records = list(takewhile(lambda item: isinstance(item, Record), tuple(items)))
            self._store.append(records)  # type: ignore[arg-type]
            for _ in records:
                items.popleft()
