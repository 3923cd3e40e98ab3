"""Limits of what a process may use: memory, files, processes."""

import os
import resource
from contextlib import suppress
from pathlib import Path


def limit(*, memory_bytes: int, file_bytes: int, files: int, tasks: int) -> None:
    """Limit address space, the size of a file, open files, and processes and threads of its user id. Raises OSError.

    What was limited further already stays so.
    """
    wanted = (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_NPROC, tasks),
    )
    for kind, most in wanted:
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def count_tasks(user_id: int) -> int:
    """The processes and threads that a user id has now: the kernel's limit counts them all."""
    tasks = 0
    for entry in os.scandir("/proc"):
        with suppress(OSError, ValueError):
            if entry.name.isdigit() and entry.stat().st_uid == user_id:
                tasks += sum(1 for _ in Path(entry.path, "task").iterdir())
    return tasks
