"""The disk under a platform's data folder: small enough to be filled, and read-only by folder. As root; else nothing.

A file system in memory of its own, so that what is full is this folder alone. Read-only is a second mount of a folder
on itself: what is opened from then on cannot be written, and what was open before goes on, as on a disk whose errors
are only noticed by who asks anew.
"""

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

SIZE_MB = 512
FILLER = "filler"
PIECE = 1 << 20


class DataDisk:
    """A mounted file system of its own at a folder."""

    def __init__(self, folder: Path, size_mb: int = SIZE_MB, owner: str | None = None) -> None:
        """`owner` is the user who writes there, where that is another one."""
        self._folder = folder
        self._read_only: set[Path] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self.is_mounted = _mount(folder, size_mb)
        """False where this process may not mount."""
        if owner is not None:
            shutil.chown(folder, owner)

    def fill(self) -> None:
        """Leave no byte free."""
        with (self._folder / FILLER).open("ab", buffering=0) as filler:
            for size in (PIECE, 4096, 1):
                with suppress(OSError):
                    while filler.write(b"\0" * size) == size:
                        continue

    def empty(self) -> None:
        """Give the room back."""
        (self._folder / FILLER).unlink(missing_ok=True)

    def forbid(self, name: str) -> None:
        """Have a folder of the disk opened for reading alone."""
        folder = self._folder / name
        _require("mount", "--bind", folder, folder)
        self._read_only.add(folder)
        _require("mount", "-o", "remount,bind,ro", folder)

    def allow(self, name: str) -> None:
        """Have it opened for writing again."""
        folder = self._folder / name
        # Lazily: what was opened in it stays open.
        _require("umount", "-l", folder)
        self._read_only.discard(folder)

    def close(self, keep: str = "") -> None:
        """Unmount; a folder of it stays, beside the folder."""
        if self.is_mounted and keep:
            with suppress(FileNotFoundError):
                shutil.copytree(self._folder / keep, self._folder.with_name(keep), dirs_exist_ok=True)
        for folder in (*self._read_only, *([self._folder] if self.is_mounted else [])):
            _run("umount", "-l", folder)
        self._read_only.clear()
        self.is_mounted = False


def can_mount() -> bool:
    """Test that this process may mount, by a file system that is gone at once."""
    with tempfile.TemporaryDirectory(prefix="rf-mount-") as name:
        return _mount(Path(name)) and _run("umount", name)


def _mount(folder: Path, size_mb: int = SIZE_MB) -> bool:
    return _run("mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0755", "redfire-chaos", folder)


def _run(*command: str | Path) -> bool:
    if os.geteuid() != 0:
        return False
    return subprocess.run([str(word) for word in command], capture_output=True, check=False).returncode == 0


def _require(*command: str | Path) -> None:
    if not _run(*command):
        raise AssertionError(f"{' '.join(map(str, command))} failed")
