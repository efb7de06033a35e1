"""Runs of the transfer benchmark as figures: medians, and ratios of runs of one round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks.processes import Member
from benchmarks.transfer_images import Workload

MB, GB = 1e6, 1e9
BUSY_SHARE = 0.2
"""Of a run's time: more processor time than this spent by others makes it a disturbed one."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a party. ``span_s`` is the sink's, 0 when it saw one request; None without a sink.

    ``span_cpu_s`` is the processor time of all its processes within the span.

    ``start_cpu_s`` is what the same party took for one empty file; ``others_cpu_s`` is what processes of
    nobody here took meanwhile.
    """

    round: int
    files: int
    total_bytes: int
    wall_s: float
    span_s: float | None
    cpu_s: float
    peak_bytes: int
    requests: int | None
    span_cpu_s: float | None
    others_cpu_s: float
    members: tuple[Member, ...] = ()
    start_cpu_s: float = 0.0

    @property
    def is_disturbed(self) -> bool:
        """Whether others had too much of the machine."""
        return self.others_cpu_s > BUSY_SHARE * self.wall_s

    @property
    def carrying_cpu_s(self) -> float:
        """Without the start. Never nothing, as a quotient of it is wanted."""
        return max(self.cpu_s - self.start_cpu_s, 1e-3)

    @property
    def timed_s(self) -> float:
        """The span; where no sink tells one, the whole time."""
        return self.span_s or self.wall_s


Figure = Callable[[Run], float]


def mb_s(run: Run) -> float:
    """10**6 bytes a second of the span."""
    return run.total_bytes / MB / run.timed_s


def files_s(run: Run) -> float:
    """Files a second of the span."""
    return run.files / run.timed_s


def cpu_s_gb(run: Run) -> float:
    """Of the whole command, for 10**9 bytes."""
    return run.cpu_s / run.total_bytes * GB


def carrying_cpu_s_gb(run: Run) -> float:
    """The same without the start."""
    return run.carrying_cpu_s / run.total_bytes * GB


def cpu_us_file(run: Run) -> float:
    """Of the whole command."""
    return run.cpu_s / run.files * 1e6


def carrying_cpu_us_file(run: Run) -> float:
    """The same without the start."""
    return run.carrying_cpu_s / run.files * 1e6


def wall_s(run: Run) -> float:
    """From start to end."""
    return run.wall_s


def span_s(run: Run) -> float:
    """From the first write to the last."""
    return run.timed_s


@dataclass(frozen=True, slots=True)
class Row:
    """A party's timed runs; ``problem`` when it could not run or carried something else."""

    party: str
    integrity: str
    runs: tuple[Run, ...] = ()
    problem: str | None = None

    def median(self, figure: Figure) -> float:
        """Over its quiet runs, or over all where too few were quiet."""
        return median(map(figure, quiet(self.runs)))


def quiet(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """Those that were not disturbed, if they are at least half of all; else all."""
    still = tuple(run for run in runs if not run.is_disturbed)
    return still if 2 * len(still) >= len(runs) else runs


@dataclass(frozen=True, slots=True)
class Cell:
    """One workload to one target, by all parties in turn."""

    workload: Workload
    target: str
    rows: tuple[Row, ...]

    def row(self, party: str) -> Row | None:
        """The row of ``party``, if it ran rightly."""
        return next((row for row in self.rows if row.party == party and row.runs and not row.problem), None)


def ratio(own: Row, peer: Row, figure: Figure) -> float | None:
    """The median of own / peer within each round; rounds in which both were quiet, if half of them were."""
    theirs = {run.round: run for run in peer.runs}
    pairs = [(run, theirs[run.round]) for run in own.runs if run.round in theirs]
    still = [pair for pair in pairs if not any(run.is_disturbed for run in pair)]
    chosen = still if 2 * len(still) >= len(pairs) else pairs
    return median(figure(a) / figure(b) for a, b in chosen) if chosen else None
