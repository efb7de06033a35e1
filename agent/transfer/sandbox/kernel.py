"""The calls to the kernel that the standard library has no name for: prctl(2) and bare system calls."""

from __future__ import annotations

import ctypes
import os

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class Lacking(Exception):
    """This kernel or machine does not have the wall; the text says what is lacking."""


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument. Raises OSError."""
    zero = ctypes.c_ulong(0)
    if _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero) < 0:
        raise _error()


def syscall(number: int, *arguments: int | ctypes.Array[ctypes.c_char] | ctypes.Structure | None) -> int:
    """A bare system call: integers are passed as longs, structures and buffers by address. Raises OSError."""
    result: int = _libc.syscall(ctypes.c_long(number), *map(_word, arguments))
    if result < 0:
        raise _error()
    return result


def _word(argument: object) -> object:
    if isinstance(argument, int):
        return ctypes.c_long(argument)
    if isinstance(argument, ctypes.Array | ctypes.Structure):
        return ctypes.byref(argument)
    return argument


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
