"""How long a failing drive may keep everybody waiting.

Only time inside failing reads counts; a read that succeeds costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HOPELESS: Final = 2
"""Reading anew what failed ends when a budget is used up; asking for anything, at so many times it."""

USED_UP: Final = "time budget used up"
"""Part of the reason that is given for every range that was not read to save time."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Seconds of failing reads in all, and in each region of ``region_bytes``; tries of one sector.

    A desktop drive takes some seconds over a sector that it cannot read, and one such sector costs
    about five failing reads until it is found.
    """

    drive_s: float = 3600.0
    region_s: float = 120.0
    region_bytes: int = 64 * 1024 * 1024
    sector_tries: int = 3

    def __post_init__(self) -> None:
        if self.drive_s < 0 or self.region_s < 0 or self.region_bytes < 1 or self.sector_tries < 1:
            raise ValueError(f"no budget: {self}")


class Spending:
    """What failing reads have cost so far. Not thread-safe.

    A charge can be taken back until it is settled.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._regions: dict[int, float] = {}
        self._unsettled: dict[int, float] = {}
        self.total_s = 0.0

    def charge(self, offset: int, seconds: float) -> None:
        """A read that failed at ``offset`` took so long."""
        if seconds <= 0:
            return
        region = offset // self._budget.region_bytes
        self._regions[region] = self._regions.get(region, 0.0) + seconds
        self._unsettled[region] = self._unsettled.get(region, 0.0) + seconds
        self.total_s += seconds

    def settle(self) -> None:
        """What was charged stays so."""
        self._unsettled.clear()

    def take_back(self) -> None:
        """What was charged since the last ``settle`` was not the drive's fault."""
        for region, seconds in self._unsettled.items():
            self._regions[region] -= seconds
            self.total_s -= seconds
        self._unsettled.clear()

    def refusal(self, offset: int, *, anew: bool) -> str | None:
        """Why the bytes at ``offset`` are not to be asked for; None when they may be.

        ``anew``: they failed before.
        """
        if not self.total_s:
            return None
        times = 1 if anew else HOPELESS
        if self.total_s >= self._budget.drive_s * times:
            return f"{USED_UP}: {self.total_s:.0f} s of failing reads on this drive"
        spent = self._regions.get(offset // self._budget.region_bytes, 0.0)
        if spent and spent >= self._budget.region_s * times:
            return f"{USED_UP}: {spent:.0f} s of failing reads in this region"
        return None
