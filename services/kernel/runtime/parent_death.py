"""The end of a child process with its parent: on Linux the kernel kills it then (prctl, PR_SET_PDEATHSIG).

Run as a program it becomes another program that is bound so: `python parent_death.py PARENT COMMAND ARGUMENT…`.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def end_with_parent(parent: int) -> None:
    """Have this process killed when `parent`, its parent's process id, ends. It exits at once if that has ended."""
    if sys.platform != "linux":
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # A parent that died before the call is seen by its id.
    if os.getppid() != parent:
        os._exit(0)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process instead of init's."""
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value)


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 # nosec B606
