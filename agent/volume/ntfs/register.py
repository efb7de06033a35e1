"""What each record of the table is, as far as a pass has come: four bytes a record in the scratch file.

Behind these lie, for each chunk, the records that continue others, so that a file which has an attribute
list need not have them read again. In memory is one place for each chunk.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.errors import NtfsDamaged, UnreadableSectors
from agent.volume.ntfs.bare import bare_record
from agent.volume.ntfs.fixups import WHY, Verdict
from agent.volume.ntfs.record import IN_USE, Attribute, Record, parse_record
from agent.volume.ntfs.scratch import Scratch
from agent.volume.ntfs.table import MIRRORED_RECORDS, Chunk, MasterFileTable

LIST_FACTOR = 2
"""Lists outside of the table are read up to so many times its bytes: each attribute has one line, which is
at most 8 bytes longer than the 24 or more that the attribute itself takes."""

_LIST_EXTRA_BYTES = 1 << 20
_STATE_BYTES = 4
_FILE, _FREE, _KEPT = 16, 17, 18
"""States besides those of Verdict: a base record in use, one not in use, one that lies in the scratch file.

A state stands above 16 bits: of a file its sequence, of one that is kept which of the chunk's these it is.
"""

_NONE: Final = bytearray()


class NotSeen(Exception):
    """The pass must come further before this can be told."""


class Register:
    """Records of one pass over a table. Everything raises StateUnusable as ``Scratch`` does."""

    def __init__(self, table: MasterFileTable, scratch: Scratch) -> None:
        self._table = table
        self._scratch = scratch
        self._size = table.geometry.record_size
        self._chunk_records = table.chunk_records
        self._starts: list[int] = []
        self._max_list_bytes = LIST_FACTOR * table.record_count * self._size + _LIST_EXTRA_BYTES
        self._list_bytes_left = self._max_list_bytes
        self._is_finished = False

    @property
    def seen(self) -> int:
        """The record up to which the pass has come."""
        return min(len(self._starts) * self._chunk_records, self._table.record_count)

    def see(self, chunk: Chunk) -> None:
        """The next chunk, but for the last one of ``chunk_records`` records."""
        states, kept = _states(chunk, self._size)
        if not chunk.first:
            self._from_mirror(states)
        size = self._size
        rows = (chunk.buffer[row * size : (row + 1) * size] for row in kept)
        bare = b"".join(bare_record(chunk.first + row, data) for row, data in zip(kept, rows, strict=True))
        self._starts.append(self._scratch.append(states.astype("<u4").tobytes() + bare))

    def _from_mirror(self, states: NDArray[np.uint32]) -> None:
        for number in range(MIRRORED_RECORDS):
            if not 0 < states[number] >> 16 < _FILE:
                continue
            try:
                record = self._table.load(number)
            except (NtfsDamaged, UnreadableSectors):
                continue
            is_file = record.flags & IN_USE and not record.base
            states[number] = (_FILE if is_file else _FREE) << 16 | record.sequence

    def finish(self) -> None:
        """All records have been seen: what lies outside of the table may be read as well."""
        self._is_finished = True

    def load(self, number: int) -> Record:
        """A record that continues another one, or the head of any other one: no attributes.

        Raises NtfsDamaged when it is not there or not sound, NotSeen.
        """
        self._table.check_number(number)
        if number >= self.seen:
            raise NotSeen
        index, row = divmod(number, self._chunk_records)
        start, size = self._starts[index], self._size
        word = int.from_bytes(self._scratch.read(start + row * _STATE_BYTES, _STATE_BYTES), "little")
        state, value = word >> 16, word & 0xFFFF
        if state == _KEPT:
            count = min(self._chunk_records, self._table.record_count - index * self._chunk_records)
            data = self._scratch.read(start + count * _STATE_BYTES + value * size, size)
            return parse_record(number, bytearray(data), 0, size)
        if state < _FILE:
            raise NtfsDamaged(f"MFT record {number} is damaged: {WHY[Verdict(state)]}")
        flags = IN_USE if state == _FILE else 0
        return Record(number, _NONE, 0, size, value, 0, 0, flags, 0, 0)

    def value(self, instances: list[Attribute], limit: int) -> bytes:
        """A list, from where it lies. Raises NtfsDamaged, UnreadableSectors; NotSeen until ``finish`` when
        it lies outside of the table."""
        size_bytes = sum(min(each.size, limit) for each in instances if each.mapped)
        if size_bytes:
            if not self._is_finished:
                raise NotSeen
            if size_bytes > self._list_bytes_left:
                raise NtfsDamaged(
                    f"the attribute lists of the volume take more than {self._max_list_bytes} bytes, "
                    f"of a table of {self._table.record_count} records"
                )
            self._list_bytes_left -= size_bytes
        return self._table.value(instances, limit)


def _states(chunk: Chunk, record_size: int) -> tuple[NDArray[np.uint32], list[int]]:
    """The state of each record, and the rows of those that are to be kept.

    Also those are that cannot be parsed, to be told of in the same words.
    """
    count = len(chunk.verdicts)
    shorts = np.frombuffer(chunk.buffer, dtype="<u2").reshape(count, -1)
    used = np.frombuffer(chunk.buffer, dtype="<u4").reshape(count, -1)[:, 6].astype(np.int64)
    first = shorts[:, 10].astype(np.int64)
    unfit = (first < 40) | (first % 8 != 0) | (first + 4 > np.minimum(used, record_size))
    in_use = chunk.flags & IN_USE != 0
    sound = chunk.verdicts == Verdict.SOUND
    kept: list[int] = np.flatnonzero(sound & (unfit | in_use & (chunk.bases != 0))).tolist()
    states = np.where(sound, np.where(in_use, _FILE, _FREE), chunk.verdicts).astype(np.uint32)
    values = shorts[:, 8].astype(np.uint32)
    states[kept], values[kept] = _KEPT, np.arange(len(kept))
    return states << np.uint32(16) | values, kept
