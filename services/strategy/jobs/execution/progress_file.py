"""The file through which a job's process reports its progress: fixed in size, so that it cannot be flooded."""

import mmap
import os
import struct
from pathlib import Path

_NUMBERS = struct.Struct("<qq")
_MOST = 1 << 53


class ProgressFile:
    """Two numbers, written by the process through a map of the file: no call for a step."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _NUMBERS.size)

    def write(self, done: int, total: int) -> None:
        """Write that `done` of `total` are done."""
        _NUMBERS.pack_into(self._memory, 0, done, total)

    def close(self) -> None:
        """Unmap it."""
        self._memory.close()


class ProgressReader:
    """The same file in the service: read, not mapped, since a map of a file that is shortened kills its process."""

    def __init__(self, path: Path) -> None:
        """Create a file without progress."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.write(self._file, bytes(_NUMBERS.size))

    def read(self) -> tuple[int, int]:
        """Done and total, whatever user code wrote there: no less than 0, and no more done than there is."""
        done, total = _NUMBERS.unpack(os.pread(self._file, _NUMBERS.size, 0).ljust(_NUMBERS.size, b"\0"))
        total = min(max(total, 0), _MOST)
        return min(max(done, 0), total), total

    def close(self) -> None:
        """Close it."""
        os.close(self._file)
