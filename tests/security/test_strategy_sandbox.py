"""The sandbox of strategies, attacked from inside by programs of every kind that a strategy file could be."""

import json
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from services.strategy.sandbox.support import Support, detect
from tests.security.confined import Cell

SUPPORT = detect()
needs_landlock = pytest.mark.skipif(
    not SUPPORT.confines_network, reason="this kernel's Landlock is older than Linux 6.7"
)
needs_seccomp = pytest.mark.skipif(not SUPPORT.seccomp, reason="this kernel filters no system calls")
pytestmark = needs_seccomp

TRY = """
import json, os

def refusal(attempt):
    try:
        result = attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)
    except BaseException as error:
        return type(error).__name__
    return f"done: {result!r}"[:200]

import errno
"""


def tried(cell: Cell, attempts: dict[str, str], **needs: object) -> dict[str, str]:
    """Outcomes by name of Python expressions, each tried in the sandbox: an errno's name, or `done: …`."""
    lines = [f"results[{name!r}] = refusal(lambda: {code})" for name, code in attempts.items()]
    code = "\n".join([TRY, PRELUDE, "results = {}", *lines, "print(json.dumps(results))"])
    return cell.run(code, **needs).result


PRELUDE = """
import ctypes, mmap, platform, resource, socket, subprocess, sys, threading, time
from pathlib import Path
libc = ctypes.CDLL(None, use_errno=True)

def call(x86_64, aarch64, *arguments):
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    padded = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *padded)
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result
"""


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path, SUPPORT)


@needs_landlock
def test_secrets_of_the_platform_are_not_read(cell):
    secrets = {
        "service secret": cell.data / "secrets" / "service-secret",
        "signing keys": cell.data / "auth_db.sqlite",
        "password hashes": cell.data / "user_db.sqlite",
        "admin password": cell.data / "admin-password",
        "addresses": cell.data / "addresses.json",
        "another's home": cell.data / "strategy" / "home" / "other" / "notes.txt",
        "another's log": cell.data / "strategy" / "logs" / "other.log",
    }
    for path in secrets.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("hush")
        path.chmod(0o644)
    attempts = {name: f"Path({str(path)!r}).read_text()" for name, path in secrets.items()}
    attempts |= {
        "the folder's names": f"os.listdir({str(cell.data)!r})",
        "other homes' names": f"os.listdir({str(cell.home.parent)!r})",
        "root's home": "os.listdir('/root')",
        "shadow": "open('/etc/shadow').read()",
        "checkout": f"os.listdir({str(Path(__file__).parents[2])!r})",
        "tests": f"open({__file__!r}).read()",
        "cgroups": "os.listdir('/sys/fs/cgroup')",
        "temporary files": "os.listdir('/tmp')",
        "shared memory": "open('/dev/shm/mine', 'w')",
    }
    results = tried(cell, attempts, ports=[9])
    assert set(results.values()) == {"EACCES"}, results


@needs_landlock
def test_what_a_strategy_needs_is_there(cell):
    (cell.strategies / "mine.py").write_text("answer = 42")
    attempts = {
        "write": "Path('notes.txt').write_text('x')",
        "read": "Path('notes.txt').read_text()",
        "folder": "Path('folder').mkdir()",
        "rename": "Path('notes.txt').rename('folder/notes.txt')",
        "import": f"(sys.path.append({str(cell.strategies)!r}), __import__('mine').answer)[1]",
        "libraries": "(__import__('numpy'), __import__('pyarrow'), __import__('talib')) and 1",
        "code": "__import__('services.quant.backtest.run') and 1",
        "time": "__import__('zoneinfo').ZoneInfo('Asia/Shanghai') and 1",
        "threads": "threading.Thread(target=len, args=('',)).start()",
        "random": "len(os.urandom(4))",
        "cores": "os.cpu_count() and 1",
    }
    results = tried(cell, attempts, ports=[9])
    assert all(result.startswith("done:") for result in results.values()), results


