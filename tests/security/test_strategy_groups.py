"""Control groups of strategies and backtests: nothing of a process tree escapes one, outgrows it or outlives it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from services.strategy.jobs.execution.job_spec import JobSpec
from services.strategy.jobs.execution.process import JobProcess, Limits
from services.strategy.jobs.job import Failure
from services.strategy.runner.main import WorkerConfig
from services.strategy.sandbox import control_groups
from services.strategy.sandbox.admission import Admission
from services.strategy.sandbox.control_group import ControlGroup, make_group
from services.strategy.sandbox.control_groups import ControlGroups, detect_groups
from services.strategy.sandbox.profile import Needs, Profiles
from services.strategy.sandbox.support import Support, detect
from services.strategy.settings import StrategySettings
from services.strategy.workers.worker_process import WorkerProcess
from tests.security.confined import Cell
from tests.waiting import until

SUPPORT = detect()
needs_groups = pytest.mark.skipif(SUPPORT.groups is None, reason="cgroup v2 is not mounted, or not this process's")
JOIN = """
import os, sys, time
from pathlib import Path
from services.strategy.sandbox.control_group import ControlGroup
ControlGroup(Path(sys.argv[1])).join()
"""
ESCAPE = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        print(os.getpid(), flush=True)
        time.sleep(600)
    os._exit(0)
os.wait()
"""
FORK_BOMB = """
children = 0
try:
    while children < 500:
        if os.fork() == 0:
            time.sleep(600)
        children += 1
except BlockingIOError:
    pass
print(children, flush=True)
"""
PLATFORM = """
import sys, subprocess
from pathlib import Path
from services.strategy.sandbox.control_groups import ControlGroups
from services.strategy.sandbox.control_group import ControlGroup
path = ControlGroups(Path(sys.argv[1]), frozenset()).new_path()
ControlGroup(path).make(1 << 30, 100)
print(path, flush=True)
subprocess.run([sys.executable, "-c", sys.argv[2], str(path)])
sys.stdin.read()
"""


