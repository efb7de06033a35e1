"""The master file table: records by number, and all of them in one sequential pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agent.errors import DiskOperationFailed, NtfsDamaged, UnreadableSectors
from agent.volume.block import BlockSource
from agent.volume.ntfs.attribute_list import MAX_LIST_BYTES, ListEntry, parse_list
from agent.volume.ntfs.extents import ExtentMap, GrowingMap, map_extents
from agent.volume.ntfs.fixups import FILE_SIGNATURE, WHY, Verdict, apply_fixups
from agent.volume.ntfs.geometry import Geometry
from agent.volume.ntfs.record import (
    IN_USE,
    MIN_ATTRIBUTE_BYTES,
    RECORD_MASK,
    Attribute,
    AttributeType,
    Record,
    parse_record,
)

CHUNK_BYTES = 4 * 1024 * 1024
MIRRORED_RECORDS = 4
"""So many records $MFTMirr has."""
_ATTRIBUTE_LIST = int(AttributeType.ATTRIBUTE_LIST)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive records, fix-ups applied. ``verdicts``, ``flags`` and ``bases`` have one item each."""

    first: int
    buffer: bytearray
    verdicts: NDArray[np.uint8]
    flags: NDArray[np.uint16]
    bases: NDArray[np.uint64]


class Records(Protocol):
    """Where the other records of a file are had from, and what its base record only points at."""

    def load(self, number: int) -> Record:
        """The record of that number, in use or not.

        Raises NtfsDamaged when it is not there or not sound, UnreadableSectors.
        """
        ...

    def value(self, instances: list[Attribute], limit: int) -> bytes:
        """The whole value of an attribute, resident or not, of at most ``limit`` bytes.

        Raises NtfsDamaged when it is longer or not mapped, UnreadableSectors.
        """
        ...


