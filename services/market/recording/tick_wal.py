"""The write-ahead log: what the engine's stream said, in order, and where in its epoch that is.

A record is its length and CRC-32 (little-endian, 4 bytes each), a position (8 bytes, signed) and an encoded
`engine.v1.StreamTicksResponse`: ticks, or a control message (`started`, a heartbeat's watermarks, `feed_ended`). The
checksum covers position and message. Position is that of the last tick; the epoch is the last `started`'s, and every
file begins with one. A record that a kill tore off ends the reading. Appending hands the bytes to the operating system:
they outlive the process, but not a power failure.

Until version 2 a file (`journal-…`) had records of length, CRC-32 and ticks.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

_LENGTH = struct.Struct("<II")
_HEADER = struct.Struct("<IIq")
_POSITION = struct.Struct("<q")


class Record(NamedTuple):
    """One message of the stream, and the position in its epoch behind it."""

    position: int
    message: bytes


class TickWal:
    """One open file; used by one thread. It goes on where the file is moved to."""

    def __init__(self, path: Path) -> None:
        """Open the file; one that is there goes on at its end, which `read` has cut off to whole records."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self.size = os.fstat(self._file).st_size

    def append(self, records: Sequence[Record]) -> None:
        """Add records: all of them or none.

        Raises: OSError when the disk does not take them; what it took is cut off again, and the next ones go there.
        """
        data = memoryview(b"".join(part for record in records for part in _encode(record)))
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._file, data[written:], self.size + written)
        except OSError:
            if written:
                os.ftruncate(self._file, self.size)
            raise
        self.size += written

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read(path: Path) -> Iterator[Record]:
    """The whole records of a log in order. The torn rest is cut off the file."""
    with path.open("rb") as file:
        yield from _whole(file)
        whole = file.tell()
    if path.stat().st_size > whole:
        os.truncate(path, whole)


def read_open(path: Path) -> Iterator[Record]:
    """The whole records of a log that is being written. Raises: FileNotFoundError."""
    with path.open("rb") as file:
        yield from _whole(file)


def copy(path: Path, target: BinaryIO) -> None:
    """Copy the whole records of a log that may still be written. Raises: FileNotFoundError."""
    with path.open("rb") as file:
        for _ in _whole(file):
            pass
        size = file.tell()
        file.seek(0)
        target.write(file.read(size))


def _whole(file: BinaryIO) -> Iterator[Record]:
    """The records from here on; the file is behind the last whole one then."""
    while True:
        whole = file.tell()
        header = file.read(_HEADER.size)
        if len(header) == _HEADER.size:
            length, checksum, position = _HEADER.unpack(header)
            message = file.read(length)
            if len(message) == length and zlib.crc32(message, zlib.crc32(header[_LENGTH.size :])) == checksum:
                yield Record(position, message)
                continue
        file.seek(whole)
        return


def read_version_1(path: Path) -> Iterator[Record]:
    """The whole records of a log of version 1, which knew no positions."""
    with path.open("rb") as file:
        while len(header := file.read(_LENGTH.size)) == _LENGTH.size:
            length, checksum = _LENGTH.unpack(header)
            message = file.read(length)
            if len(message) != length or zlib.crc32(message) != checksum:
                break
            yield Record(0, message)


def _encode(record: Record) -> tuple[bytes, bytes]:
    position = _POSITION.pack(record.position)
    checksum = zlib.crc32(record.message, zlib.crc32(position))
    return _HEADER.pack(len(record.message), checksum, record.position), record.message