def is_alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def start(code: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.fixture
def group() -> Iterator[Path]:
    """A group of this test's, for others below it."""
    assert SUPPORT.groups is not None
    path = SUPPORT.groups.new_path()
    path.mkdir()
    yield path
    for folder, _, _ in os.walk(path, topdown=False):
        with suppress(FileNotFoundError):
            (Path(folder) / "cgroup.kill").write_text("1")
        control_groups._remove(ControlGroup(Path(folder)))
    assert not path.exists()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the files that the kernel puts into a group with all controllers, as in `mkdir`."""

    class Kernel(type(tmp_path)):  # type: ignore[misc]
        def mkdir(self, *arguments: object, **options: object) -> None:
            super().mkdir(*arguments, **options)
            for name in ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cgroup.kill"):
                (self / name).write_text("")

    return Kernel(tmp_path / "group")


@needs_groups
async def test_new_sessions_and_double_forks_end_with_the_group(group):
    inner = ControlGroup(group / "inner")
    inner.make(1 << 30, 100)
    first = start(JOIN + ESCAPE, group / "inner")
    escaped = int(first.stdout.readline())
    assert first.wait(60) == 0
    assert is_alive(escaped) and os.getsid(escaped) == escaped
    await inner.remove()
    assert not (group / "inner").exists()
    await until(lambda: not is_alive(escaped))


@needs_groups
@pytest.mark.skipif(not SUPPORT.confines_files, reason="this kernel has no Landlock")
def test_a_double_fork_in_a_backtest_ends_with_it_and_cannot_leave_the_group(tmp_path):
    code = """
import json, os, sys, time
from pathlib import Path
left, membership = [], Path("/proc/self/cgroup").read_text()
for file in ("/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs", GROUP + "/../cgroup.procs"):
    try:
        Path(file).write_text("0")
        left.append(file)
    except OSError:
        pass
if os.fork() == 0:
    if (pid := os.fork()) == 0:
        for number in (0, 1, 2):
            os.close(number)
        time.sleep(600)
    print(json.dumps([pid, left, membership]), flush=True)
    os._exit(0)
os.wait()
"""
    cell = Cell(tmp_path, SUPPORT)
    pid, left, membership = cell.run(code.replace("GROUP", repr(str(SUPPORT.groups.folder))), processes=1).result
    assert not left and f"/redfire-{control_groups._namespace()}-{os.getpid()}-" in membership
    asyncio.run(until(lambda: not is_alive(pid)))


@needs_groups
def test_groups_of_a_killed_platform_are_removed_by_the_next_and_no_others(group):
    groups = ControlGroups(group, frozenset())
    dead = start(PLATFORM, group, JOIN + ESCAPE)
    alive = start(PLATFORM, group, JOIN + ESCAPE)
    left, escaped = Path(dead.stdout.readline().strip()), int(dead.stdout.readline())
    kept, running = Path(alive.stdout.readline().strip()), int(alive.stdout.readline())
    others = [group / name for name in ("redfire-other", "redfire-1-1-1-1", "system")]
    for other in others:
        other.mkdir()
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    assert left.is_dir() and is_alive(escaped)
    groups.remove_stale()
    assert not left.exists() and not is_alive(escaped)
    assert kept.is_dir() and is_alive(running) and all(other.is_dir() for other in others)
    alive.kill()
    alive.wait()
    groups.remove_stale()
    assert not kept.exists() and not is_alive(running)


@needs_groups
@pytest.mark.skipif(SUPPORT.groups is None or "pids" not in SUPPORT.groups.limits, reason="no pids.max in groups here")
async def test_a_fork_bomb_ends_at_the_groups_limit():
    path = SUPPORT.groups.new_path()
    group = ControlGroup(path)
    group.make(1 << 30, 20)
    bomb = start(JOIN + FORK_BOMB, path)
    children = int(bomb.stdout.readline())
    await group.remove()
    bomb.communicate(timeout=60)
    assert 0 < children < 20 and not path.exists()


@needs_groups
@pytest.mark.skipif(SUPPORT.groups is None or "memory" not in SUPPORT.groups.limits, reason="no memory.max here")
async def test_memory_of_all_processes_ends_at_the_groups_limit():
    path = SUPPORT.groups.new_path()
    group = ControlGroup(path)
    group.make(64 << 20, 100)
    try:
        hog = start(JOIN + "os.fork()\ntaken = [bytes([1]) * (1 << 20) for _ in range(500)]", path)
        hog.communicate(timeout=60)
        assert hog.returncode == -signal.SIGKILL and group.is_out_of_memory()
    finally:
        await group.remove()


def test_limits_are_written_where_the_kernel_has_them(files):
    made = ControlGroup(files)
    made.make(800, 300)
    values = {file.name: file.read_text() for file in files.iterdir()}
    assert values == {
        "memory.max": "900", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "300", "cgroup.kill": "",
    }  # fmt: skip
    made.allow_memory(400)
    assert (files / "memory.max").read_text() == "900"
    (files / "memory.max").write_text("")
    made.allow_memory(1600)
    assert (files / "memory.max").read_text() == "1800"
    made.kill()
    assert (files / "cgroup.kill").read_text() == "1"


def test_a_group_without_controllers_has_no_limits_and_no_files_are_made(tmp_path):
    made = ControlGroup(tmp_path / "group")
    made.make(1 << 20, 5)
    made.kill()
    assert not list((tmp_path / "group").iterdir()) and not made.is_out_of_memory()
    assert made.is_removed() and made.is_removed()


@pytest.mark.parametrize(("events", "is_out"), [("oom 3\noom_kill 1\n", True), ("oom 3\noom_kill 0\n", False)])
def test_a_kill_for_memory_is_seen(files, events, is_out):
    files.mkdir()
    (files / "memory.events").write_text(events)
    assert ControlGroup(files).is_out_of_memory() is is_out


async def test_an_end_by_the_groups_limit_is_an_end_for_memory(files, tmp_path):
    files.mkdir()
    (files / "memory.events").write_text("oom_kill 2\n")
    spec = JobSpec("job", "backtest", {}, str(tmp_path), str(tmp_path), "", "", str(tmp_path), 0, 1 << 30, 0, 1.0, None)
    job = JobProcess(spec, Limits(1.0, 2 << 30, 0, 0), tmp_path / "log")
    heartbeat = WorkerConfig("w", "", "", "", "", heartbeat_file=str(tmp_path / "heartbeat"))
    worker = WorkerProcess(heartbeat, StrategySettings, tmp_path / "log", lambda: 0.0)
    killed = "(signal SIGKILL)"
    assert killed in job._ended(-9).error and killed in worker._ended(-9).reason
    job._group = worker._group = ControlGroup(files)
    assert job._ended(-9).failure is Failure.OUT_OF_MEMORY and "2048 MiB" in job._ended(-9).error
    assert worker._ended(-9).reason == f"the worker used more than {1 << 30} bytes of memory"


@pytest.mark.parametrize(
    ("groups", "mounts", "expected"),
    [
        ("0::/a/b", "31 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "/sys/fs/cgroup/a/b"),
        ("1:cpu:/x\n0::/", "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 x rw", "/sys/fs/cgroup/unified"),
        ("0::/docker/c/d", "31 1 0:1 /docker/c /sys/fs/cgroup ro - cgroup2 cgroup2 rw", "/sys/fs/cgroup/d"),
        ("0::/other", "31 1 0:1 /docker/c /sys/fs/cgroup ro - cgroup2 cgroup2 rw", None),
        ("0::/../other", "31 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", None),
        ("1:cpu:/x", "31 1 0:1 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw", None),
        ("0::/", "31 1 0:1 / /sys rw - sysfs sysfs rw", None),
    ],
)
def test_the_own_group_is_found_by_its_mount(tmp_path, groups, mounts, expected):
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text(groups + "\n")
    (tmp_path / "self" / "mountinfo").write_text(mounts + "\n")
    assert control_groups._own_folder(tmp_path) == (Path(expected) if expected else None)


def test_a_folder_in_which_no_group_works_is_not_used(tmp_path, monkeypatch):
    """A container's file system of groups, which is there and does nothing."""
    monkeypatch.setattr(control_groups, "_own_folder", lambda proc: tmp_path)
    assert detect_groups() is None
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not os.access("/sys/fs/cgroup", os.R_OK), reason="no file system of control groups")
def test_a_machine_without_cgroup_v2_has_no_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(control_groups, "_PROC", tmp_path)
    assert detect_groups() is None