class MasterFileTable:
    """$MFT of one volume. Holds its extents, none of its records.

    It is Records: each is a read of its own, or of the window that it lies in.
    """

    def __init__(self, source: BlockSource, geometry: Geometry, bulk: BlockSource | None = None) -> None:
        """Single records are read from ``source``; chunks and values from ``bulk``, if there is one.

        Raises NtfsDamaged when neither $MFT nor $MFTMirr gives a sound first record.
        """
        self.geometry = geometry
        self._source = source
        self._bulk = source if bulk is None else bulk
        # Until the table's own runlist is known, only its beginning is.
        size = geometry.record_size * MIRRORED_RECORDS
        self._map: ExtentMap = ExtentMap(((geometry.mft_offset, size),))
        self._mirror = ExtentMap(((geometry.mirror_offset, size),))
        self.record_count = MIRRORED_RECORDS
        self.chunk_records = CHUNK_BYTES // geometry.record_size
        self._max_attributes = geometry.record_size // MIN_ATTRIBUTE_BYTES
        self._bootstrap()

    def _bootstrap(self) -> None:
        """From the table's own first record, or from its mirror if that one does not hold together."""
        try:
            self._map_table(self._load(0, self._map))
        except (NtfsDamaged, DiskOperationFailed) as damage:
            self._map = self._mirror
            try:
                self._map_table(self._load(0, self._mirror))
            except (NtfsDamaged, DiskOperationFailed):
                raise damage from None

    def _map_table(self, first: Record) -> None:
        """$MFT describes itself; parts of its runlist may lie in records that earlier parts map."""
        own = [each for each in first.attributes() if _is_unnamed(each, AttributeType.DATA)]
        head = next((each for each in own if each.mapped and each.first_vcn == 0), None)
        if head is None:
            raise NtfsDamaged("MFT record 0 does not map the table")
        size = min(head.size, head.valid_size)
        self._map = table = GrowingMap(self.geometry)
        self._grow(table, head, size)
        for entry in sorted(self.attribute_list(first), key=lambda each: each.first_vcn):
            if entry.type == AttributeType.DATA and not entry.is_named and entry.first_vcn:
                self._grow(table, self._listed(first, entry), size)
        if table.total < size or self.record_count < MIRRORED_RECORDS:
            raise NtfsDamaged(f"$MFT has {size} bytes, and its runlist maps {table.total}")

    def _grow(self, table: GrowingMap, part: Attribute, size: int) -> None:
        table.add(part)
        self.record_count = min(size, table.total) // self.geometry.record_size

    def _listed(self, base: Record, entry: ListEntry) -> Attribute:
        for each in self._segment(base, entry.reference).attributes():
            if (each.type, each.id) == (entry.type, entry.id):
                return each
        raise NtfsDamaged(f"MFT record {base.number}: listed attribute {entry.type:#x} is not there")

    def offset(self, number: int) -> int:
        """Where on the volume the record begins, in bytes."""
        size = self.geometry.record_size
        start, _ = next(self._map.pieces(number * size, size))
        assert start is not None
        return start

    def offsets(self, chunk: Chunk) -> NDArray[np.int64]:
        """As ``offset``, of all records of the chunk."""
        size = self.geometry.record_size
        places = (np.arange(len(chunk.verdicts), dtype=np.int64) + chunk.first) * size
        found = np.empty_like(places)
        at = 0
        for start, length in self._map.pieces(chunk.first * size, len(places) * size):
            assert start is not None
            # Of a record that lies in two pieces, the place is where it begins.
            until = at + length
            here = slice(-(-at // size), -(-until // size))
            found[here] = places[here] - chunk.first * size - at + start
            at = until
        return found

    def load(self, number: int) -> Record:
        """As ``Records``; the first four from $MFTMirr if need be."""
        self.check_number(number)
        try:
            return self._load(number, self._map)
        except (NtfsDamaged, UnreadableSectors) as damage:
            if number >= MIRRORED_RECORDS:
                raise
            try:
                return self._load(number, self._mirror)
            except (NtfsDamaged, DiskOperationFailed):
                raise damage from None

    def check_number(self, number: int) -> None:
        """Raises NtfsDamaged when the table has no such record."""
        if not 0 <= number < self.record_count:
            raise NtfsDamaged(f"MFT record {number} of a table of {self.record_count} records")

    def _load(self, number: int, table: ExtentMap) -> Record:
        size = self.geometry.record_size
        block = bytearray(size)
        table.read_into(self._source, number * size, memoryview(block))
        verdict = Verdict(apply_fixups(block, size, FILE_SIGNATURE)[0])
        if verdict is not Verdict.SOUND:
            raise NtfsDamaged(f"MFT record {number} is damaged: {WHY[verdict]}")
        return parse_record(number, block, 0, size)

    def referenced(self, reference: int, records: Records | None = None) -> Record:
        """The base record that a directory or a list points at, in use and of the right sequence.

        Raises NtfsDamaged, UnreadableSectors.
        """
        record = (records or self).load(reference & RECORD_MASK)
        sequence = reference >> 48
        if not record.flags & IN_USE or record.base:
            raise NtfsDamaged(f"MFT record {record.number} is pointed at, and holds no file")
        if sequence and record.sequence != sequence:
            raise NtfsDamaged(
                f"MFT record {record.number} has sequence {record.sequence}, and {sequence} is pointed at"
            )
        return record

    def attributes(self, base: Record, records: Records | None = None) -> list[Attribute]:
        """All attributes of a file: those of its base record and of the records its list names.

        These are had from ``records``, and otherwise read.

        Raises NtfsDamaged when list and records contradict each other, UnreadableSectors.
        """
        own = base.attributes()
        if not _has_list(own):
            return own
        # Records are looked at as they come, so that a list which lies is not followed to its end.
        held: dict[int, list[Attribute]] = {}
        wanted: dict[int, set[tuple[int, int]]] = {}
        for lines, entry in enumerate(self.attribute_list(base, own, records), 1):
            # What is not read here (security, extended attributes) may fill some records that are not held.
            if lines > (len(held) + _UNREAD_RECORDS) * self._max_attributes:
                raise NtfsDamaged(f"MFT record {base.number} lists more attributes than its records can hold")
            if entry.type not in _LISTED:
                continue
            if entry.reference not in held:
                held[entry.reference] = self._segment(base, entry.reference, records).attributes()
                wanted[entry.reference] = set()
            wanted[entry.reference].add((entry.type, entry.id))
        found: list[Attribute] = []
        for reference, keys in wanted.items():
            listed = [each for each in held[reference] if (each.type, each.id) in keys]
            if len(listed) != len(keys):
                raise NtfsDamaged(
                    f"MFT record {base.number} lists {len(keys)} attributes in record "
                    f"{reference & RECORD_MASK}, which holds {len(listed)} of them"
                )
            found += listed
        return found

    def attribute_list(
        self, base: Record, own: list[Attribute] | None = None, records: Records | None = None
    ) -> Iterator[ListEntry]:
        """The lines of the record's attribute list, none if it has no list."""
        for each in base.attributes() if own is None else own:
            if each.type == AttributeType.ATTRIBUTE_LIST:
                yield from parse_list((records or self).value([each], MAX_LIST_BYTES), base.number)

    def _segment(self, base: Record, reference: int, records: Records | None = None) -> Record:
        number = reference & RECORD_MASK
        record = base if number == base.number else (records or self).load(number)
        if record is base:
            return base
        belongs = record.base != 0 and record.base == base.reference
        if not record.flags & IN_USE or not belongs or record.sequence != reference >> 48:
            raise NtfsDamaged(f"MFT record {number} does not belong to record {base.number}, which lists it")
        return record

    def value(self, instances: list[Attribute], limit: int) -> bytes:
        """As ``Records``; of what is mapped exactly these bytes are read."""
        head = min(instances, key=lambda each: each.first_vcn)
        if head.size > limit:
            raise NtfsDamaged(f"attribute {head.type:#x} has {head.size} bytes, at most {limit} are allowed")
        if not head.mapped:
            return head.value
        buffer = bytearray(head.size)
        ExtentMap(map_extents(instances, self.geometry)).read_into(self._bulk, 0, memoryview(buffer))
        return bytes(buffer)

    def beginning(self, number: int, kind: AttributeType, most_bytes: int) -> bytes:
        """Up to ``most_bytes`` of a record's unnamed attribute; none when it is not there or unreadable."""
        try:
            found = self.attributes(self.load(number))
            instances = [each for each in found if _is_unnamed(each, kind)]
            head = min(instances, key=lambda each: each.first_vcn, default=None)
            if head is None or not head.mapped:
                return head.value[:most_bytes] if head is not None else b""
            buffer = bytearray(min(head.size, most_bytes))
            ExtentMap(map_extents(instances, self.geometry)).read_into(self._source, 0, memoryview(buffer))
        except (NtfsDamaged, DiskOperationFailed):
            return b""
        return bytes(buffer)

    def in_use_map(self) -> ExtentMap | None:
        """Where $MFT's own bitmap lies (one bit a record), or None if it is resident or damaged."""
        try:
            found = self.attributes(self.load(0))
            instances = [each for each in found if _is_unnamed(each, AttributeType.BITMAP) and each.mapped]
            return ExtentMap(map_extents(instances, self.geometry)) if instances else None
        except (NtfsDamaged, UnreadableSectors):
            return None

    def allocated(self, bitmap: ExtentMap | None, chunk: Chunk) -> NDArray[np.bool_] | None:
        """Whether each record of the chunk is allocated, or None where the bitmap does not say."""
        count = len(chunk.verdicts)
        data = bytearray(count // 8 + 1)
        if bitmap is None or chunk.first // 8 + len(data) > bitmap.total:
            return None
        try:
            bitmap.read_into(self._source, chunk.first // 8, memoryview(data))
        except UnreadableSectors:
            return None
        bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
        return bits[:count].astype(np.bool_)

    def chunks(self) -> Iterator[Chunk]:
        """All records in their order, in reads of 4 MiB; unreadable ones are told by their verdict."""
        size = self.geometry.record_size
        for first in range(0, self.record_count, self.chunk_records):
            count = min(self.chunk_records, self.record_count - first)
            block = bytearray(count * size)
            unreadable = self._fill(first, memoryview(block))
            verdicts = apply_fixups(block, size, FILE_SIGNATURE)
            for start, length in unreadable:
                verdicts[start - first : start - first + length] = Verdict.UNREADABLE
            flags = np.frombuffer(block, dtype="<u2").reshape(count, -1)[:, 11]
            bases = np.frombuffer(block, dtype="<u8").reshape(count, -1)[:, 4]
            yield Chunk(first, block, verdicts, flags, bases)

    def _fill(self, first: int, block: memoryview) -> list[tuple[int, int]]:
        """Reads records, halving where sectors are bad; returns (first record, count) of the lost."""
        size = self.geometry.record_size
        try:
            self._map.read_into(self._bulk, first * size, block)
            return []
        except UnreadableSectors:
            count = len(block) // size
            if count == 1:
                block[:] = bytes(size)
                return [(first, 1)]
            half = count // 2
            lost = self._fill(first, block[: half * size])
            return lost + self._fill(first + half, block[half * size :])


_UNREAD_RECORDS = 8
_LISTED = frozenset(int(kind) for kind in AttributeType) - {int(AttributeType.ATTRIBUTE_LIST)}


def _has_list(attributes: list[Attribute]) -> bool:
    # A plain loop: this is asked of every record on the volume.
    for each in attributes:  # noqa: SIM110
        if each[0] == _ATTRIBUTE_LIST:
            return True
    return False


def _is_unnamed(attribute: Attribute, kind: AttributeType) -> bool:
    return attribute.type == kind and not attribute.name
