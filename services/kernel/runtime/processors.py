"""The one processor that the threads of a process share, where it keeps to one.

Threads of Python take turns: one at a time has the interpreter. On several processors each turn wakes a thread on
another one, and while the thread that has the interpreter waits for its processor, all wait. On one the order path's
p95 beside 10,000 streams is half as long, and an order costs a tenth less CPU (`tests.bench.streams`, `order_path`).
Work that leaves the interpreter alone goes on all processors: threads that `use_all`, and child processes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_all: set[int] = set()
_one: set[int] = set()
_starting = 0


def keep_to_one() -> None:
    """Keep this thread, and those it starts, to one processor; called before there are others.

    Nothing changes where there is one processor only, or the system does not let a thread choose.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) > 1:
        _all.update(processors)
        # By process id: platforms that start at the same time do not all choose the same one.
        _one.add(processors[os.getpid() % len(processors)])
        os.sched_setaffinity(0, _one)


def use_all() -> None:
    """Let this thread run on all of the process's processors."""
    if _all:
        os.sched_setaffinity(0, _all)


@contextmanager
def children_use_all() -> Iterator[None]:
    """Let child processes that this thread starts meanwhile run on all processors; they would keep to its own."""
    global _starting
    _starting += 1
    use_all()
    try:
        yield
    finally:
        _starting -= 1
        if _one and not _starting:
            os.sched_setaffinity(0, _one)
