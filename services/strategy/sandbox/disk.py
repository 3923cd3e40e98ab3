"""Disk usage of users' code."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

_FILES = 10_000


def is_full(folder: Path, most_bytes: int) -> bool:
    """Return whether there are more bytes, or a flood of files; counts no further than that."""
    files = size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                size += os.lstat(os.path.join(path, name)).st_blocks * 512  # noqa: PTH118 — there may be many
            files += 1
            if size > most_bytes or files > _FILES:
                return True
    return False


def empty(folder: Path) -> None:
    """Delete all that is in a folder, and follow no link."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            with suppress(OSError):
                Path(entry.path).unlink()
