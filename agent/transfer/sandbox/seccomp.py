"""The system call filter: installed once, for all threads, for good."""

from __future__ import annotations

import ctypes
import errno

from agent.transfer.sandbox import kernel
from agent.transfer.sandbox.bpf import allowed_calls, compile_policy
from agent.transfer.sandbox.kernel import Lacking
from agent.transfer.sandbox.machine import this_machine
from agent.transfer.sandbox.policy import policy_of_this_process

_SET_MODE_FILTER = 1
_ALL_THREADS = 1


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install() -> str:
    """Filter the system calls of this process from now on; what is in force.

    The process must have given up new privileges. Raises Lacking where the kernel has no filters or
    the machine is not known, OSError when the kernel refuses.
    """
    machine, policy = this_machine(), policy_of_this_process()
    number = machine.number("seccomp")
    assert number is not None
    program = compile_policy(policy, machine)
    packed = _Program(len(program), b"".join(instruction.packed() for instruction in program))
    try:
        thread = kernel.syscall(number, _SET_MODE_FILTER, _ALL_THREADS, packed)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EINVAL):
            raise Lacking("this kernel has no system call filters") from None
        raise
    if thread:
        raise OSError(errno.EBUSY, f"thread {thread} has filters of its own")
    return f"seccomp ({allowed_calls(policy, machine)} system calls)"
