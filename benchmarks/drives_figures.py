"""What two drives and many files cost, as figures and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

MB, GB, MIB = 1e6, 1e9, 1 << 20
AT_ONCE_TIMES = 1.7
MEMORY_BYTES = 256 * MIB
FLAT_TIMES = 1.25
"""Memory is called flat where the largest of the drives takes at most so many times that of the smallest."""


@dataclass(frozen=True, slots=True)
class Haul:
    """Drives worked at once. ``span_s`` is what the sink saw, ``cpu_s`` of all processes without starts."""

    body_bytes: int
    span_s: float
    cpu_s: float
    sink_cpu_s: float

    @property
    def mb_s(self) -> float:
        """Of all drives together."""
        return self.body_bytes / MB / self.span_s

    @property
    def cores(self) -> float:
        """How many processors the drives and the sink kept busy."""
        return (self.cpu_s + self.sink_cpu_s) / self.span_s


@dataclass(frozen=True, slots=True)
class Way:
    """One way of working, in all rounds."""

    name: str
    hauls: tuple[Haul, ...]

    def median(self, figure: Callable[[Haul], float]) -> float:
        """Of one figure."""
        return median(figure(haul) for haul in self.hauls)

    @property
    def mb_s(self) -> float:
        """The median of the rounds."""
        return self.median(lambda haul: haul.mb_s)

    def cells(self) -> tuple[str, ...]:
        """A row under HAUL_HEAD."""
        rates = [haul.mb_s for haul in self.hauls]
        return (
            self.name,
            f"{self.mb_s:,.0f}",
            f"{min(rates):,.0f}-{max(rates):,.0f}",
            f"{self.median(lambda haul: haul.cpu_s / haul.body_bytes * GB):.2f}",
            f"{self.median(lambda haul: haul.sink_cpu_s / haul.body_bytes * GB):.2f}",
            f"{self.median(lambda haul: haul.cores):.2f}",
        )


HAUL_HEAD = ("drives", "MB/s", "slowest to fastest", "cpu-s/GB", "sink cpu-s/GB", "cores busy")


def at_once_verdict(one: Way, two: Way, cores: int) -> str:
    """Of paired rounds: the median of each round's ratio."""
    ratio = median(b.mb_s / a.mb_s for a, b in zip(one.hauls, two.hauls, strict=True))
    busy = one.median(lambda haul: haul.cores)
    said = verdict("two drives' MB/s to one drive's", ratio, AT_ONCE_TIMES, "at least")
    # Cores that one drive leaves idle are what a second one can use.
    return f"{said}; one drive alone keeps {busy:.1f} of {cores} cores busy"


@dataclass(frozen=True, slots=True)
class Memory:
    """The most that the two workers of a drive ever had in memory, the ring counted once; in bytes."""

    about: str
    files: int
    pair: int
    reader: int
    uploader: int
    ring: int
    station: int
    wall_s: float
    files_s: float

    def cells(self) -> tuple[str, ...]:
        """A row under MEMORY_HEAD."""
        sizes = (self.pair, self.reader, self.uploader, self.ring, self.station)
        rate = f"{self.files_s:,.0f}" if self.files > 1 else "-"
        return (self.about, *(f"{size / MIB:,.0f}" for size in sizes), f"{self.wall_s:,.1f}", rate)


MEMORY_HEAD = ("drive", "both MiB", "reader", "uploader", "ring of it", "station", "s", "files/s")


def memory_verdicts(found: Sequence[Memory]) -> list[str]:
    """Of the largest, and of growth with the number of files."""
    most = max(each.pair for each in found)
    lines = [verdict("MiB of one drive at the most", most / MIB, MEMORY_BYTES / MIB, "at most")]
    many = sorted((each for each in found if each.files > 1), key=lambda each: each.files)
    if len(many) > 1:
        fewest, largest = many[0], many[-1]
        what = f"memory at {largest.files:,} files to that at {fewest.files:,}"
        lines.append(verdict(what, largest.pair / fewest.pair, FLAT_TIMES, "at most"))
    return lines


def verdict(what: str, found: float, bar: float, sense: str) -> str:
    """``sense`` is ``at least`` or ``at most``. A bar that is not met is told with what is missing."""
    is_met = found >= bar if sense == "at least" else found <= bar
    missed = abs(found - bar) / bar
    told = "met" if is_met else f"NOT MET by {missed:.0%}"
    return f"{what} {sense} {bar:g}: {found:.3g}, {told}"
