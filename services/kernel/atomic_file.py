"""Files that are replaced in one step."""

import os
from pathlib import Path

PRIVATE = 0o600
"""The mode of files that only their owner may read."""


def write_atomically(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file that is whole or not there, also after a crash: readers see the old content or the new.

    `mode`, less the process's umask, holds from the file's first moment: nobody else can open it in between.
    Raises OSError.
    """
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    staged.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
