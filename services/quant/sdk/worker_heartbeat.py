"""The file through which a worker shows its supervisor whose code it is running: it outlives any death of the worker.

Layout: a header with the time of the worker's last sign of life, the number of slots in use, and the moment by which
the worker must have ended (CLOCK_BOOTTIME, 0: none; written by the supervisor). Then one slot per strategy: whose,
which callback, and since when (CLOCK_MONOTONIC, 0: not in user code). Processes of one machine share both clocks.
"""

import mmap
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SLOTS = 1024
_SLOT_SIZE = 256
_OWNER_SIZE = 200
_HEADER = struct.Struct("<q")
_USED = struct.Struct("<q")
_UNTIL = struct.Struct("<d")
_UNTIL_AT = _HEADER.size + _USED.size
_OWNER = struct.Struct(f"<{_OWNER_SIZE}s")
_CALL = struct.Struct("<40sq")
_SIZE = _SLOT_SIZE * (SLOTS + 1)


def boot_time() -> float:
    """Seconds that also pass while the machine sleeps; the same for all processes of a machine."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class RunningCallback:
    """User code that was running when the file was read."""

    owner: str
    callback: str
    seconds: float
    since_ns: int = 0
    """The moment of its begin, by the monotonic clock."""


class Slot:
    """One strategy's place in the file; written around each of its callbacks."""

    def __init__(self, memory: mmap.mmap, index: int) -> None:
        self.index = index
        self._memory = memory
        self._offset = _SLOT_SIZE * (index + 1)

    def own(self, owner: str) -> None:
        """Say whose slot it is: a strategy's id, or `import:FILE`."""
        _CALL.pack_into(self._memory, self._offset + _OWNER_SIZE, b"", 0)
        _OWNER.pack_into(self._memory, self._offset, owner.encode()[:_OWNER_SIZE])

    def begin(self, callback: bytes) -> None:
        """User code starts."""
        _CALL.pack_into(self._memory, self._offset + _OWNER_SIZE, callback, time.monotonic_ns())

    def beat(self) -> None:
        """The worker is alive, though its event loop waits."""
        _HEADER.pack_into(self._memory, 0, time.monotonic_ns())

    def end(self) -> None:
        """User code has come back."""
        _CALL.pack_into(self._memory, self._offset + _OWNER_SIZE, b"", 0)


class HeartbeatFile:
    """The file, mapped into memory: written by one worker, read by its supervisor."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _SIZE)
            self._file = os.dup(file.fileno())
        self._free = list(range(SLOTS - 1, -1, -1))

    @staticmethod
    def create(path: Path) -> "HeartbeatFile":
        """A new, empty file; an older one of the same name is replaced, not shared."""
        path.unlink(missing_ok=True)
        with path.open("xb") as file:
            file.truncate(_SIZE)
        path.chmod(0o600)
        return HeartbeatFile(path)

    def take(self, owner: str) -> Slot:
        """A slot for an owner."""
        slot = Slot(self._memory, self._free.pop())
        (used,) = _USED.unpack_from(self._memory, _HEADER.size)
        _USED.pack_into(self._memory, _HEADER.size, max(used, slot.index + 1))
        slot.own(owner)
        return slot

    def release(self, slot: Slot) -> None:
        """Give a slot back."""
        slot.own("")
        self._free.append(slot.index)

    def beat(self) -> None:
        """The worker's event loop is alive."""
        _HEADER.pack_into(self._memory, 0, time.monotonic_ns())

    def allow_until(self, moment: float) -> None:
        """Let the worker run until then, by `boot_time`, unless it is allowed longer meanwhile."""
        os.pwrite(self._file, _UNTIL.pack(moment), _UNTIL_AT)

    def is_over(self) -> bool:
        """Test whether the worker runs longer than it may: its supervisor stands still, or another runs its work."""
        (until,) = _UNTIL.unpack(self._read(_UNTIL_AT, _UNTIL.size))
        return 0 < until < boot_time()

    def last_beat_ns(self) -> int:
        """The moment of the last beat, by the monotonic clock; 0 before the first."""
        (beat_ns,) = _HEADER.unpack(self._read(0, _HEADER.size))
        return int(beat_ns)

    def running(self) -> Iterator[RunningCallback]:
        """The user code that is running now, or was when the worker died."""
        now_ns = time.monotonic_ns()
        (used,) = _USED.unpack(self._read(_HEADER.size, _USED.size))
        slots = self._read(_SLOT_SIZE, _SLOT_SIZE * min(max(used, 0), SLOTS))
        for offset in range(0, len(slots), _SLOT_SIZE):
            callback, since_ns = _CALL.unpack_from(slots, offset + _OWNER_SIZE)
            if since_ns:
                (owner,) = _OWNER.unpack_from(slots, offset)
                yield RunningCallback(_text(owner), _text(callback), (now_ns - since_ns) / 1e9, since_ns)

    def remove(self) -> None:
        """Delete the file."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmap it."""
        self._memory.close()
        os.close(self._file)

    def _read(self, offset: int, size: int) -> bytes:
        """The supervisor reads: who touches a map dies when user code shortens the file."""
        return os.pread(self._file, size, offset).ljust(size, b"\0")


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")
