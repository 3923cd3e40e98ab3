"""The control group (cgroup v2) of one process and all that it starts: limits of all together, and one end for all.

The supervisor makes and removes it; the process joins it before it enters its sandbox, which lets nobody leave.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
_PAUSE_S = 0.01
_TRIES = 300
# Page tables, sockets and files' pages count in a group, and not in what the supervisor measures, which comes first.
_SPARE = 8


def make_group(sandbox: Mapping[str, Any] | None, memory_bytes: int) -> "ControlGroup | None":
    """Make the group that a sandbox names; None where it names none. Raises OSError."""
    if not sandbox or not sandbox["group"]:
        return None
    group = ControlGroup(Path(sandbox["group"]))
    group.make(memory_bytes, sandbox["group_tasks"])
    return group


class ControlGroup:
    """One group, by its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._memory_bytes = 0

    def make(self, memory_bytes: int, tasks: int) -> None:
        """Make it, with such limits as there are here. Raises OSError."""
        self._folder.mkdir()
        # A controller that the groups here do not have has no files, and none can be made.
        with suppress(OSError):
            write(self._folder / "pids.max", tasks)
        with suppress(OSError):
            write(self._folder / "memory.oom.group", 1)
            write(self._folder / "memory.swap.max", 0)
        self.allow_memory(memory_bytes)

    def allow_memory(self, memory_bytes: int) -> None:
        """Raise the limit of memory. A lower one is the supervisor's to enforce: writing it would wait."""
        if memory_bytes > self._memory_bytes:
            self._memory_bytes = memory_bytes
            with suppress(OSError):
                write(self._folder / "memory.max", memory_bytes + memory_bytes // _SPARE)

    def join(self) -> None:
        """Put this process into it. Raises OSError."""
        write(self._folder / "cgroup.procs", 0)

    def kill(self) -> None:
        """Kill all that is in it, and what is being started."""
        with suppress(OSError):
            write(self._folder / "cgroup.kill", 1)

    def is_out_of_memory(self) -> bool:
        """True once the kernel has killed something in it for its limit of memory."""
        try:
            lines = (self._folder / "memory.events").read_text().splitlines()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)

    def is_removed(self) -> bool:
        """Remove it, if nothing lives in it; True when it is gone."""
        try:
            self._folder.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    async def remove(self) -> None:
        """Kill what is in it, and remove it. What the kernel cannot kill yet is left to the next start."""
        for _ in range(_TRIES):
            if self.is_removed():
                return
            self.kill()
            await asyncio.sleep(_PAUSE_S)
        log.warning("the control group %s has processes that do not end", self._folder.name)


def write(file: Path, value: object) -> None:
    """Write to a file of a group, which is there or not: none can be made. Raises OSError."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode())
    finally:
        os.close(descriptor)
