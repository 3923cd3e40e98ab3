"""Profiles: the description of one process's sandbox, as the service makes it and the process gets it."""

import os
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import redfire.common.v1.common_pb2 as contract

import services
from services.strategy.sandbox.limits import count_tasks
from services.strategy.sandbox.support import Support, user_id_for

_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/bin", "/usr/bin", "/usr/share/zoneinfo",
    "/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf", "/etc/hosts", "/etc/ssl/certs",
    "/dev/zero", "/dev/random", "/dev/urandom",
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
)  # fmt: skip
_WRITABLE_DEVICES = ("/dev/null",)
_OF_PREFIX = ("lib", "lib64", "bin", "pyvenv.cfg")
# Address space beside the limit of memory: libraries, stacks and maps that are never touched.
SPARE_BYTES = 4 << 30
CODE = "code"
"""The folder, below the service's own, that shows this code to the processes."""
_FILES = 1024
_TASKS = 256
_TASKS_PER_PROCESS = 32


@dataclass(frozen=True, slots=True)
class Profile:
    """One process's sandbox. `landlock`: the version of its interface, 0: without it; `ports`: TCP ports that it may
    connect to; `user_id`: the one that it takes, 0: it keeps its own; `hidden`: what is not read though it is below a
    folder that is; `group`: the folder of its control group, empty without, and `group_tasks` the limit of that one."""

    read: Sequence[str]
    write: Sequence[str]
    hidden: Sequence[str]
    ports: Sequence[int]
    processes: bool
    memory_bytes: int
    file_bytes: int
    tasks: int
    landlock: int
    signals: bool
    user_id: int = 0
    files: int = _FILES
    group: str = ""
    group_tasks: int = 0


@dataclass(frozen=True, slots=True)
class Needs:
    """The needs of a process: an owner's folders, besides what Python itself needs. `processes`: how many others it
    starts; None: it may start none."""

    owner: str
    read: Sequence[Path]
    write: Sequence[Path]
    memory_bytes: int
    file_bytes: int
    ports: Sequence[int] = ()
    processes: int | None = None


class Profiles:
    """Makes profiles for this machine."""

    def __init__(self, support: Support, hidden: Iterable[Path]) -> None:
        """`hidden` are the folders of which nothing is shown but what a process needs by name."""
        self.support = support
        self._hidden = [str(path.absolute()) for path in hidden]

    def user_id(self, owner: str) -> int:
        """The user id of an owner's processes; 0 where they have this process's."""
        # Without Landlock what root alone may read, as the interpreter may be, would be out of reach, or all in it.
        return user_id_for(owner) if self.support.separate_users and self.support.landlock else 0

    def make(self, needs: Needs) -> Profile:
        """The profile of a process."""
        user_id = self.user_id(needs.owner)
        tasks = group_tasks = _TASKS + _TASKS_PER_PROCESS * (needs.processes or 0)
        if not user_id:
            tasks += count_tasks(os.getuid())
        return Profile(
            read=[*code_folders(), *_SYSTEM, *map(str, needs.read)],
            write=[*_WRITABLE_DEVICES, *map(str, needs.write)],
            hidden=self._hidden,
            ports=needs.ports,
            processes=needs.processes is not None,
            memory_bytes=needs.memory_bytes + SPARE_BYTES,
            file_bytes=needs.file_bytes,
            tasks=tasks,
            landlock=self.support.landlock,
            signals=bool(user_id) or self.support.confines_signals,
            user_id=user_id,
            group=str(self.support.groups.new_path()) if self.support.groups else "",
            group_tasks=group_tasks,
        )

    def give(self, owner: str, *paths: Path) -> None:
        """Make files and folders the owner's, for processes that run under a user id of their own."""
        if user_id := self.user_id(owner):
            for path in paths:
                os.chown(path, user_id, user_id, follow_symlinks=False)


@cache
def code_folders() -> tuple[str, ...]:
    """The folders of the interpreter, its libraries and this code: not the checkout that they may be in."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    found = [os.path.join(prefix, part) for prefix in sorted(prefixes) for part in _OF_PREFIX]  # noqa: PTH118
    found += [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), os.path.realpath(sys.executable)]
    found += [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    found += os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    found += [str(_services()), str(_services().parent / "gen"), str(_contract())]
    return tuple(dict.fromkeys(path for path in found if path))


def link_code(folder: Path) -> str:
    """The PYTHONPATH of a process: a folder that shows this code and nothing of the checkout that it may be in."""
    code = folder / CODE
    code.mkdir(mode=0o755, parents=True, exist_ok=True)
    for place in (_services(), _services().parent / "gen"):
        link = code / place.name
        if not place.is_dir() or (link.is_symlink() and link.readlink() == place):
            continue
        staged = code / f".{place.name}.{os.getpid()}"
        staged.unlink(missing_ok=True)
        staged.symlink_to(place)
        staged.replace(link)
    return os.pathsep.join((str(code.absolute()), str(_contract())))


def _services() -> Path:
    return Path(services.__path__[0]).resolve()


def _contract() -> Path:
    """The folder of the package `redfire`."""
    return Path(contract.__file__).resolve().parents[3]
