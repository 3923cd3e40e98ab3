"""The processor that a platform in one process keeps to, and what runs on all of them."""

import json
import os
import subprocess
import sys

import psutil
import pytest

from tests.running import Running, until

ALL = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
pytestmark = pytest.mark.skipif(len(ALL) < 2, reason="there is one processor only, or a thread cannot choose")
SHOWN = "import os; print(sorted(os.sched_getaffinity(0)))"
PROGRAM = f"""
import asyncio, json, os, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from services.kernel.runtime import processors

def mine():
    return sorted(os.sched_getaffinity(0))

async def child():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", {SHOWN!r}, stdout=subprocess.PIPE)
    return json.loads((await process.communicate())[0])

async def free_child():
    with processors.children_use_all():
        return await child()

async def main():
    seen = {{"loop": mine(), "child": await child(), "free children": await asyncio.gather(free_child(), free_child())}}
    with ThreadPoolExecutor(1) as threads, ThreadPoolExecutor(1, initializer=processors.use_all) as free:
        seen |= {{"thread": threads.submit(mine).result(), "free thread": free.submit(mine).result()}}
    print(json.dumps(seen | {{"loop at last": mine()}}))

if sys.argv[1] == "one":
    processors.keep_to_one()
asyncio.run(main())
"""


def seen(processor: str) -> dict[str, list]:
    return json.loads(subprocess.check_output([sys.executable, "-c", PROGRAM, processor], timeout=60))


def test_threads_that_take_turns_share_one_processor_and_others_use_all():
    shown = seen("one")
    (one,) = shown["loop"]
    assert one in ALL
    assert shown["child"] == shown["thread"] == shown["loop at last"] == [one]
    assert shown["free thread"] == sorted(ALL) and shown["free children"] == [sorted(ALL)] * 2


def test_a_process_that_does_not_keep_to_one_uses_all():
    shown = seen("all")
    assert shown.pop("free children") == [sorted(ALL)] * 2
    assert set(map(tuple, shown.values())) == {tuple(sorted(ALL))}


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["one", "all"])
def test_a_platform_in_one_process_keeps_to_one_processor_and_its_children_to_none(tmp_path, processor):
    env = {"REDFIRE_PLATFORM__PROCESSOR": "all"} if processor == "all" else {}
    running = Running("--feed", "sim", "--demo", data_dir=tmp_path / "data", env=env)
    running.start(120)
    try:
        assert running.process is not None
        platform = psutil.Process(running.process.pid)
        until(lambda: {"envoy", "worker"} <= kinds(platform).keys(), 120)
        for children in kinds(platform).values():
            assert all(allowed(thread.id) == ALL for child in children for thread in child.threads())
        assert len(allowed(platform.pid)) == (1 if processor == "one" else len(ALL))
    finally:
        running.kill9(children_too=True)


def kinds(platform: psutil.Process) -> dict[str, list[psutil.Process]]:
    """Its child processes, by what they are."""
    by_kind: dict[str, list[psutil.Process]] = {}
    for child in platform.children(recursive=True):
        line = " ".join(child.cmdline())
        kind = "envoy" if "edge.yaml" in line else "worker" if "services.strategy.runner" in line else "other"
        by_kind.setdefault(kind, []).append(child)
    return by_kind


def allowed(thread_id: int) -> set[int]:
    return os.sched_getaffinity(thread_id)
