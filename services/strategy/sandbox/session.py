"""Ending a process with all that it has started: its session, which a confined process cannot leave."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil

_ROUNDS = 10


def kill_session(leader: int) -> None:
    """Kill the group and the session of a process that began them. Again, since they may start others meanwhile."""
    with suppress(ProcessLookupError, PermissionError):
        if os.getsid(leader) == leader:
            os.killpg(leader, signal.SIGKILL)
    for _ in range(_ROUNDS):
        left = list(session_members(leader))
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        if not left:
            return


def session_members(leader: int) -> Iterator[psutil.Process]:
    """The processes of the session that a process began, without that one and those that are dead."""
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if pid != leader and os.getsid(pid) == leader:
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    yield process