@needs_landlock
def test_links_lead_nowhere_new(cell, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hush")
    (cell.strategies / "innocent.py").symlink_to(secret)
    (cell.strategies / "folder").symlink_to(tmp_path)
    attempts = {
        "link in its home": f"(os.symlink({str(secret)!r}, 'link'), open('link').read())",
        "link in the strategies' folder": f"open({str(cell.strategies / 'innocent.py')!r}).read()",
        "linked folder": f"open({str(cell.strategies / 'folder' / 'secret')!r}).read()",
        "hard link": f"os.link({str(secret)!r}, 'hard')",
        "of a process": f"open('/proc/self/root' + {str(secret)!r}).read()",
        "write through it": "open('link', 'w')",
        "descriptor of a folder": f"os.open({str(tmp_path)!r}, os.O_RDONLY)",
    }
    results = tried(cell, attempts, ports=[9])
    hard = results.pop("hard link")
    assert hard in ("EACCES", "EXDEV", "EPERM"), hard
    assert set(results.values()) == {"EACCES"}, results
    assert secret.read_text() == "hush"


@needs_landlock
def test_nothing_outside_is_changed(cell):
    code, mine = Path(os.__file__), cell.strategies / "mine.py"
    mine.write_text("x = 1")
    before = code.stat()
    attempts = {
        "the code": f"open({str(code)!r}, 'a')",
        "its own strategy": f"open({str(mine)!r}, 'a')",
        "a strategy beside it": f"open({str(cell.strategies / 'other.py')!r}, 'w')",
        "removing": f"os.unlink({str(mine)!r})",
        "mode of the data folder": f"os.chmod({str(cell.data)!r}, 0o777)",
        "mode of a strategy": f"os.fchmod(os.open({str(mine)!r}, os.O_RDONLY), 0o777)",
        "owner": f"os.chown({str(mine)!r}, 1, 1)",
        "attribute": f"os.setxattr({str(mine)!r}, 'user.x', b'')",
        "truncating": f"os.truncate({str(mine)!r}, 0)",
        "temporary file": "open('/tmp/redfire-attack', 'w')",
        "device": "os.mknod('device', 0o20600, 0)",
    }
    results = tried(cell, attempts, ports=[9])
    assert set(results.values()) <= {"EACCES", "EPERM"}, results
    after = code.stat()
    assert (after.st_size, after.st_mode) == (before.st_size, before.st_mode)
    assert mine.read_text() == "x = 1"


@needs_landlock
def test_other_processes_are_out_of_reach(cell):
    victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={"SECRET": "hush"})
    try:
        pid = victim.pid
        attempts = {
            "memory": f"open('/proc/{pid}/mem', 'rb')",
            "environment": f"open('/proc/{pid}/environ').read()",
            "command": f"open('/proc/{pid}/cmdline').read()",
            "its files": f"os.listdir('/proc/{pid}/fd')",
            "list of processes": "os.listdir('/proc')",
            "signal": f"os.kill({pid}, 9)",
            "signal to all": "os.kill(-1, 9)",
            "signal to its thread": f"call(234, 131, {pid}, {pid}, 9)",
            "queued signal": f"call(129, 138, {pid}, 9, 0)",
            "limits": f"resource.prlimit({pid}, resource.RLIMIT_NOFILE, (3, 3))",
            "ptrace": f"call(101, 117, 16, {pid}, 0, 0)",
            "reading its memory": f"call(310, 270, {pid}, 0, 0, 0, 0, 0)",
            "writing its memory": f"call(311, 271, {pid}, 0, 0, 0, 0, 0)",
            "its descriptor": "call(438, 438, 0, 0, 0)",
            "processors": f"os.sched_setaffinity({pid}, [0])",
            "priority": f"os.setpriority(os.PRIO_PROCESS, {pid}, 19)",
            "priority of a user": "os.setpriority(os.PRIO_USER, 0, 19)",
        }
        results = tried(cell, attempts, ports=[9])
        results.pop("signal to all")  # the kernel says yes, and has sent it to nobody
        assert set(results.values()) <= {"EACCES", "EPERM"}, results
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.communicate()


def test_system_calls_that_undo_a_sandbox_are_refused(cell):
    attempts = {
        "io_uring": "call(425, 425, 1, 0)",
        "user namespace": "call(272, 97, 0x10000000)",
        "user namespace by clone": "call(56, 220, 0x10000000 | 17, 0, 0, 0, 0)",
        "joining a namespace": "call(308, 268, 0, 0)",
        "mount": "call(165, 40, b'none', b'.', b'tmpfs', 0, 0)",
        "new mount": "call(430, 430, b'tmpfs', 0)",
        "chroot": "os.chroot('.')",
        "kernel keys": "call(250, 219, 0, 0)",
        "adding a key": "call(248, 217, b'user', b'x', b'y', 1, 0)",
        "requesting a key": "call(249, 218, b'user', b'x', 0, 0)",
        "bpf": "call(321, 280, 0, 0, 0)",
        "perf": "call(298, 241, 0, 0, 0, 0, 0)",
        "userfaultfd": "call(323, 282, 0)",
        "file handles": "call(304, 265, 0, 0, 0)",
        "memory without a name": "call(319, 279, b'x', 0)",
        "shared memory": "call(29, 194, 1, 4096, 0o1600)",
        "message queue": "call(68, 186, 1, 0o1600)",
        "watching folders": "call(254, 27, 0, b'/', 1)",
        "kernel module": "call(175, 105, 0, 0, b'')",
        "new kernel": "call(246, 104, 0, 0, 0, 0)",
        "the clock": "time.clock_settime(time.CLOCK_REALTIME, 0)",
        "the kernel's log": "call(103, 116, 3, 0, 0)",
        "new session": "os.setsid()",
        "new group": "os.setpgid(0, 0)",
        "outliving its parent": "call(157, 167, 1, 0)",
    }
    results = tried(cell, attempts)
    assert set(results.values()) == {"EPERM"}, results


