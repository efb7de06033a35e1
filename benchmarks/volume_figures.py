"""Runs of readers as figures: medians, ratios to the peers, bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks.volume_measure import Run

MB, GB = 1e6, 1e9
OWN, PAIR = "ingest-agent", "dislocker + ntfs-3g"
WARM_SHARE = 0.01
"""Of the bytes read, what may come from a device in a run that is called warm."""


@dataclass(frozen=True, slots=True)
class Row:
    """A reader's timed runs over ``work_bytes`` each; ``problem`` when it could not run or read wrongly."""

    party: str
    work_bytes: int
    runs: tuple[Run, ...] = ()
    problem: str | None = None

    @property
    def mb_s(self) -> float:
        """From the start of its first process to its last byte; 10**6 bytes a second."""
        return median(self._mb_s())

    @property
    def mb_s_range(self) -> tuple[float, float]:
        """The slowest and the fastest run."""
        return min(self._mb_s()), max(self._mb_s())

    @property
    def open_mb_s(self) -> float:
        """As ``mb_s``, from the moment on at which the volume was open."""
        return median(self.work_bytes / MB / (run.wall_s - run.open_s) for run in self.runs)

    @property
    def cpu_s_per_gb(self) -> float:
        """Of all its processes, start and unlocking included."""
        return median(run.cpu_s for run in self.runs) / self.work_bytes * GB

    @property
    def reads(self) -> int | None:
        """System calls that read the image."""
        known = [run.reads for run in self.runs if run.reads is not None]
        return round(median(known)) if known else None

    @property
    def peak_mib(self) -> float:
        """Of all its processes together."""
        return median(run.peak_bytes for run in self.runs) / (1 << 20)

    @property
    def wall_s(self) -> float:
        """From start to end."""
        return median(run.wall_s for run in self.runs)

    @property
    def is_warm(self) -> bool:
        """Whether the page cache held the image, as far as we may look."""
        disk = max((run.disk_bytes or 0 for run in self.runs), default=0)
        return disk <= self.work_bytes * WARM_SHARE

    def _mb_s(self) -> list[float]:
        return [self.work_bytes / MB / run.wall_s for run in self.runs]


@dataclass(frozen=True, slots=True)
class Case:
    """What was read and what came of it, ours first. ``key`` is the short name of the case."""

    key: str
    title: str
    rows: tuple[Row, ...]

    def row(self, party: str) -> Row | None:
        """The row of ``party``, if it ran and read rightly."""
        return next((row for row in self.rows if row.party == party and row.runs and not row.problem), None)


@dataclass(frozen=True, slots=True)
class Bar:
    """A ratio of ours to a peer's, and what it has to be."""

    case: str
    about: str
    peer: str
    ratio: Callable[[Row, Row], float]
    least: float


def times_faster(own: Row, peer: Row) -> float:
    """How many times the peer's MB/s ours are, of whole runs."""
    return own.mb_s / peer.mb_s


def times_faster_once_open(own: Row, peer: Row) -> float:
    """The same of the time in which bytes are read; start and unlocking weigh nothing on a real drive."""
    return own.open_mb_s / peer.open_mb_s


def times_cheaper(own: Row, peer: Row) -> float:
    """How many times our processor time the peer's is."""
    return peer.cpu_s_per_gb / own.cpu_s_per_gb


BARS = (
    Bar("small", "MB/s once open", PAIR, times_faster_once_open, 3.0),
    Bar("small", "less cpu-s/GB", PAIR, times_cheaper, 3.0),
    Bar("large", "MB/s once open", PAIR, times_faster_once_open, 2.0),
    Bar("volume", "MB/s once open", PAIR, times_faster_once_open, 2.0),
)


def verdicts(cases: tuple[Case, ...]) -> list[str]:
    """A sentence for each bar of the cases that ran."""
    by_key = {case.key: case for case in cases}
    return [_verdict(bar, by_key[bar.case]) for bar in BARS if bar.case in by_key]


def _verdict(bar: Bar, case: Case) -> str:
    own, peer = case.row(OWN), case.row(bar.peer)
    asked = f"{case.key}: {bar.about} at least {bar.least:g} times {bar.peer}"
    if own is None or peer is None:
        return f"{asked}: not measured"
    ratio = bar.ratio(own, peer)
    return f"{asked}: {ratio:.1f} times, {'met' if ratio >= bar.least else 'NOT MET'}"
