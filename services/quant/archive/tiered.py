"""Files that are written to disk, move to a bucket when it takes them, and are read wherever they are.

So an archive is written though its bucket is away; nothing is read then that is not on disk. Imported files stay on
disk: other processes add to them.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from services.quant.archive.partition_files import IMPORTED, kept, listed
from services.quant.archive.s3 import S3Storage
from services.quant.archive.storage import SETTLED_NS, Entry, LocalStorage, Version, copy_file

_UNIONS = 8192


class TieredStorage:
    """Files of a folder and of a bucket. Raises OSError for what the bucket is asked while it is away."""

    def __init__(self, local: LocalStorage, remote: S3Storage) -> None:
        self._local = local
        self._remote = remote
        self._lock = threading.Lock()
        self._unions: dict[tuple[str, str], tuple[Any, Any, Any]] = {}
        self._copied: dict[str, Version] = {}
        """By path, the version of what stays on disk that this process has copied."""

    def folders(self, path: str) -> tuple[str, ...]:
        """The names of the folders in a folder."""
        return self._union("folders", path, lambda local, remote: tuple(sorted({*local, *remote})))

    def files(self, path: str) -> tuple[Entry, ...]:
        """The files in a folder, by name; one that is at both places is the one on disk."""
        return self._union("files", path, _joined)

    def open(self, path: str, version: Version | None = None) -> Any:
        """The file, for reading. Raises: FileNotFoundError, also when it is another version."""
        try:
            return self._local.open(path, version)
        except FileNotFoundError:
            if _stays(path):
                raise
            return self._remote.open(path, version)

    def write(self, path: str, write: Callable[[Any], None]) -> None:
        """Make the file on disk."""
        self._local.write(path, write)

    def remove(self, path: str) -> None:
        """Remove the file at both places."""
        self._remote.remove(path)
        self._local.remove(path)

    def replaced(self, paths: Iterable[str]) -> None:
        """Remove those on disk. Those of the bucket are removed when the new file is there."""
        self._local.replaced(paths)

    def changed(self, path: str) -> None:
        """Forget the listing of a folder."""
        self._local.changed(path)
        self._remote.changed(path)

    def check(self) -> None:
        """Raise OSError when there is no such bucket, or it is away."""
        self._remote.check()

    def upload(self, kind: str, moving: threading.Lock, is_ended: Callable[[], bool]) -> int:
        """Move the recorded files of a kind to the bucket, until `is_ended`; return the number of files.

        `moving` is held for each file: who compacts holds it, too. Raises: OSError when the bucket does not take one.
        """
        moved = 0
        for symbol in self._local.folders(kind):
            for day in self._local.folders(f"{kind}/{symbol}"):
                folder = f"{kind}/{symbol}/{day}"
                names = [entry.name for entry in self._local.files(folder) if not _stays(entry.name)]
                for name in names:
                    if is_ended():
                        return moved
                    with moving:
                        moved += self._move(f"{folder}/{name}")
                if names:
                    with moving:
                        self._remove_replaced(folder)
        marks = f"{kind}-superseded"
        for entry in self._local.files(marks):
            path = f"{marks}/{entry.name}"
            if self._copied.get(path) != entry.version and not is_ended():
                copy_file(self._local, self._remote, path)
                self._copied[path] = entry.version
        return moved

    def _move(self, path: str) -> bool:
        """Move a file; false when it is gone, since it was compacted meanwhile."""
        try:
            copy_file(self._local, self._remote, path)
        except FileNotFoundError:
            return False
        # Listings of the bucket show it from here on: nobody finds it at neither place.
        self._local.remove(path)
        return True

    def _remove_replaced(self, folder: str) -> None:
        files = listed(folder, self._remote.files(folder))
        remaining = {file.path for file in kept(files)}
        self._remote.replaced(file.path for file in files if file.path not in remaining)

    def _union(self, what: str, path: str, join: Callable[[Any, Any], Any]) -> Any:
        # The disk first: a file that left it meanwhile is in the bucket, as who lists that later sees.
        local = getattr(self._local, what)(path)
        self._remote.list_after(path, self._local.changed_ns(path) + SETTLED_NS)
        remote = getattr(self._remote, what)(path)
        with self._lock:
            known = self._unions.get((what, path))
            if known is not None and known[0] is local and known[1] is remote:
                return known[2]
            union = join(local, remote) if remote else local
            while len(self._unions) >= _UNIONS:
                self._unions.pop(next(iter(self._unions)))
            self._unions[what, path] = local, remote, union
            return union


def _joined(local: tuple[Entry, ...], remote: tuple[Entry, ...]) -> tuple[Entry, ...]:
    by_name = {entry.name: entry for entry in (*remote, *local)}
    return tuple(by_name[name] for name in sorted(by_name))


def _stays(path: str) -> bool:
    return path.rpartition("/")[2] == IMPORTED
