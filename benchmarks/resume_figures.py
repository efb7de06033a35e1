"""A killed run and the one after it, as figures and verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.drives_figures import verdict
from benchmarks.resume_store import Put

FIRST_BYTE_S = 3.0
LOGS = "waimportexport/"


@dataclass(frozen=True, slots=True)
class Start:
    """From the start of the command to its first new write: seconds of the clock and of processors.

    ``inventory`` is how many files the drive has, ``done`` how many of them were moved before.
    """

    about: str
    wall_s: float
    cpu_s: float
    cpu_by_process: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Resume:
    """What the run after a kill sent of what had been sent before.

    ``under_way`` had begun at the kill and not been answered; ``again`` had been answered, the longest
    ago ``oldest_s`` before the kill.
    """

    about: str
    written: int
    under_way: int
    under_way_again: int
    again: int
    again_bytes: int
    oldest_s: float
    start: Start

    @classmethod
    def of(
        cls, about: str, before: Sequence[Put], killed: float, after: Sequence[Put], start: Start
    ) -> Resume:
        """``killed`` is the time of the kill. What is written of logs does not count."""
        known = {put.key: put for put in before if put.ended is not None}
        open_ = {put.key for put in before if put.ended is None or put.ended > killed}
        sent = [put for put in after if not is_log(put)]
        again = [put for put in sent if put.key in known and put.key not in open_]
        answered = [known[put.key].ended or killed for put in again]
        return cls(
            about=about,
            written=sum(1 for put in known.values() if not is_log(put)),
            under_way=len(open_),
            under_way_again=sum(1 for put in sent if put.key in open_),
            again=len(again),
            again_bytes=sum(put.body_bytes for put in again),
            oldest_s=killed - min(answered, default=killed),
            start=start,
        )

    def cells(self) -> tuple[str, ...]:
        """A row under RESUME_HEAD."""
        return (
            self.about,
            f"{self.written:,}",
            f"{self.under_way}",
            f"{self.under_way_again}",
            f"{self.again}",
            f"{self.again_bytes / 1e6:.2f}",
            f"{self.oldest_s:.2f}" if self.again else "-",
            f"{self.start.wall_s:.2f}",
            f"{self.start.cpu_s:.2f}",
        )


RESUME_HEAD = (
    "drive", "written before", "under way at the kill", "of these sent again", "others sent again",
    "their MB", "answered s before", "s to the first new byte", "cpu-s to it",
)  # fmt: skip


def is_log(put: Put) -> bool:
    """Written for the customer to read, not of the drive."""
    return put.path.startswith(LOGS)


def resume_verdicts(found: Sequence[Resume]) -> list[str]:
    """For each kind of drive: what was sent again, and when the first new byte came."""
    lines = []
    for about in dict.fromkeys(each.about for each in found):
        rounds = [each for each in found if each.about == about]
        worst = max(rounds, key=lambda each: each.again)
        told = "met" if not worst.again else f"NOT MET by {worst.again}"
        if worst.again:
            told += f", answered at most {worst.oldest_s:.2f} s before the kill and not yet in the journal"
        lines.append(f"{about}: nothing is sent again but what was under way: {told}")
        lines.append(_first_byte(about, [each.start for each in rounds]))
    return lines


def _first_byte(about: str, starts: Sequence[Start]) -> str:
    wall = median(start.wall_s for start in starts)
    return verdict(f"{about}: seconds to the first new byte", wall, FIRST_BYTE_S, "at most")


START_HEAD = ("drive", "s to the first byte", "cpu-s to it", "of them")


def start_rows(found: Sequence[Start]) -> list[tuple[str, ...]]:
    """A row for each kind of start, of medians."""
    rows: list[tuple[str, ...]] = []
    for about in dict.fromkeys(each.about for each in found):
        starts = [each for each in found if each.about == about]
        middle = sorted(starts, key=lambda each: each.cpu_s)[len(starts) // 2]
        parts = ", ".join(f"{name} {cpu_s:.2f}" for name, cpu_s in middle.cpu_by_process)
        wall = median(each.wall_s for each in starts)
        rows.append((about, f"{wall:.2f}", f"{median(each.cpu_s for each in starts):.2f}", parts))
    return rows
