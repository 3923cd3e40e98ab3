"""Storage of an archive: folders of files that are there whole or not at all."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol, TypeVar

from services.kernel.data.folder_fence import FolderFence

T = TypeVar("T")
Version = tuple[Any, ...]
"""Identity of a file's content: another one of the same name has another version."""
SETTLED_NS = 2_000_000_000
"""Time after a folder's change in which it is listed anew each time."""
_LISTINGS = 8192
_TRIES = 8
UNFINISHED = ".unfinished"
WHOLE_BYTES = 1 << 20
"""Files up to this size are read at once: pyarrow asks a file for many small pieces."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a folder: its name, size in bytes and the time at which it was written (ns)."""

    name: str
    version: Version
    size: int
    written_ns: int


class Storage(Protocol):
    """Files by path, `/` between the parts. Blocking; threads share it.

    Listings are the same object for as long as nothing changed, so that what was made of one can be kept.
    """

    def folders(self, path: str) -> tuple[str, ...]:
        """The names of the folders in a folder."""

    def files(self, path: str) -> tuple[Entry, ...]:
        """The files in a folder, by name."""

    def open(self, path: str, version: Version | None = None) -> Any:
        """The file, for reading. Raises: FileNotFoundError, also when it is another version."""

    def write(self, path: str, write: Callable[[Any], None]) -> None:
        """Make the file of what `write` writes, whole or not at all, in place of one of the same name."""

    def remove(self, path: str) -> None:
        """Remove the file, and a folder that is empty then."""

    def replaced(self, paths: Iterable[str]) -> None:
        """Remove files that a new one replaces, at once or when that is safe."""

    def changed(self, path: str) -> None:
        """Forget the listing of a folder: another process changed it, or files of it are gone."""


def copy_file(source: Storage, target: Storage, path: str) -> None:
    """Copy a file from one place to the other. Raises: FileNotFoundError."""
    with source.open(path) as file:
        content = file.read()
    target.write(path, lambda copy: copy.write(content))


class LocalStorage:
    """Files on disk. A file is written under another name, flushed to disk and renamed.

    With a fence only the folder's present holder writes and removes; others raise FencedError.
    """

    def __init__(self, root: Path, fence: FolderFence | None = None) -> None:
        self._root = os.fspath(root)
        self._fence = fence
        self._lock = threading.Lock()
        self._listings: dict[str, tuple[int, bool, Any]] = {}
        """By folder: when it was changed, whether that was long ago, and what was in it."""

    def folders(self, path: str) -> tuple[str, ...]:
        """The names of the folders in a folder."""
        return self._listed(f"{self._root}/{path}", _folders, ())

    def files(self, path: str) -> tuple[Entry, ...]:
        """The files in a folder, by name."""
        return self._listed(f"{self._root}/{path}", _files, ())

    def open(self, path: str, version: Version | None = None) -> Any:
        """The file, for reading. Raises: FileNotFoundError, also when it is another version."""
        file = Path(self._root, path).open("rb")  # noqa: SIM115 the caller closes it
        stat = os.fstat(file.fileno())
        if version is not None and _version(stat) != version:
            file.close()
            raise FileNotFoundError(path)
        if stat.st_size > WHOLE_BYTES:
            return file
        with file:
            return BytesIO(file.read())

    def write(self, path: str, write: Callable[[Any], None]) -> None:
        """Make the file of what `write` writes, in place of one of the same name. Raises: OSError."""
        target = Path(self._root, path)
        if self._fence is not None:
            self._write_fenced(self._fence, target, write)
            return
        unfinished = target.with_suffix(UNFINISHED)
        with _created(unfinished) as file:
            _write(file, write)
        unfinished.replace(target)

    @staticmethod
    def _write_fenced(fence: FolderFence, target: Path, write: Callable[[Any], None]) -> None:
        staged = fence.staged(target.name)
        try:
            with fence.opened(staged) as file:
                _write(file, write)
            for _ in range(_TRIES):
                target.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # the folder was removed just now, since it was empty
                    fence.place(staged, target)
                    return
            raise FileNotFoundError(target)
        finally:
            staged.unlink(missing_ok=True)

    def remove(self, path: str) -> None:
        """Remove the file, and a folder that is empty then."""
        target = Path(self._root, path)
        if self._fence is not None:
            self._fence.remove(target)
        else:
            target.unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            target.parent.rmdir()

    def replaced(self, paths: Iterable[str]) -> None:
        """Remove files that a new one replaces."""
        for path in paths:
            self.remove(path)

    def changed_ns(self, path: str) -> int:
        """The time at which files of a folder, or the folder itself, last came or went; 0 when that is not known."""
        while path:
            try:
                return os.stat(f"{self._root}/{path}").st_mtime_ns  # noqa: PTH116 as below
            except (FileNotFoundError, NotADirectoryError):
                path = path.rpartition("/")[0]
        return 0

    def changed(self, path: str) -> None:
        """List the folder anew, though its time may not say that it changed."""
        folder = f"{self._root}/{path}"
        with self._lock:
            if folder in self._listings:
                changed_ns, _, listing = self._listings[folder]
                self._listings[folder] = changed_ns, False, listing

    def _listed(self, folder: str, read: Callable[[str], T], nothing: T) -> T:
        try:
            changed_ns = os.stat(folder).st_mtime_ns  # noqa: PTH116 a Path takes longer than the call
        except (FileNotFoundError, NotADirectoryError):
            return nothing
        with self._lock:
            known = self._listings.get(folder)
        if known is not None and known[1] and known[0] == changed_ns:
            return known[2]
        # A folder that changed just now may change again without its time showing it.
        settled = time.time_ns() - changed_ns > SETTLED_NS
        try:
            listing = _retried(read, folder)
        except (FileNotFoundError, NotADirectoryError):
            return nothing
        if known is not None and known[2] == listing:
            listing = known[2]
        with self._lock:
            while len(self._listings) >= _LISTINGS:
                self._listings.pop(next(iter(self._listings)))
            self._listings[folder] = changed_ns, settled, listing
        return listing


def _write(file: Any, write: Callable[[Any], None]) -> None:
    write(file)
    file.flush()
    os.fsync(file.fileno())


def _created(path: Path) -> Any:
    """A new file in a folder that may just have been removed, since it was empty."""
    for _ in range(_TRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return path.open("wb")
    raise FileNotFoundError(path)


def _retried(read: Callable[[str], T], folder: str) -> T:
    """List again when files were removed meanwhile: what replaced them may not have been listed."""
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            return read(folder)
    return read(folder)


def _folders(folder: str) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        return tuple(sorted(entry.name for entry in entries))


def _files(folder: str) -> tuple[Entry, ...]:
    with os.scandir(folder) as entries:
        files = [(entry.name, entry.stat()) for entry in entries if not entry.name.endswith(UNFINISHED)]
    return tuple(Entry(name, _version(stat), stat.st_size, stat.st_mtime_ns) for name, stat in sorted(files))


def _version(stat: os.stat_result) -> Version:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
