"""Fence of a folder that replicas share: of two that write to it, the one whose lease began earlier writes no more.

A process that stood still may go on in the middle of a write, long after another one has taken its lease over, and a
file system asks nobody's lease. So each holder has a folder of its own in it, named after the lease's epoch, and all
that it does to the shared files is to move something from there, or to there: a rename is there or not, and fails
once that folder is gone. A successor first removes the folders of those before it.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO

_PREFIX = "holder-"
_ENDED = "ended-"
_numbers = count(1)


class FencedError(OSError):
    """Another process has taken the folder over: nothing was written."""


class FolderFence:
    """A holder's part of a shared folder; threads share it, and processes that work for the holder."""

    def __init__(self, folder: Path, epoch: int) -> None:
        """`epoch` is that of the lease: of two holders the later one has the greater."""
        self.folder = folder
        self.epoch = epoch

    def take(self, is_held: Callable[[], bool]) -> None:
        """Shut out all holders before this one. `is_held`: the lease is certainly held at this moment.

        Raises: FencedError where a later holder is there already.
        """
        self.staging.mkdir(parents=True, exist_ok=True)
        while later := [epoch for epoch, _ in _holders(self.folder) if epoch > self.epoch]:
            self.leave()
            # Asked after the look. With the lease held, those numbers are of leases in another database, now gone.
            if not is_held():
                raise FencedError(f"{self.folder} is another replica's by now")
            self.epoch = max(later) + 1
            self.staging.mkdir()
        for epoch, path in _holders(self.folder):
            if epoch < self.epoch:
                with suppress(FileNotFoundError):
                    path.rename(self._ended(path))
        for ended in self.folder.glob(f"{_ENDED}{_PREFIX}*"):
            shutil.rmtree(ended, ignore_errors=True)

    @property
    def staging(self) -> Path:
        """The holder's folder."""
        return self.folder / f"{_PREFIX}{self.epoch:012d}"

    def staged(self, name: str) -> Path:
        """A new name in the holder's folder, for a file that is placed when it is whole."""
        return self.staging / f"{name}.{os.getpid()}-{next(_numbers)}"

    def place(self, staged: Path, target: Path) -> None:
        """Move a file from the holder's folder to its place, instead of one there. Raises: FencedError."""
        with self._fenced():
            staged.replace(target)

    def write(self, target: Path, content: bytes) -> None:
        """Write a file that is whole or not there, on disk when this returns. Raises: OSError, FencedError."""
        staged = self.staged(target.name)
        try:
            with self.opened(staged) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self.place(staged, target)
        finally:
            staged.unlink(missing_ok=True)

    def opened(self, staged: Path) -> BinaryIO:
        """A new file in the holder's folder, for writing. Raises: OSError, FencedError."""
        with self._fenced():
            return staged.open("xb")

    def remove(self, target: Path) -> None:
        """Remove a file, if it is there. Raises: FencedError."""
        staged = self.staged("removed")
        with suppress(FileNotFoundError), self._fenced():
            target.rename(staged)
        staged.unlink(missing_ok=True)

    def leave(self) -> None:
        """Write no more: a later call of another method raises."""
        ended = self._ended(self.staging)
        with suppress(FileNotFoundError):
            self.staging.rename(ended)
        shutil.rmtree(ended, ignore_errors=True)

    def _ended(self, staging: Path) -> Path:
        return self.folder / f"{_ENDED}{staging.name}-{os.getpid()}-{next(_numbers)}"

    @contextmanager
    def _fenced(self) -> Iterator[None]:
        """Tell a file that is missing from the holder's folder that is gone."""
        try:
            yield
        except FileNotFoundError as error:
            if self.staging.is_dir():
                raise
            raise FencedError(f"{self.folder} is another replica's by now") from error


def _holders(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in sorted(folder.glob(f"{_PREFIX}*")):
        number = path.name.removeprefix(_PREFIX)
        if number.isdigit():
            yield int(number), path
