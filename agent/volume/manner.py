"""How a drive is read: as is best for a sound one, or with care for one that is about to die."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.volume.spending import Budget


@dataclass(frozen=True, slots=True)
class Manner:
    """``piece_bytes`` are asked of the drive at once at most; None: all that is wanted.

    While good data comes first, ``skip_bytes`` behind what could not be read are passed over, for a later
    sweep, and twice as many after each further failure without a success, up to ``most_skip_bytes``.
    ``sentence`` says it all to the technician.
    """

    sentence: str
    budget: Budget
    piece_bytes: int | None = None
    skip_bytes: int = 0
    most_skip_bytes: int = 0


USUAL: Final = Manner("it is read as usual", Budget())

GENTLY: Final = Manner(
    "it is read gently: what is easily read first, 64 KiB at a time, around bad places last, "
    "and each bad sector is tried once",
    Budget(drive_s=1800.0, region_s=30.0, sector_tries=1),
    piece_bytes=64 * 1024,
    skip_bytes=1024 * 1024,
    most_skip_bytes=64 * 1024 * 1024,
)
"""Each failing read wears a dying drive more than hours of good ones, and it may be its last."""
