"""Entering the sandbox, once, from the process that is to be in it, while it has one thread and no user code."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.strategy.sandbox.control_group import ControlGroup
from services.strategy.sandbox.landlock import Ruleset
from services.strategy.sandbox.limits import limit
from services.strategy.sandbox.privileges import become_user, gain_no_privileges
from services.strategy.sandbox.profile import Profile
from services.strategy.sandbox.seccomp import FilterOptions, install

_TRUNCATE_ABI = 3


def enter_from(description: Mapping[str, Any] | None) -> None:
    """Enter the sandbox that a line of JSON describes, if it describes one. Raises OSError."""
    if description is not None:
        enter(Profile(**description))


def enter(profile: Profile) -> None:
    """Enter a sandbox. Raises OSError where the kernel does not take a part of it: then no user code may run.

    The signal by which the process ends with its parent is to be set after this.
    """
    _require_one_thread()
    if profile.group:
        ControlGroup(Path(profile.group)).join()
    ruleset = Ruleset(profile.landlock) if profile.landlock else None
    if ruleset is not None:
        ruleset.allow_reading(profile.read, without=profile.hidden)
        ruleset.allow_reading(_inside(profile.read, profile.hidden))
        ruleset.allow_writing(profile.write)
        ruleset.allow_connecting(profile.ports)
    if profile.user_id:
        become_user(profile.user_id)
    os.umask(0o077)
    limit(memory_bytes=profile.memory_bytes, file_bytes=profile.file_bytes, files=profile.files, tasks=profile.tasks)
    gain_no_privileges()
    if ruleset is not None:
        ruleset.enforce()
    options = FilterOptions(
        network=bool(profile.ports),
        processes=profile.processes,
        own_files=bool(profile.user_id),
        truncate=profile.landlock >= _TRUNCATE_ABI,
        signals=profile.signals,
    )
    install(options)


def _inside(read: Any, hidden: Any) -> list[str]:
    """Those that are named though they are below a hidden folder: a backtest's data is in the data folder."""
    folders = [Path(path).resolve() for path in hidden]
    return [path for path in read if any(folder in Path(path).resolve().parents for folder in folders)]


def _require_one_thread() -> None:
    """Raise RuntimeError beside other threads: what is enforced holds for this one and those that it starts."""
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise RuntimeError("a sandbox is entered before there are other threads")
