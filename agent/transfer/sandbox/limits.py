"""Bounds on what a process may use, and on what it may become."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
from pathlib import Path

from agent.transfer.sandbox import kernel
from agent.transfer.sandbox.kernel import Lacking
from agent.transfer.sandbox.machine import this_machine

MIB = 1 << 20
KILL_AFTER_S = 5
"""Seconds of CPU time between the signal that can be explained (SIGXCPU) and the one that cannot."""
_CAPABILITY_VERSION_3 = 0x20080522


def forgo_privileges() -> str:
    """Neither set-user-id programs nor file capabilities count from now on."""
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    return "no new privileges"


def drop_capabilities() -> str:
    """Whatever the user may be, root included, the calling thread has no capability left (capset(2)).

    Raises Lacking for a machine that is not known.
    """
    number = this_machine().number("capset")
    assert number is not None
    header = ctypes.create_string_buffer(_CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4), 8)
    nothing = ctypes.create_string_buffer(24)
    kernel.syscall(number, header, nothing)
    return "no capabilities"


def hide_memory() -> str:
    """No core dump, and no other process of the user may look inside."""
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    _set(resource.RLIMIT_CORE, 0, 0)
    return "no core dumps"


def die_with_parent() -> str:
    """The kernel ends this process when the thread that started it ends."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    return "ends with its parent"


def limit_memory(more_bytes: int) -> str:
    """Bounds the address space at what is mapped now and ``more_bytes``; beyond it, MemoryError.

    Address space and not resident memory, because that is what the kernel can refuse, and because it
    counts shared memory too.
    """
    bound = _lower(resource.RLIMIT_AS, _mapped_bytes() + more_bytes)
    return f"memory <= {bound // MIB} MiB"


def limit_cpu(more_s: int) -> str:
    """Ends the process by SIGXCPU when it has used ``more_s`` seconds of CPU time from now on."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used_s = int(usage.ru_utime + usage.ru_stime) + 1
    soft_s = _lower(resource.RLIMIT_CPU, used_s + more_s, grace=KILL_AFTER_S)
    return f"CPU <= {soft_s} s"


def limit_files(size_bytes: int) -> str:
    """No file can be made to grow beyond ``size_bytes``: OSError EFBIG, as Python ignores SIGXFSZ."""
    bound = _lower(resource.RLIMIT_FSIZE, size_bytes)
    return f"files <= {bound // MIB} MiB"


def limit_descriptors(count: int) -> str:
    """No descriptor from ``count`` on can be opened; those that are open stay."""
    return f"descriptors <= {_lower(resource.RLIMIT_NOFILE, count)}"


def _lower(kind: int, bound: int, grace: int = 0) -> int:
    """A limit is only ever lowered, so that what an administrator set holds. Returns what is in force."""
    soft, hard = (_finite(value) for value in resource.getrlimit(kind))
    hard = min(hard, bound + grace)
    soft = min(soft, hard, bound)
    _set(kind, soft, hard)
    return soft


def _set(kind: int, soft: int, hard: int) -> None:
    try:
        resource.setrlimit(kind, (soft, hard))
    except ValueError:  # what the standard library makes of EPERM
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM)) from None


def _finite(value: int) -> int:
    return value if value != resource.RLIM_INFINITY else (1 << 63) - 1


def _mapped_bytes() -> int:
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[0]
    except OSError:
        raise Lacking("what is mapped cannot be told without /proc") from None
    return int(pages) * resource.getpagesize()
