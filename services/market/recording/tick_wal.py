"""The write-ahead log: the ticks since the last checkpoint, appended to one file as they came.

A record is its length and CRC-32 (both little-endian, 4 bytes) and a batch's bytes. A record that a kill tore off ends
the reading. Appending hands the bytes to the operating system: they outlive the process, but not a power failure.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct("<II")


class TickWal:
    """One open file; used by the writer thread only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("ab", buffering=0)

    def append(self, batch: bytes) -> None:
        """Add a record."""
        self._file.write(_HEADER.pack(len(batch), zlib.crc32(batch)) + batch)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> Iterator[bytes]:
    """The whole records of a log in order; nothing when there is none. The torn rest is cut off the file."""
    if not path.exists():
        return
    whole = 0
    with path.open("rb") as file:
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            length, checksum = _HEADER.unpack(header)
            batch = file.read(length)
            if len(batch) != length or zlib.crc32(batch) != checksum:
                break
            whole = file.tell()
            yield batch
    if path.stat().st_size > whole:
        with path.open("r+b") as file:
            file.truncate(whole)
