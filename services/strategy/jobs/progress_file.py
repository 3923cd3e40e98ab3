"""The file through which a job's process shows how far it is: fixed in size, so that nobody can flood it."""

import mmap
import struct
from pathlib import Path

_NUMBERS = struct.Struct("<qq")
_MOST = 1 << 53


class ProgressFile:
    """Two numbers mapped into memory: written by the process, read by its keeper."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _NUMBERS.size)

    @staticmethod
    def create(path: Path) -> "ProgressFile":
        """A new one that says nothing yet."""
        path.write_bytes(bytes(_NUMBERS.size))
        return ProgressFile(path)

    def write(self, done: int, total: int) -> None:
        """So many of so many are done."""
        _NUMBERS.pack_into(self._memory, 0, done, total)

    def read(self) -> tuple[int, int]:
        """Done and total, whatever user code wrote there: no less than 0, and no more done than there is."""
        done, total = _NUMBERS.unpack_from(self._memory, 0)
        total = min(max(total, 0), _MOST)
        return min(max(done, 0), total), total

    def close(self) -> None:
        """Unmap it."""
        self._memory.close()