@needs_groups
def test_processes_of_a_delegated_group_move_below_it(group):
    """systemd marks it so; the kernel gives limits to groups only below one that has no processes itself."""
    try:
        os.setxattr(group, "user.delegate", b"1")
    except OSError:
        os.setxattr(group, "trusted.delegate", b"1")
    code = (
        JOIN
        + """
import json
from services.strategy.sandbox.control_groups import detect_groups
first = detect_groups()
again = detect_groups()
print(json.dumps([str(first.folder), str(again.folder), Path("/proc/self/cgroup").read_text()]), flush=True)
"""
    )
    first, again, membership = json.loads(start(code, group).communicate(timeout=60)[0])
    assert first == again == str(group)
    assert f"{group.name}/redfire-platform" in membership
    assert not (group / "cgroup.procs").read_text()


def test_each_sandbox_names_a_group_of_its_own_where_there_are_any():
    needs = Needs("0197f3a0-0000-7000-8000-00000000000b", [], [], 1, 1, processes=2)
    groups = ControlGroups(Path("/sys/fs/cgroup/unit"), frozenset())
    profiles = Profiles(Support(7, True, groups=groups), [])
    first, second = profiles.make(needs), profiles.make(needs)
    assert first.group != second.group and Path(first.group).parent == groups.folder
    assert first.group_tasks == second.group_tasks == 256 + 2 * 32
    without = Admission(Support(7, True), Profiles(Support(7, True), []), is_on=True).profile(needs)
    assert without["group"] == "" and make_group(without, 1) is None and make_group(None, 1) is None


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (None, "no cgroup v2"),
        (ControlGroups(Path("/unit"), frozenset()), "without limits"),
        (ControlGroups(Path("/unit"), frozenset({"pids", "memory"})), "(memory.max, pids.max)"),
    ],
)
def test_one_line_at_start_says_what_ends_process_trees(groups, words, caplog):
    support = Support(7, True, groups=groups)
    with caplog.at_level("INFO"):
        Admission(support, Profiles(support, []), is_on=True).announce()
    assert len(caplog.records) == 1 and words in caplog.text
    with caplog.at_level("INFO"):
        Admission(support, Profiles(support, []), is_on=False).announce()
    assert "sandbox=off" in caplog.text and caplog.text.count(words) == 1
