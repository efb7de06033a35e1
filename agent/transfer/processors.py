"""How much of the processors a process wants: what its threads use, and what they wait for in a queue.

Source: ``/proc/PID/task/TID/schedstat`` (Documentation/scheduler/sched-stats.rst): nanoseconds on a
processor, nanoseconds runnable and not on one, time slices. A process that may not be traced, as the
reader, is not to be seen there under ``ProtectProc=invisible``: of such a one the CPU clock is known to all
(clock_getcpuclockid(3)), and not what it waits for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

_CPU_CLOCK = 2
"""CPUCLOCK_SCHED, of a whole process (include/linux/posix-timers_types.h)."""

Wanted = dict[int, int]
"""Nanoseconds by threads, since each began."""


def wanted_by(pid: int) -> Wanted:
    """Of all threads of the process, or of the process as one; none when it is gone."""
    tasks = Path("/proc") / str(pid) / "task"
    wanted: Wanted = {}
    try:
        names = os.listdir(tasks)
    except OSError:
        return used_by(pid)
    for name in names:
        try:
            used, waited, _ = (tasks / name / "schedstat").read_text("ascii").split()
            wanted[int(name)] = int(used) + int(waited)
        except (OSError, ValueError):
            continue
    return wanted


def used_by(pid: int) -> Wanted:
    """As ``wanted_by``, without what is waited for."""
    try:
        return {pid: time.clock_gettime_ns(~pid << 3 | _CPU_CLOCK)}
    except OSError:
        return {}


class Demand:
    """Cores that the threads of a process want, between one measurement and the next."""

    def __init__(self, pid: int, read: Callable[[int], Wanted] = wanted_by) -> None:
        self._pid, self._read = pid, read
        self._before: Wanted = {}
        self._at: float | None = None
        self._is_known = False
        self._cores: dict[int, float] = {}

    def measure(self, now: float) -> None:
        """Look again; ``now`` is of any clock that goes on."""
        found = self._read(self._pid)
        if self._at is not None and now > self._at:
            self._is_known = True
            span_ns = (now - self._at) * 1e9
            self._cores = {
                thread: max(0, wanted - self._before.get(thread, 0)) / span_ns
                for thread, wanted in found.items()
            }
        self._before, self._at = found, now

    @property
    def is_known(self) -> bool:
        """Whether it was measured twice."""
        return self._is_known

    @property
    def cores(self) -> float:
        """Of all threads."""
        return sum(self._cores.values())

    def of(self, thread: int) -> float:
        """Of one."""
        return self._cores.get(thread, 0.0)
