"""A timed run of a reader of volumes: what all its processes cost together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.processes import Cost


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run of a party: until its first byte (``open_s``), until its end, and all its processes."""

    open_s: float
    wall_s: float
    cpu_s: float
    peak_bytes: int
    reads: int | None
    disk_bytes: int | None

    @classmethod
    def of(cls, open_s: float, wall_s: float, reader: Cost, helpers: Sequence[Cost] = ()) -> Run:
        """Sums over ``reader`` and ``helpers``; ``reads`` are those of ``reader``."""
        costs = (reader, *helpers)
        disk = [cost.disk_bytes for cost in costs]
        return cls(
            open_s=open_s,
            wall_s=wall_s,
            cpu_s=sum(cost.cpu_s for cost in costs),
            peak_bytes=sum(cost.peak_bytes for cost in costs),
            reads=reader.reads,
            disk_bytes=None if None in disk else sum(filter(None, disk)),
        )

    def less_reads(self, reads: int | None) -> Run:
        """Without ``reads`` that were not of the image."""
        if self.reads is None or reads is None:
            return replace(self, reads=None)
        return replace(self, reads=max(0, self.reads - reads))
