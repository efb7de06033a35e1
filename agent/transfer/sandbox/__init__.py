"""Walls around a process that parses hostile bytes: seccomp, Landlock, limits. Linux, no library.

confinement = enter(memory_bytes=MEMORY_BYTES, cpu_s=cpu_s_for(size), file_bytes=None)
log(confinement.sentence)
"""

from agent.transfer.sandbox.budget import MEMORY_BYTES, cpu_s_for, scratch_bytes_for
from agent.transfer.sandbox.confinement import NOT_CONFINED, Confinement, enter

__all__ = ["MEMORY_BYTES", "NOT_CONFINED", "Confinement", "cpu_s_for", "enter", "scratch_bytes_for"]
