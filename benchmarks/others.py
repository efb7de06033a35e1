"""How much of the machine others take while something is measured."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import TICKS, processor_seconds

_IDLE_FIELDS = (3, 4)
"""Of the line ``cpu`` of /proc/stat: idle and waiting for a disk."""
_GUEST_FIELD = 8
"""From here on time is told that other fields hold already."""


@dataclass(frozen=True, slots=True)
class Others:
    """A reading of the books: all processors, and of it what we and the servers that we run took."""

    all_s: float
    known_s: float

    @classmethod
    def now(cls, servers: Sequence[int]) -> Others:
        """``servers`` are processes that run on, such as the sink; children that ended are ours."""
        own = sum(
            sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        for pid in servers:
            with suppress(OSError):
                own += processor_seconds(pid)
        return cls(_busy_s(), own)

    def since(self, begun: Others) -> float:
        """Processor seconds of everybody else since ``begun``."""
        return max(0.0, (self.all_s - begun.all_s) - (self.known_s - begun.known_s))


def _busy_s() -> float:
    fields = Path("/proc/stat").read_text("ascii").partition("\n")[0].split()[1:]
    counted = list(map(int, fields))[:_GUEST_FIELD]
    return sum(ticks for at, ticks in enumerate(counted) if at not in _IDLE_FIELDS) / TICKS


def load() -> str:
    """Of the last minute, and on how many cores."""
    return f"{os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores"
