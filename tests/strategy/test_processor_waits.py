"""A strategy is not blamed for time in which its process was ready and the machine was busy with others."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.strategy.workers.processor_waits import ProcessorWaits
from tests.waiting import until

SPIN = "while True: pass"


@pytest.fixture
def start():
    """Start Python processes on one processor, ended with the test."""
    processor = min(os.sched_getaffinity(0))
    started = []

    def run(code):
        process = subprocess.Popen([sys.executable, "-c", code])
        os.sched_setaffinity(process.pid, {processor})
        started.append(process)
        return process.pid

    yield run
    for process in started:
        process.kill()
        process.wait()


async def test_time_without_a_processor_does_not_count(start):
    starved = start(SPIN)
    os.sched_setscheduler(starved, os.SCHED_IDLE, os.sched_param(0))
    for _ in range(3):
        start(SPIN)
    waits = ProcessorWaits()
    waits.look(starved)
    since_ns = time.monotonic_ns()

    def long_enough():
        waits.look(starved)
        return time.monotonic_ns() - since_ns > 2_000_000_000

    await until(long_enough)
    assert waits.seconds_since(since_ns) < (time.monotonic_ns() - since_ns) / 2e9


async def test_time_asleep_counts(start):
    asleep = start("import time; time.sleep(60)")
    waits = ProcessorWaits()
    waits.look(asleep)
    # Once it has begun to sleep.
    await until(lambda: _state(asleep) == "S")
    waits.look(asleep)
    since_ns = time.monotonic_ns()

    def long_enough():
        waits.look(asleep)
        return waits.seconds_since(since_ns) > 0.5

    await until(long_enough)


def test_the_end_of_a_process_changes_nothing():
    waits = ProcessorWaits()
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    since_ns = time.monotonic_ns()
    waits.look(process.pid)
    assert waits.seconds_since(since_ns) >= 0


def _state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
