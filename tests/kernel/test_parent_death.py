"""Child processes that end with their parent."""

import subprocess
import sys

import psutil
import pytest

from services.kernel.runtime import parent_death
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
SLEEPER = "import time; print('ready', flush=True); time.sleep(600)"
PARENT = f"""
import os, subprocess, sys, time
command = [sys.executable, "-I", "-S", {parent_death.__file__!r}, str(os.getpid()), sys.executable, "-c", {SLEEPER!r}]
child = subprocess.Popen(command, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_a_bound_program_is_killed_when_its_parent_is():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not ended(child)
    finally:
        parent.kill()
        parent.communicate()
    await until(lambda: ended(child), 10)


def test_a_program_whose_parent_has_ended_already_does_not_begin():
    command = [sys.executable, "-I", "-S", parent_death.__file__, "1", sys.executable, "-c", "print('began')"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (run.returncode, run.stdout) == (0, "")
