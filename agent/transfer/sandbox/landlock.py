"""Landlock: nothing can be opened by a path, whatever the system call.

A ruleset that handles every right the running kernel knows, without a single rule. Source:
linux/landlock.h; the numbers of its system calls are the same on all architectures.
"""

from __future__ import annotations

import ctypes
import errno
import os

from agent.transfer.sandbox import kernel
from agent.transfer.sandbox.kernel import Lacking

_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_ASK_VERSION = 1
_FS_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""From which ABI on there are how many rights over files; the last are REFER, TRUNCATE, IOCTL_DEV."""
_TCP_RIGHTS = 0b11
_SCOPES = 0b11
_TCP_ABI, _SCOPE_ABI = 4, 6


class _Ruleset(ctypes.Structure):
    """``struct landlock_ruleset_attr``."""

    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


def restrict() -> str:
    """Take all rights over files, TCP ports, foreign signals and abstract sockets; what is in force.

    It binds the calling thread and what it starts. The process must have given up new privileges.
    Descriptors that are open stay usable. Raises Lacking where the kernel has no Landlock, OSError
    when it refuses.
    """
    abi = _abi()
    fd = kernel.syscall(_CREATE_RULESET, _ruleset(abi), _ruleset_bytes(abi), 0)
    try:
        kernel.syscall(_RESTRICT_SELF, fd, 0)
    finally:
        os.close(fd)
    return f"Landlock ABI {abi}"


def _abi() -> int:
    try:
        return kernel.syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            raise Lacking("this kernel has no Landlock") from None
        if error.errno == errno.EOPNOTSUPP:
            raise Lacking("Landlock was switched off when this machine started") from None
        raise


def _ruleset(abi: int) -> _Ruleset:
    rights = max(count for since, count in _FS_RIGHTS.items() if since <= abi)
    return _Ruleset(
        (1 << rights) - 1,
        _TCP_RIGHTS if abi >= _TCP_ABI else 0,
        _SCOPES if abi >= _SCOPE_ABI else 0,
    )


def _ruleset_bytes(abi: int) -> int:
    """The structure grew with the ABI; an older kernel takes only what it knows."""
    words = 1 + (abi >= _TCP_ABI) + (abi >= _SCOPE_ABI)
    return 8 * words