def test_later_system_calls_are_as_if_there_were_none(cell):
    results = tried(
        cell, {"clone3": "call(435, 435, 0, 0)", "attributes": "call(463, 463, 0, 0)", "far": "call(9999, 9999)"}
    )
    assert set(results.values()) == {"ENOSYS"}, results


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the other convention is of x86-64")
def test_a_call_by_the_32_bit_convention_ends_the_process(cell):
    code = (
        PRELUDE
        + """
code = bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3])  # mov eax, 20 (getpid); int 0x80; ret
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print(function())
"""
    )
    ended = cell.run(code)
    assert ended.code == -31 and not ended.output, (ended.code, ended.errors)  # SIGSYS


@needs_landlock
def test_sockets_lead_to_the_worker_rpc_port_alone(cell, tmp_path):
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as allowed,
        closing(socket.create_server(("127.0.0.1", 0))) as other,
        closing(socket.socket(socket.AF_UNIX)) as admin,
        closing(socket.socket(socket.AF_UNIX)) as abstract,
    ):
        path = str(tmp_path / "admin.sock")
        admin.bind(path)
        admin.listen()
        abstract.bind(f"\0redfire-{os.getpid()}")
        abstract.listen()
        port, forbidden = allowed.getsockname()[1], other.getsockname()[1]
        attempts = {
            "allowed": f"socket.create_connection(('127.0.0.1', {port})).close()",
            "another port": f"socket.create_connection(('127.0.0.1', {forbidden}))",
            "the internet": "socket.create_connection(('192.0.2.1', 443), 2)",
            "with the first packet": f"socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', {forbidden}))",
            "Envoy's admin socket": f"socket.socket(socket.AF_UNIX).connect({path!r})",
            "datagram": "socket.socket(type=socket.SOCK_DGRAM)",
            "raw": "socket.socket(type=socket.SOCK_RAW)",
            "multipath": "socket.socket(proto=262)",
            "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
            "packet": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
            "vsock": "socket.socket(socket.AF_VSOCK)",
            "pair of datagrams": "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
            "bind": "socket.socket().bind(('127.0.0.1', 0))",
            "listen": "socket.socket().listen()",
        }
        results = tried(cell, attempts, ports=[port])
    assert results.pop("allowed").startswith("done")
    assert set(results.values()) <= {"EACCES", "EPERM"}, results


def test_a_backtest_has_no_network(cell):
    attempts = {
        "TCP": "socket.socket()",
        "TCP over IPv6": "socket.socket(socket.AF_INET6)",
        "unix": "socket.socket(socket.AF_UNIX)",
        "names": "socket.getaddrinfo('localhost.example', 80)",
    }
    results = tried(cell, attempts, processes=1)
    assert results.pop("names") == "gaierror"
    assert set(results.values()) == {"EACCES"}, results


def test_a_strategy_starts_no_process(cell):
    attempts = {
        "fork": "os.fork()",
        "program": "subprocess.run(['/bin/true'])",
        "spawn": "os.posix_spawn('/bin/true', ['true'], {})",
        "exec": "os.execv('/bin/true', ['true'])",
        "shell": "os.popen('true')",
        "fork by its number": "call(56, 220, 17, 0, 0, 0, 0)",
    }
    results = tried(cell, attempts, ports=[9])
    assert set(results.values()) == {"EPERM"}, results


@pytest.mark.skipif(os.getuid() == 0 and not SUPPORT.separate_users, reason="no limit holds for root")
def test_a_fork_bomb_in_a_backtest_is_bounded(cell):
    code = """
import os, time
children = 0
try:
    while children < 5000:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        children += 1
except BlockingIOError:
    pass
print(children, flush=True)
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.killpg(0, signal.SIGTERM)
"""
    assert int(cell.run(code, processes=1).output) < 600


