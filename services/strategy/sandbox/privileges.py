"""Giving up what the process may do beyond its user id, and where it may, that user id for one of its own."""

import ctypes
import os

_SET_NO_NEW_PRIVS, _SET_KEEPCAPS, _CAPBSET_DROP, _CAP_AMBIENT, _CAP_AMBIENT_RAISE = 38, 8, 24, 47, 2
# Read past a file's mode. Landlock still says which: the interpreter may be in a folder of root's.
_DAC_READ_SEARCH = 2
_LAST_CAPABILITY = 63
_CAPABILITY_VERSION = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def become_user(user_id: int) -> None:
    """Take a user id and a group id of this number, no other group, and no capability but that to read. Raises OSError.

    It is root that calls it. The signal by which it ends with its parent is to be set again.
    """
    for capability in range(_LAST_CAPABILITY + 1):
        if capability != _DAC_READ_SEARCH:
            _libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0)  # the kernel says of the last ones that there are none
    _prctl(_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(user_id, user_id, user_id)
    os.setresuid(user_id, user_id, user_id)
    kept = 1 << _DAC_READ_SEARCH
    sets = (_Capabilities * 2)(_Capabilities(kept, kept, kept), _Capabilities(0, 0, 0))
    if _libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION, 0)), sets) != 0:
        raise _error("capset")
    _prctl(_CAP_AMBIENT, _CAP_AMBIENT_RAISE, _DAC_READ_SEARCH)


def gain_no_privileges() -> None:
    """Have no program that it runs give it more than it has (NO_NEW_PRIVS). Raises OSError."""
    _prctl(_SET_NO_NEW_PRIVS, 1)


def _prctl(option: int, *values: int) -> None:
    padded = (*values, 0, 0, 0, 0)[:4]
    if _libc.prctl(option, *(ctypes.c_ulong(value) for value in padded)) != 0:
        raise _error("prctl")


def _error(call: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{call}: {os.strerror(code)}")
