"""The files of a partition by their names: the range of checkpoints that a file covers, or what was imported."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.quant.archive.storage import Entry

COMPACT_BYTES = 16 * 1024 * 1024
"""Files above this size are not compacted again."""
IMPORTED = "imported.parquet"


@dataclass(frozen=True, slots=True)
class File:
    """A recorded file and the checkpoints it covers."""

    path: str
    first: int
    last: int
    entry: Entry


def file_name(first: int, last: int) -> str:
    """The name of a file that covers these checkpoints."""
    return f"{first:08d}-{last:08d}.parquet"


def listed(folder: str, entries: Iterable[Entry]) -> list[File]:
    """The recorded files of a partition, by range."""
    files = []
    for entry in entries:
        stem, _, kind = entry.name.partition(".")
        if kind == "parquet" and entry.name != IMPORTED:
            first, _, last = stem.partition("-")
            files.append(File(f"{folder}/{entry.name}", int(first), int(last), entry))
    files.sort(key=lambda file: (file.first, -file.last))
    return files


def kept(files: Iterable[File]) -> list[File]:
    """The files without those that a compacted one replaces."""
    remaining: list[File] = []
    for file in files:
        if not remaining or file.last > remaining[-1].last:
            remaining.append(file)
    return remaining


def small(files: Sequence[File]) -> list[File]:
    """The last files that are small: only neighbours, since ranges must not overlap."""
    last: list[File] = []
    for file in reversed(files):
        if file.entry.size > COMPACT_BYTES:
            break
        last.insert(0, file)
    return last
