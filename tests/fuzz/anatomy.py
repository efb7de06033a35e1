"""Where the structures of an NTFS volume lie, and how to change them so that the change is met.

Works on a draft that may have been changed before: what no longer looks like the structure is passed
over. Never raises for what the bytes say.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from tests.fuzz.draft import Draft
from tests.fuzz.maker import parts

Run = tuple[int | None, int]


@dataclass(frozen=True, slots=True)
class Place:
    """An attribute within its record: offset, length, type; ``head`` is where value or runlist begin."""

    at: int
    length: int
    type: int
    is_mapped: bool
    name: str
    head: int
    value_length: int
    attribute_id: int

    @property
    def end(self) -> int:
        """One past its last byte."""
        return self.at + self.length

    @property
    def value_end(self) -> int:
        """One past the value, or past the room of the runlist."""
        return self.end if self.is_mapped else min(self.end, self.head + self.value_length)


class Record(bytearray):
    """A record without its fix-ups."""

    def u16(self, at: int) -> int:
        """A number, 0 past the end."""
        return int.from_bytes(self[at : at + 2], "little")

    def u32(self, at: int) -> int:
        """A number, 0 past the end."""
        return int.from_bytes(self[at : at + 4], "little")

    def u64(self, at: int) -> int:
        """A number, 0 past the end."""
        return int.from_bytes(self[at : at + 8], "little")

    def set(self, at: int, width: int, value: int) -> None:
        """A number, cut to its width; nothing happens where it does not fit the record."""
        if 0 <= at <= len(self) - width:
            self[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")

    def write(self, at: int, data: bytes) -> None:
        """As much of ``data`` as there is room for."""
        room = max(0, len(self) - at)
        self[at : at + min(room, len(data))] = data[:room]

    def attributes(self) -> list[Place]:
        """Those that lie within the record, in order."""
        found: list[Place] = []
        at = self.u16(20)
        while 40 <= at <= len(self) - 24 and self.u32(at) != 0xFFFFFFFF:
            length = self.u32(at + 4)
            if not 24 <= length <= len(self) - at:
                break
            names = at + self.u16(at + 10)
            name = self[names : names + 2 * self[at + 9]].decode("utf-16-le", "replace")
            is_mapped = self[at + 8] != 0
            head = at + self.u16(at + (32 if is_mapped else 20))
            value_length = 0 if is_mapped else self.u32(at + 16)
            found.append(
                Place(
                    at,
                    length,
                    self.u32(at),
                    is_mapped,
                    name,
                    min(head, at + length),
                    value_length,
                    self.u16(at + 14),
                )
            )
            at += length
        return found


class Volume:
    """The structures of the volume in ``draft``, as its boot sector (of the base) places them."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        facts = _facts(draft.base)
        self.cluster_size, self.record_size, self.index_size = (
            facts.cluster_size,
            facts.record_size,
            facts.index_size,
        )
        self.cluster_count = len(draft.base) // facts.cluster_size
        self.table, self.mirror = facts.table, facts.mirror
        self.record_count = sum(length for _, length in facts.table) // facts.record_size
        self.in_use = facts.in_use
        self.blocks = facts.blocks

    def offset(self, number: int) -> int:
        """Where a record lies on the volume."""
        at = number * self.record_size
        for start, length in self.table:
            if at < length:
                return start + at
            at -= length
        raise IndexError(number)

    def record(self, number: int) -> Record:
        """A record, its fix-ups undone."""
        return self._load(self.offset(number), self.record_size)

    def put(self, number: int, record: Record, *, is_mirrored: bool = False) -> None:
        """Write a record back with fix-ups that match, to the mirror too if asked."""
        protected = _protected(record, self.record_size)
        self.draft.put(self.offset(number), protected)
        if is_mirrored and number < 4:
            self.draft.put(self.mirror + number * self.record_size, protected)

    def block(self, offset: int) -> Record:
        """An index block at a byte of the volume, its fix-ups undone."""
        return self._load(offset, self.index_size)

    def put_block(self, offset: int, block: Record) -> None:
        """Write an index block back."""
        self.draft.put(offset, _protected(block, self.index_size))

    def _load(self, offset: int, size: int) -> Record:
        record = Record(self.draft.get(offset, size).ljust(size, b"\0"))
        parts.unprotect(record)
        return record

    def having(self, wanted: Callable[[Place], bool]) -> list[int]:
        """Numbers of the base's records in use with such an attribute."""
        return [number for number in self.in_use if any(map(wanted, _places(self.draft.base, number)))]

    def runs(self, record: Record, place: Place) -> list[Run]:
        """The runs of a mapped attribute, as far as they make sense."""
        return list(_decode(bytes(record[place.head : place.end])))


