"""How much of the processors a process wants: what its threads use, and what they wait for in a queue.

Source: ``/proc/PID/task/TID/schedstat`` (Documentation/scheduler/sched-stats.rst): nanoseconds on a
processor, nanoseconds runnable and not on one, time slices.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

Wanted = dict[int, int]
"""Nanoseconds by threads, since each began."""


def wanted_by(pid: int) -> Wanted:
    """Of all threads of the process; none when it is gone, or may not be looked at."""
    tasks = Path("/proc") / str(pid) / "task"
    wanted: Wanted = {}
    try:
        names = os.listdir(tasks)
    except OSError:
        return wanted
    for name in names:
        try:
            used, waited, _ = (tasks / name / "schedstat").read_text("ascii").split()
            wanted[int(name)] = int(used) + int(waited)
        except (OSError, ValueError):
            continue
    return wanted


class Demand:
    """Cores that the threads of a process want, between one measurement and the next."""

    def __init__(self, pid: int, read: Callable[[int], Wanted] = wanted_by) -> None:
        self._pid, self._read = pid, read
        self._before: Wanted = {}
        self._at: float | None = None
        self._cores: dict[int, float] = {}

    def measure(self, now: float) -> None:
        """Look again; ``now`` is of any clock that goes on."""
        found = self._read(self._pid)
        if self._at is not None and now > self._at:
            span_ns = (now - self._at) * 1e9
            self._cores = {
                thread: max(0, wanted - self._before.get(thread, 0)) / span_ns
                for thread, wanted in found.items()
            }
        self._before, self._at = found, now

    @property
    def cores(self) -> float:
        """Of all threads."""
        return sum(self._cores.values())

    def of(self, thread: int) -> float:
        """Of one."""
        return self._cores.get(thread, 0.0)
