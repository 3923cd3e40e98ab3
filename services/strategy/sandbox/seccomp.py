"""The filter of system calls: a program for the kernel's BPF machine, written out here.

What it refuses answers EPERM, so that a library that merely tries goes on; calls that are newer than this filter
answer ENOSYS, as on an older kernel. A call in another machine's convention ends the process.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.strategy.sandbox.system_calls import NEWEST, NUMBER_OF_SECCOMP, numbers

_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _JUMP_BITS, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SET_MODE_FILTER = 1
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

_SOCKET_TYPE = 0xF
_FAST_OPEN = 0x20000000
_THREAD = 0x00010000
_NEW_NAMESPACES = 0x7E020000
_SET_PARENT_DEATH_SIGNAL, _KILL_SIGNAL = 1, 9
_ALL_OF_USER = 2

_REFUSED = (
    # other processes and their memory
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "pidfd_getfd",
    "pidfd_send_signal", "migrate_pages", "move_pages", "userfaultfd", "perf_event_open", "ioprio_set",
    "rt_sigqueueinfo", "rt_tgsigqueueinfo", "tkill",
    # ways around the checks of files and sockets
    "io_uring_setup", "io_uring_enter", "io_uring_register", "open_by_handle_at", "name_to_handle_at", "vmsplice",
    "inotify_add_watch", "fanotify_init", "fanotify_mark", "listen",
    # leaving the session that is killed as a whole
    "setsid", "setpgid",
    # namespaces and mounts
    "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig",
    "fsmount", "fspick", "mount_setattr",
    # the kernel's keys, programs and modules
    "add_key", "request_key", "keyctl", "bpf", "init_module", "finit_module", "delete_module", "kexec_load",
    "kexec_file_load", "lookup_dcookie", "syslog", "uselib", "modify_ldt", "ioperm", "iopl", "personality",
    # memory that outlives the process or is not counted as its own
    "memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "semget", "semop", "semctl", "semtimedop", "msgget",
    "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink",
    # the machine
    "acct", "adjtimex", "clock_adjtime", "clock_settime", "settimeofday", "sethostname", "setdomainname", "reboot",
    "swapon", "swapoff", "quotactl", "quotactl_fd", "nfsservctl", "vhangup",
)  # fmt: skip
# Landlock leaves them to the owner of a file: who shares the platform's user id would change the platform's files.
_OF_OWNERS = (
    "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "setxattr", "lsetxattr", "fsetxattr",
    "removexattr", "lremovexattr", "fremovexattr",
)  # fmt: skip
_NEW_PROCESSES = ("fork", "vfork", "execve", "execveat")
# Their first argument says whose; 0 is the caller itself.
_OF_SELF_ONLY = ("prlimit64", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: code, jumps if true and if false, operand."""

    code: int
    yes: int
    no: int
    operand: int


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """Differences between processes. `network`: TCP; `processes`: it may start others; `own_files`: files of its user
    id are its own alone; `truncate`, `signals`: something else keeps it from files and from processes that are not."""

    network: bool
    processes: bool
    own_files: bool
    truncate: bool
    signals: bool


def program(machine: str, options: FilterOptions, pid: int) -> Sequence[Instruction]:
    """The filter for one process. Raises ValueError for a machine that is not known."""
    known = numbers(machine)
    made = [_load(_ARCHITECTURE_AT), _equal(_ARCHITECTURES[machine], 1, 0), _return(_KILL), _load(_NUMBER_AT)]
    made += [Instruction(_JUMP_ABOVE, 0, 1, NEWEST), _refuse(errno.ENOSYS)]
    refused = [*_REFUSED, *(() if options.own_files else _OF_OWNERS), *(() if options.processes else _NEW_PROCESSES)]
    refused += [] if options.truncate else ["truncate"]
    for name in refused:
        if name in known:
            made += [_equal(known[name], 0, 1), _refuse(errno.EPERM)]
    # Its arguments are in memory, which a filter cannot read: the C library goes on with clone.
    made += [_equal(known["clone3"], 0, 1), _refuse(errno.ENOSYS)]
    for name, checks in _checks(options, pid).items():
        made += [_equal(known[name], 0, len(checks)), *checks]
    return [*made, _return(_ALLOW)]