def _protected(record: Record, size: int) -> bytes:
    copy = bytearray(record[:size].ljust(size, b"\0"))
    parts.protect(copy)
    return bytes(copy)


@dataclass(frozen=True)
class _Facts:
    cluster_size: int
    record_size: int
    index_size: int
    table: tuple[tuple[int, int], ...]
    mirror: int
    in_use: tuple[int, ...]
    blocks: tuple[int, ...]


@lru_cache(maxsize=32)
def _facts(base: bytes) -> _Facts:
    sector, per_cluster = struct.unpack_from("<HB", base, 11)
    mft, mirror, record_code, index_code = struct.unpack_from("<QQb3xb", base, 48)
    cluster_size = sector * per_cluster
    record_size = record_code * cluster_size if record_code > 0 else 1 << -record_code
    index_size = index_code * cluster_size if index_code > 0 else 1 << -index_code
    table = _table(base, mft * cluster_size, record_size, cluster_size)
    records = [at for start, length in table for at in range(start, start + length, record_size)]
    in_use = tuple(
        number for number, at in enumerate(records) if base[at : at + 4] == b"FILE" and base[at + 22] & 1
    )
    blocks = tuple(at for at in range(0, len(base), 512) if base[at : at + 4] == b"INDX")
    return _Facts(cluster_size, record_size, index_size, table, mirror * cluster_size, in_use, blocks)


def _table(base: bytes, start: int, record_size: int, cluster_size: int) -> tuple[tuple[int, int], ...]:
    """Extents of $MFT in the base, which is trusted; further parts are found by their base reference."""
    first = Record(base[start : start + record_size])
    parts.unprotect(first)
    found = {0: _data_runs(first)}
    for at in range(start, start + found[0][0][1] * cluster_size, record_size):
        record = Record(base[at : at + record_size])
        parts.unprotect(record)
        if record[:4] == b"FILE" and record.u64(32) == parts.reference(0):
            for place in record.attributes():
                found[record.u64(place.at + 16)] = list(_decode(bytes(record[place.head : place.end])))
    runs = [run for vcn in sorted(found) for run in found[vcn]]
    return tuple(
        (cluster * cluster_size, length * cluster_size) for cluster, length in runs if cluster is not None
    )


def _data_runs(record: Record) -> list[Run]:
    for place in record.attributes():
        if place.type == parts.DATA and not place.name:
            return list(_decode(bytes(record[place.head : place.end])))
    return []


@lru_cache(maxsize=8192)
def _places(base: bytes, number: int) -> tuple[Place, ...]:
    return tuple(Volume(Draft(base)).record(number).attributes())


def _decode(packed: bytes) -> Iterator[Run]:
    at = cluster = 0
    while at < len(packed) and packed[at]:
        middle = at + 1 + (packed[at] & 15)
        end = middle + (packed[at] >> 4)
        length = int.from_bytes(packed[at + 1 : middle], "little")
        if end == middle:
            yield None, length
        else:
            cluster += int.from_bytes(packed[middle:end], "little", signed=True)
            yield cluster, length
        at = end
