"""The kernel's support for sandboxes: asked here alone, so that a test can take it away."""

import ctypes
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from services.strategy.sandbox.control_groups import ControlGroups, detect_groups

_CREATE_RULESET = 444
_VERSION_ONLY = 1
# From a fixed range that no distribution gives to people or services; users of one machine rarely share one of them.
_FIRST_UID = 1_950_000_000
_UIDS = 10_000_000
_NETWORK_ABI = 4
_SIGNAL_ABI = 6


@dataclass(frozen=True, slots=True)
class Support:
    """Support of this machine. `landlock`: the version of its interface, 0 without it; `seccomp`: system calls can be
    filtered; `separate_users`: this process may give others a user id of their own; `groups`: the control groups that
    it may make for them, None without."""

    landlock: int = 0
    seccomp: bool = False
    separate_users: bool = False
    groups: ControlGroups | None = None

    @property
    def confines_files(self) -> bool:
        """True when a process can be kept from files and, by its system calls, from all networks: backtests."""
        return self.landlock > 0 and self.seccomp

    @property
    def confines_network(self) -> bool:
        """True when a process can besides be kept to some ports: strategies that trade (Linux 6.7)."""
        return self.landlock >= _NETWORK_ABI and self.seccomp

    @property
    def confines_signals(self) -> bool:
        """True when a process can be kept from signals to processes outside (Linux 6.12)."""
        return self.landlock >= _SIGNAL_ABI


def detect() -> Support:
    """Ask the kernel, and try what it only says by doing it."""
    return Support(landlock_abi(), _has_seccomp(), _may_separate_users(), detect_groups())


def landlock_abi() -> int:
    """The version of Landlock's interface; 0 where the kernel has none, or has it turned off."""
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    return max(int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION_ONLY))), 0)


def user_id_for(owner: str) -> int:
    """The user id under which an owner's processes run, where they have one of their own."""
    return _FIRST_UID + int.from_bytes(owner.encode()[-8:], "big") % _UIDS


def _has_seccomp() -> bool:
    return platform.machine() in ("x86_64", "aarch64") and Path("/proc/sys/kernel/seccomp/actions_avail").exists()


def _may_separate_users() -> bool:
    """Return whether this is root, with all user ids: in a container it may have a few only."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return False
    ranges = [tuple(map(int, line.split())) for line in lines]
    return any(first <= _FIRST_UID and first + count >= _FIRST_UID + _UIDS for first, _, count in ranges)
