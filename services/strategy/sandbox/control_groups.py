"""Control groups (cgroup v2) of users' processes: the place where this process may make them, and what others left.

The interface is that of the kernel's `Documentation/admin-guide/cgroup-v2.rst`. A group has limits of memory and tasks
where the group above has these controllers, which the kernel gives only to one without processes of its own: a service
manager's delegated group, whose processes are moved into a group below it, or the root of all.
"""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.strategy.sandbox.control_group import ControlGroup, write

_PROC = Path("/proc")
_LIMITS = ("memory", "pids")
_PLATFORM = "redfire-platform"
"""The group of the platform's own processes, below a delegated one."""
# Process ids mean nothing in another namespace of them, nor after the process of that id has ended.
_NAME = re.compile(r"redfire-(?P<namespace>\d+)-(?P<pid>\d+)-(?P<started>\d+)-\d+")
_MARKS = ("user.delegate", "trusted.delegate")
"""Attributes by which systemd says that a group is its processes' to manage."""
_ROUNDS = 10
_PAUSE_S, _LONGEST_S = 0.005, 1.0
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class ControlGroups:
    """The groups below a folder. `limits`: the controllers that they have."""

    folder: Path
    limits: frozenset[str]

    def new_path(self) -> Path:
        """The folder of a new group, which names the process that makes it."""
        owner = f"{_namespace()}-{os.getpid()}-{_started(os.getpid())}"
        return self.folder / f"redfire-{owner}-{next(_numbers)}"

    def remove_stale(self) -> None:
        """Kill and remove the groups of processes that are dead, and of no others."""
        for path in self.folder.glob("redfire-*"):
            match = _NAME.fullmatch(path.name)
            if match is None or int(match["namespace"]) != _namespace():
                continue
            if _started(int(match["pid"])) != int(match["started"]):
                _remove(ControlGroup(path))


def detect_groups() -> ControlGroups | None:
    """Try to make a group and to kill a process by it; None where that does not work. Removes stale groups."""
    if sys.platform != "linux" or (own := _own_folder(_PROC)) is None:
        return None
    for folder in _places(own):
        if _works(folder):
            groups = ControlGroups(folder, _controllers(folder))
            groups.remove_stale()
            return groups
    return None


def _places(own: Path) -> list[Path]:
    """Folders to try, the best first: a delegated one that has controllers for its groups, this process's own."""
    above = own.parent
    if _is_delegated(above) and (own.name == _PLATFORM or _controllers(above)):
        return [above, own]
    if _is_delegated(own):
        _move_processes(own)
    with suppress(OSError):
        write(own / "cgroup.subtree_control", " ".join(f"+{name}" for name in _offered(own)))
    return [own]


def _move_processes(delegated: Path) -> None:
    """Move all processes of a delegated group into one below it. Again, since they may start others meanwhile."""
    platform = delegated / _PLATFORM
    with suppress(OSError):
        platform.mkdir(exist_ok=True)
        for _ in range(_ROUNDS):
            pids = (delegated / "cgroup.procs").read_text().split()
            if not pids:
                return
            for pid in pids:
                with suppress(ProcessLookupError):
                    write(platform / "cgroup.procs", pid)


def _works(folder: Path) -> bool:
    path = ControlGroups(folder, frozenset()).new_path()
    try:
        path.mkdir()
    except OSError:
        return False
    group = ControlGroup(path)
    try:
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as waiting:  # nosec B603
            try:
                write(path / "cgroup.procs", waiting.pid)
                group.kill()
                return waiting.wait(_LONGEST_S) == -signal.SIGKILL
            finally:
                waiting.kill()
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        _remove(group)


def _remove(group: ControlGroup) -> None:
    end = time.monotonic() + _LONGEST_S
    while not group.is_removed() and time.monotonic() < end:
        group.kill()
        time.sleep(_PAUSE_S)


def _own_folder(proc: Path) -> Path | None:
    """The folder of this process's group in the file system of cgroup v2; None where that is not mounted."""
    try:
        groups = (proc / "self" / "cgroup").read_text().splitlines()
        mounts = (proc / "self" / "mountinfo").read_text().splitlines()
    except OSError:
        return None
    own = next((Path(line.removeprefix("0::")) for line in groups if line.startswith("0::")), None)
    for line in mounts:
        place, _, kind = line.partition(" - ")
        root, folder = place.split()[3:5]
        # A process that was moved out of its namespace's groups has `..` in its path.
        if own is not None and kind.startswith("cgroup2 ") and own.is_relative_to(root) and ".." not in own.parts:
            return Path(folder.replace("\\040", " ")) / own.relative_to(root)
    return None


def _controllers(folder: Path) -> frozenset[str]:
    """The limits that groups below have."""
    return _names(folder / "cgroup.subtree_control")


def _offered(folder: Path) -> frozenset[str]:
    return _names(folder / "cgroup.controllers")


def _names(file: Path) -> frozenset[str]:
    try:
        return frozenset(file.read_text().split()) & set(_LIMITS)
    except OSError:
        return frozenset()


def _is_delegated(folder: Path) -> bool:
    for mark in _MARKS:
        with suppress(OSError):
            if os.getxattr(folder, mark) == b"1":
                return True
    return False


def _namespace() -> int:
    return (_PROC / "self" / "ns" / "pid").stat().st_ino


def _started(pid: int) -> int:
    """The start of a process, in ticks since the machine's; 0 where there is none."""
    try:
        return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0
