"""Records of the table that no Entry tells of, though they are in use."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from agent.errors import NtfsDamaged
from agent.volume.entry import DamagedRecord
from agent.volume.ntfs.extents import ExtentMap
from agent.volume.ntfs.fixups import WHY, Verdict
from agent.volume.ntfs.record import IN_USE, RECORD_MASK
from agent.volume.ntfs.register import Register
from agent.volume.ntfs.scratch import Scratch
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


class Continuations:
    """Finds records in use that continue one that is gone: the rest of a file no Entry will tell of."""

    def __init__(self, table: MasterFileTable, register: Register, scratch: Scratch) -> None:
        self._table = table
        self._register = register
        self._scratch = scratch
        self._waiting: list[tuple[int, int]] = []

    def see(self, chunk: Chunk) -> Iterator[DamagedRecord]:
        """Those of a chunk that the register has seen, but for those whose base comes later."""
        wanted = (chunk.verdicts == Verdict.SOUND) & (chunk.flags & IN_USE != 0) & (chunk.bases != 0)
        rows = np.flatnonzero(wanted)
        if not len(rows):
            return
        pairs = np.stack([rows.astype(np.uint64) + np.uint64(chunk.first), chunk.bases[rows]], axis=1)
        bases = pairs[:, 1] & np.uint64(RECORD_MASK)
        later = (bases >= self._register.seen) & (bases < self._table.record_count)
        if later.any():
            data = pairs[later].astype("<u8").tobytes()
            self._waiting.append((self._scratch.append(data), len(data)))
        yield from self._lost(pairs[~later])

    def finish(self) -> Iterator[DamagedRecord]:
        """The others; the register has seen all records."""
        for start, length in self._waiting:
            data = np.frombuffer(self._scratch.load(start, length), dtype="<u8")
            yield from self._lost(data.astype(np.uint64).reshape(-1, 2))

    def _lost(self, pairs: NDArray[np.uint64]) -> Iterator[DamagedRecord]:
        # Each base is looked at once, in the order in which they lie: its extensions are often many.
        bases = sorted(set(pairs[:, 1].tolist()), key=lambda base: base & RECORD_MASK)
        lost = {base: self._why(base) for base in bases}
        for number, base in pairs.tolist():
            why = lost[base]
            if why is not None:
                yield DamagedRecord(number, f"MFT record {number} continues another one: {why}")

    def _why(self, base: int) -> str | None:
        try:
            self._table.referenced(base, self._register)
        except NtfsDamaged as damage:
            return damage.detail
        return None
