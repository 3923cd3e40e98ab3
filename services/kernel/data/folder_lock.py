"""A lock on a folder that one process holds at a time."""

import fcntl
import os
from pathlib import Path

from services.kernel.errors import StartError


class FolderLock:
    """Holds a folder for one process, or for those that share it, also against `kill -9`: the kernel releases it."""

    def __init__(self, folder: Path, what: str, *, is_shared: bool = False) -> None:
        """Take the lock of an existing folder. `what` names the folder in errors; others may share a shared one.

        Raises: StartError when another process holds it, or the lock's file cannot be opened.
        """
        try:
            self._file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError(f"{what} {folder}: {error.strerror}") from None
        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(self._file, 32).decode().strip()
            os.close(self._file)
            raise StartError(f"{what} {folder} is in use by process {owner or 'unknown'}") from None
        os.ftruncate(self._file, 0)
        os.write(self._file, str(os.getpid()).encode())

    def release(self) -> None:
        """Release it."""
        os.close(self._file)
