"""Admission of users' code: whose strategies may run on a machine that cannot confine them, or is told not to."""

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.kernel.errors import FailedPrecondition
from services.strategy.sandbox.control_groups import ControlGroups
from services.strategy.sandbox.profile import Needs, Profiles
from services.strategy.sandbox.support import Support
from services.strategy.starter import Starter

log = logging.getLogger(__name__)
_HOW = "an administrator may run it, or the setting strategy.sandbox=off lets everybody's run unconfined"


class NoSandbox(FailedPrecondition):
    """The kernel cannot confine the strategy of somebody who is not the machine's owner."""


class Admission:
    """Decides what runs, and describes the sandbox in which it does."""

    def __init__(self, support: Support, profiles: Profiles, *, is_on: bool) -> None:
        self._support = support
        self._profiles = profiles
        self._is_on = is_on

    def announce(self) -> None:
        """Say at start what the machine's owner has to know."""
        if not self._is_on:
            log.warning(
                "strategy.sandbox=off: strategies and backtests run unconfined: their code can read"
                " every secret, key and database of this platform, and act as any of its users"
            )
        elif not self._support.confines_files:
            log.warning("this kernel has no Landlock: strategies and backtests are run for administrators alone")
        elif not self._support.confines_network:
            log.warning(
                "this kernel's Landlock (version %d) does not confine the network, as Linux 6.7 does: strategies that"
                " trade are run for administrators alone; backtests, which have no network, for everybody",
                self._support.landlock,
            )
        if self._is_on:
            log.info("strategies and backtests are ended with all that they started: %s", _end_of(self._support.groups))

    def require_strategy(self, starter: Starter) -> None:
        """Check that a strategy may be run for its starter. Raises NoSandbox."""
        if self._is_on and not self._support.confines_network and not starter.is_admin:
            raise NoSandbox(f"this machine's kernel cannot confine strategies (Landlock of Linux 6.7): {_HOW}")

    def require_job(self, starter: Starter) -> None:
        """Check that a backtest may be run for its starter. Raises NoSandbox."""
        if self._is_on and not self._support.confines_files and not starter.is_admin:
            raise NoSandbox(f"this machine's kernel cannot confine backtests (Landlock of Linux 5.13): {_HOW}")

    def refused_files(self, strategies_dir: Path | None) -> Mapping[str, str]:
        """Files that may not be imported unconfined, with the reason: those that are not the machine owner's."""
        if not self._is_on or self._support.confines_files or strategies_dir is None or not strategies_dir.is_dir():
            return {}
        return {
            path.name: f"it is another user's file, and this machine's kernel cannot confine it: {_HOW}"
            for path in strategies_dir.glob("*.py")
            if path.lstat().st_uid != os.getuid()
        }

    def profile(self, needs: Needs) -> dict[str, Any] | None:
        """The sandbox of a process, as JSON; None where there is to be none."""
        return asdict(self._profiles.make(needs)) if self._is_on else None

    def give(self, owner: str, *paths: Path) -> None:
        """Make files and folders those of an owner's processes."""
        if self._is_on:
            self._profiles.give(owner, *paths)


def _end_of(groups: ControlGroups | None) -> str:
    if groups is None:
        return "each has a session of its own; there is no cgroup v2 in which this platform may make groups"
    limits = ", ".join(f"{name}.max" for name in sorted(groups.limits)) or "without limits, which are not delegated"
    return f"each has a control group of its own in {groups.folder} ({limits})"
