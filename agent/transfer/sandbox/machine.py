"""What a system call filter must know of the machine that it runs on."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from agent.transfer.sandbox.kernel import Lacking
from agent.transfer.sandbox.numbers import NUMBERS


@dataclass(frozen=True, slots=True)
class Machine:
    """A processor architecture as seccomp(2) tells it.

    ``audit_arch`` is AUDIT_ARCH_* of linux/audit.h. Numbers from ``foreign_from`` on belong to another
    calling convention of the same architecture (x32), which would slip past a filter by number.
    """

    name: str
    audit_arch: int
    column: int
    foreign_from: int | None = None

    def number(self, call: str) -> int | None:
        """The number of a system call, or None where the architecture does not have it."""
        return NUMBERS[call][self.column]


X86_64 = Machine("x86_64", 0xC000003E, 0, foreign_from=0x40000000)
AARCH64 = Machine("aarch64", 0xC00000B7, 1)
MACHINES = (X86_64, AARCH64)


def this_machine() -> Machine:
    """The machine that this process runs on. Raises Lacking for one that is not known."""
    name = os.uname().machine
    for machine in MACHINES:
        if machine.name == name and sys.maxsize > 1 << 32:
            return machine
    raise Lacking(f"no table of system calls for {name}, {sys.maxsize.bit_length() + 1} bits")