def install(options: FilterOptions) -> None:
    """Filter this thread's system calls, and those of all that comes from it. Raises OSError, ValueError."""
    machine = platform.machine()
    instructions = program(machine, options, os.getpid())
    code = b"".join(struct.pack("<HBBI", one.code, one.yes, one.no, one.operand) for one in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_program = _Program(len(instructions), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(NUMBER_OF_SECCOMP[machine], _SET_MODE_FILTER, 0, ctypes.byref(filter_program)) != 0:
        code_of_error = ctypes.get_errno()
        raise OSError(code_of_error, f"seccomp: {os.strerror(code_of_error)}")


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _checks(options: FilterOptions, pid: int) -> dict[str, list[Instruction]]:
    """Instructions that decide by a call's arguments; each ends with a verdict."""
    checks = {
        "socket": _stream_sockets() if options.network else [_refuse(errno.EACCES)],
        "socketpair": _only_values(1, [socket.SOCK_STREAM], mask=_SOCKET_TYPE),
        "clone": _clone(options.processes),
        "prctl": [
            _argument(0), _equal(_SET_PARENT_DEATH_SIGNAL, 0, 3), _argument(1), _equal(_KILL_SIGNAL, 1, 0),
            _refuse(errno.EPERM), _return(_ALLOW),
        ],
        # Data with the first packet: a connection that no check of connections sees.
        "sendto": _without_bits(3, _FAST_OPEN),
        "sendmsg": _without_bits(2, _FAST_OPEN),
        "sendmmsg": _without_bits(3, _FAST_OPEN),
        "setpriority": [_argument(0), _equal(_ALL_OF_USER, 0, 1), _refuse(errno.EPERM), *_only_values(1, [0])],
    }  # fmt: skip
    checks |= {name: _only_values(0, [0]) for name in _OF_SELF_ONLY}
    if not options.signals:
        checks |= {name: _only_values(0, [0, pid]) for name in ("kill", "tgkill")}
    return checks


def _stream_sockets() -> list[Instruction]:
    """TCP over IPv4 and IPv6. Not its relatives (MPTCP, SCTP, SMC), which Landlock's rules of ports do not cover."""
    return [
        _argument(0), _equal(socket.AF_INET, 2, 0), _equal(socket.AF_INET6, 1, 0), _refuse(errno.EACCES),
        _argument(1), Instruction(_AND, 0, 0, _SOCKET_TYPE), _equal(socket.SOCK_STREAM, 1, 0), _refuse(errno.EACCES),
        *_only_values(2, [0, socket.IPPROTO_TCP]),
    ]  # fmt: skip


def _clone(processes: bool) -> list[Instruction]:
    """Threads, and where it may have them processes; never namespaces."""
    checks = _without_bits(0, _NEW_NAMESPACES)
    if processes:
        return checks
    return [*checks[:-1], Instruction(_JUMP_BITS, 1, 0, _THREAD), _refuse(errno.EPERM), _return(_ALLOW)]


def _only_values(argument: int, values: Iterable[int], mask: int = 0xFFFFFFFF) -> list[Instruction]:
    allowed = list(values)
    made = [_argument(argument)]
    if mask != 0xFFFFFFFF:
        made.append(Instruction(_AND, 0, 0, mask))
    made += [_equal(value, len(allowed) - index, 0) for index, value in enumerate(allowed)]
    return [*made, _refuse(errno.EPERM), _return(_ALLOW)]


def _without_bits(argument: int, bits: int) -> list[Instruction]:
    return [_argument(argument), Instruction(_JUMP_BITS, 0, 1, bits), _refuse(errno.EPERM), _return(_ALLOW)]


def _argument(index: int) -> Instruction:
    """Load the lower half of an argument: those that are looked at are C's int."""
    return _load(_ARGUMENTS_AT + 8 * index)


def _load(offset: int) -> Instruction:
    return Instruction(_LOAD, 0, 0, offset)


def _equal(value: int, yes: int, no: int) -> Instruction:
    return Instruction(_JUMP_EQUAL, yes, no, value & 0xFFFFFFFF)


def _return(verdict: int) -> Instruction:
    return Instruction(_RETURN, 0, 0, verdict)


def _refuse(code: int) -> Instruction:
    return _return(_ERRNO | code)