def test_memory_files_and_descriptors_are_bounded(cell):
    attempts = {
        "memory": "bytearray(1 << 40)",
        "much memory": "bytearray(6 << 30)",
        "a large file": "Path('large').write_bytes(bytes(2 << 20))",
        "descriptors": "[os.dup(0) for _ in range(5000)]",
        "more by a limit": "resource.setrlimit(resource.RLIMIT_NOFILE, (100_000, 100_000))",
    }
    results = tried(cell, attempts)
    assert results == {
        "memory": "MemoryError", "much memory": "MemoryError", "a large file": "EFBIG", "descriptors": "EMFILE",
        "more by a limit": "ValueError",
    }  # fmt: skip


def test_no_descriptor_of_the_platform_is_inherited(cell, tmp_path):
    secret = (tmp_path / "secret").open("w+")
    secret.write("hush")
    secret.flush()
    with closing(secret), closing(socket.create_server(("127.0.0.1", 0))) as server:
        code = """
import json, os, stat
kinds = []
for number in range(3, 1024):
    try:
        kinds.append(stat.filemode(os.fstat(number).st_mode))
    except OSError:
        pass
print(json.dumps(kinds))
"""
        assert server.fileno() > 2
        assert cell.run(code).result == []


@pytest.mark.skipif(not SUPPORT.separate_users or not SUPPORT.landlock, reason="not root, or no Landlock")
def test_processes_of_root_have_a_user_of_their_own_and_no_right(cell):
    code = """
import json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps([os.getresuid(), os.getgroups(), status["CapPrm"], status["CapBnd"], status["NoNewPrivs"]]))
"""
    users, groups, permitted, bounding, no_new = cell.run(code, ports=[9]).result
    assert len(set(users)) == 1 and users[0] > 1_000_000_000
    assert groups == [] and permitted == bounding == "0000000000000004" and no_new == "1"
    other = Cell(cell.data.parent, SUPPORT, owner="0197f3a0-0000-7000-8000-00000000000b")
    assert other.run(code, ports=[9]).result[0] != users


def test_modules_in_another_home_are_not_imported(cell, tmp_path):
    other = cell.home.parent / "other"
    other.mkdir()
    (other / "shared.py").write_text("leak = 1")
    (cell.home / "numpy.py").write_text("raise SystemExit('imported from its working folder')")
    code = f"import sys\nsys.path.insert(0, {str(other)!r})\nimport shared\n"
    if SUPPORT.landlock:
        ended = cell.run(code, ports=[9])
        assert "ModuleNotFoundError" in ended.errors or "PermissionError" in ended.errors, ended
    assert cell.run("import numpy; print(1)").result == 1


@needs_landlock
def test_a_data_folder_below_a_folder_that_is_shown_stays_hidden(tmp_path):
    cell = Cell(tmp_path, SUPPORT)
    (cell.data / "keys").write_text("hush")
    (tmp_path / "mine.py").write_text("x = 1")
    attempts = {
        "secret": f"open({str(cell.data / 'keys')!r}).read()",
        "names": f"os.listdir({str(cell.data)!r})",
        "strategy": f"open({str(tmp_path / 'mine.py')!r}).read()",
    }
    results = tried(cell, attempts, read=[tmp_path, cell.data / "strategy" / "code"], ports=[9])
    assert results.pop("strategy").startswith("done")
    assert set(results.values()) == {"EACCES"}, results


@needs_seccomp
def test_without_landlock_system_calls_and_limits_still_hold(tmp_path):
    cell = Cell(tmp_path, Support(0, SUPPORT.seccomp, SUPPORT.separate_users))
    attempts = {
        "ptrace": "call(101, 117, 0, 0, 0, 0)",
        "unix socket": "socket.socket(socket.AF_UNIX)",
        "process": "os.fork()",
        "mode": "os.chmod('.', 0o777)",
        "signal": f"os.kill({os.getpid()}, 0)",
        "truncating": "os.truncate('.', 0)",
    }
    results = tried(cell, attempts, ports=[9])
    assert set(results.values()) <= {"EACCES", "EPERM"}, results


def test_a_sandbox_is_not_entered_beside_other_threads(cell):
    code = """
import json, threading
from services.strategy.sandbox.entry import enter_from
threading.Thread(target=threading.Event().wait, daemon=True).start()
try:
    enter_from(json.loads(DESCRIPTION))
except RuntimeError:
    print('"refused"')
"""
    description = json.dumps(cell.description())
    assert cell.run(code.replace("DESCRIPTION", repr(description))).result == "refused"
