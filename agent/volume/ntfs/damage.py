"""Records of the table that no Entry tells of, though they are in use."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agent.errors import NtfsDamaged, UnreadableSectors
from agent.volume.ntfs.entry import DamagedRecord
from agent.volume.ntfs.extents import ExtentMap
from agent.volume.ntfs.fixups import WHY, Verdict
from agent.volume.ntfs.record import IN_USE, RECORD_MASK
from agent.volume.ntfs.table import Chunk, MasterFileTable
from agent.volume.ntfs.tree import FIRST_USER_RECORD

RESERVED = range(12, FIRST_USER_RECORD)
"""Records that NTFS sets aside; they are allocated and hold no file."""


def damaged_records(
    table: MasterFileTable, chunk: Chunk, bitmap: ExtentMap | None
) -> Iterator[DamagedRecord]:
    """Records that are in use by the table's bitmap or their own flag and cannot be parsed.

    Without the bitmap, an unsigned record counts as never used if it begins with zeros.
    """
    broken = chunk.verdicts != Verdict.SOUND
    if not broken.any():
        return
    allocated = table.allocated(bitmap, chunk)
    size = table.geometry.record_size
    for row in np.flatnonzero(broken).tolist():
        number, verdict = chunk.first + row, Verdict(int(chunk.verdicts[row]))
        if allocated is not None:
            in_use = bool(allocated[row])
        else:
            in_use = verdict is Verdict.UNREADABLE or any(chunk.buffer[row * size : row * size + 4])
        if verdict in (Verdict.BAD_ARRAY, Verdict.TORN) and chunk.flags[row] & IN_USE:
            in_use = True
        if in_use and not (number in RESERVED and verdict is Verdict.NO_SIGNATURE):
            yield DamagedRecord(number, f"MFT record {number} is damaged: {WHY[verdict]}")


def lost_extensions(table: MasterFileTable, chunk: Chunk) -> Iterator[DamagedRecord]:
    """Records in use that continue one that is gone: the rest of a file that no Entry will tell of."""
    wanted = (chunk.verdicts == Verdict.SOUND) & (chunk.flags & IN_USE != 0) & (chunk.bases != 0)
    rows = np.flatnonzero(wanted)
    # Each base is looked at once, in the order in which they lie: its extensions are often many.
    unique: list[int] = np.unique(chunk.bases[rows]).tolist()
    lost = {
        base: _why_lost(table, chunk, base) for base in sorted(unique, key=lambda base: base & RECORD_MASK)
    }
    for row in rows.tolist():
        why = lost[int(chunk.bases[row])]
        if why is not None:
            number = chunk.first + row
            yield DamagedRecord(number, f"MFT record {number} continues another one: {why}")


def _why_lost(table: MasterFileTable, chunk: Chunk, base: int) -> str | None:
    try:
        table.referenced(base, chunk)
    except (NtfsDamaged, UnreadableSectors) as damage:
        return damage.detail
    return None
