"""Landlock: the files that this process may open, the ports that it may connect to, and whom it may signal.

The interface is that of `man 7 landlock`, called by number: the C library has no functions for it. What a rule does not
allow is refused; links are followed first, so that a link leads nowhere that could not be opened without it.
"""

import ctypes
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH, _NET_PORT = 1, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_ALL_OF_FIRST = (1 << 13) - 1
# Devices, sockets and pipes are made by nobody.
_MAKE_SPECIAL = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _PortRule(ctypes.Structure):
    _fields_ = (("access", ctypes.c_uint64), ("port", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


class Ruleset:
    """Rules that are gathered, then put into force for this thread and all that comes from it."""

    def __init__(self, abi: int) -> None:
        """`abi`: the version of the kernel's interface, at least 1. Raises OSError."""
        self._files = _ALL_OF_FIRST
        self._files |= _REFER if abi >= 2 else 0
        self._files |= _TRUNCATE if abi >= 3 else 0
        self._files |= _IOCTL_DEV if abi >= 5 else 0
        self._network = _BIND_TCP | _CONNECT_TCP if abi >= 4 else 0
        scoped = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if abi >= 6 else 0
        attributes = _RulesetAttributes(self._files, self._network, scoped)
        size = 8 if abi < 4 else 16 if abi < 6 else 24
        self._fd = _call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0)

    def allow_reading(self, paths: Iterable[str], without: Iterable[str] = ()) -> None:
        """Allow to read and execute what is at or below `paths`, but for what is at or below those of `without`.

        What is not there is left out. Raises OSError.
        """
        hidden = [Path(path).resolve() for path in without]
        for path in paths:
            for shown in _shown(Path(path), hidden):
                self._allow(shown, _READ)

    def allow_writing(self, paths: Iterable[str]) -> None:
        """Allow to read, write, make and remove what is at or below `paths`. Raises OSError."""
        for path in paths:
            self._allow(Path(path), self._files & ~_MAKE_SPECIAL & ~_EXECUTE & ~_IOCTL_DEV)

    def allow_connecting(self, ports: Iterable[int]) -> None:
        """Allow TCP connections to these ports. Raises OSError."""
        for port in ports:
            if self._network:
                rule = _PortRule(_CONNECT_TCP, port)
                _call(_ADD_RULE, self._fd, _NET_PORT, ctypes.byref(rule), 0)

    def enforce(self) -> None:
        """Put the rules into force; NO_NEW_PRIVS is set before. Raises OSError."""
        _call(_RESTRICT_SELF, self._fd, 0)
        os.close(self._fd)

    def _allow(self, path: Path, access: int) -> None:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if not stat.S_ISDIR(os.fstat(place).st_mode):
                access &= _OF_FILES
            rule = _PathRule(access & self._files, place)
            _call(_ADD_RULE, self._fd, _PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(place)


def _shown(path: Path, hidden: list[Path]) -> Iterator[Path]:
    """The path itself; where something hidden is below it, what is beside that, link by link not followed."""
    real = path.resolve()
    if any(real.is_relative_to(one) for one in hidden):
        return
    if not any(one.is_relative_to(real) for one in hidden):
        yield path
        return
    for child in real.iterdir():
        if not child.is_symlink():
            yield from _shown(child, hidden)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"landlock: {os.strerror(code)}")
    return result
