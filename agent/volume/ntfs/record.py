"""MFT records and the attributes in them, parsed in place.

Source: libyal, NTFS, sections "MFT entry header" and "MFT attribute". Times are FILETIMEs: 100 ns
units since 1601-01-01 UTC.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from agent.errors import NtfsDamaged

IN_USE = 0x01
DIRECTORY = 0x02
COMPRESSED = 0x00FF
ENCRYPTED = 0x4000
SPARSE = 0x8000
RECORD_MASK = (1 << 48) - 1

_HEAD = struct.Struct("<HHHHIIQ")
"""From offset 16: sequence, links, first attribute, flags, used, allocated, base record."""
_COMMON = struct.Struct("<IIBBHHHIH")
"""Type, length, non-resident, name length and place, flags, id, then value length and place."""
_MAPPED = struct.Struct("<QqHH4xqqq")
"""From offset 16: first VCN, last VCN, runlist place, unit, allocated, size, valid size."""
_MAPPED_BYTES = 64
MIN_ATTRIBUTE_BYTES = 24
_END = 0xFFFFFFFF


class AttributeType(IntEnum):
    """The attribute types that are read; others are stepped over."""

    STANDARD_INFORMATION = 0x10
    ATTRIBUTE_LIST = 0x20
    FILE_NAME = 0x30
    VOLUME_NAME = 0x60
    VOLUME_INFORMATION = 0x70
    DATA = 0x80
    INDEX_ROOT = 0x90
    INDEX_ALLOCATION = 0xA0
    BITMAP = 0xB0
    REPARSE_POINT = 0xC0
    LOGGED_UTILITY_STREAM = 0x100


_WANTED = frozenset(int(kind) for kind in AttributeType)


class Attribute(NamedTuple):
    """One attribute instance; ``start`` and ``end`` are places in ``buffer``.

    Resident: the value. Non-resident (``mapped``): the runlist; ``first_vcn`` and ``clusters`` say
    which part of the value it maps, and the sizes hold in the instance with ``first_vcn`` 0 only.
    """

    type: int
    id: int
    flags: int
    name: str
    mapped: bool
    buffer: bytearray
    start: int
    end: int
    first_vcn: int = 0
    clusters: int = 0
    unit_shift: int = 0
    size: int = 0
    valid_size: int = 0

    @property
    def value(self) -> bytes:
        """The value of a resident attribute."""
        return bytes(self.buffer[self.start : self.end])


class Record(NamedTuple):
    """A sound MFT record within ``buffer``, fix-ups applied."""

    number: int
    buffer: bytearray
    start: int
    size: int
    sequence: int
    link_count: int
    first_attribute: int
    flags: int
    used: int
    base: int

    @property
    def reference(self) -> int:
        """Record number with the sequence number above it, as other records point here."""
        return self.number | self.sequence << 48

    def attributes(self) -> list[Attribute]:
        """In their order on the volume. Raises NtfsDamaged when one does not lie within the record."""
        found: list[Attribute] = []
        at = self.start + self.first_attribute
        end = self.start + min(self.used, self.size)
        buffer = self.buffer
        unpack, wanted, number = _COMMON.unpack_from, _WANTED, self.number
        while at + 4 <= end:
            if at + 24 > end:
                if buffer[at : at + 4] == b"\xff\xff\xff\xff":
                    return found
                break
            common = unpack(buffer, at)
            kind, length = common[0], common[1]
            if kind == _END:
                return found
            if length < MIN_ATTRIBUTE_BYTES or length % 8 or at + length > end:
                raise NtfsDamaged(
                    f"MFT record {self.number}: attribute {kind:#x} at {at - self.start} has {length} bytes"
                )
            if kind in wanted:
                found.append(_attribute(buffer, at, common, number))
            at += length
        raise NtfsDamaged(f"MFT record {self.number}: its attributes do not end")


def parse_record(number: int, buffer: bytearray, start: int, size: int) -> Record:
    """The record that begins at ``start``; its fix-ups have been applied.

    Raises NtfsDamaged when the first attribute lies outside of it.
    """
    sequence, links, first, flags, used, _, base = _HEAD.unpack_from(buffer, start + 16)
    if first < 40 or first % 8 or first + 4 > min(used, size):
        raise NtfsDamaged(f"MFT record {number}: its first attribute is at {first} of {used} bytes")
    return Record(number, buffer, start, size, sequence, links, first, flags, used, base)


def _attribute(
    buffer: bytearray, at: int, common: tuple[int, int, int, int, int, int, int, int, int], number: int
) -> Attribute:
    kind, length, mapped, name_length, name_place, flags, attribute_id, value_length, value_place = common
    name = ""
    if name_length:
        if name_place + 2 * name_length > length:
            raise NtfsDamaged(f"MFT record {number}: the name of attribute {kind:#x} lies outside of it")
        place = at + name_place
        name = decode_name(buffer[place : place + 2 * name_length])
    if not mapped:
        if value_place + value_length > length:
            raise NtfsDamaged(f"MFT record {number}: the value of attribute {kind:#x} lies outside of it")
        start = at + value_place
        end = start + value_length
        return Attribute(
            kind, attribute_id, flags, name, False, buffer, start, end, 0, 0, 0, value_length, value_length
        )
    if mapped != 1 or length < _MAPPED_BYTES:
        raise NtfsDamaged(f"MFT record {number}: attribute {kind:#x} is neither resident nor mapped")
    first, last, runs, unit, allocated, size, valid = _MAPPED.unpack_from(buffer, at + 16)
    clusters = last + 1 - first
    if not _MAPPED_BYTES <= runs <= length or clusters < 0 or min(allocated, size, valid) < 0:
        raise NtfsDamaged(
            f"MFT record {number}: attribute {kind:#x} maps {clusters} clusters "
            f"for {size} bytes, its runlist is at {runs}"
        )
    return Attribute(
        kind,
        attribute_id,
        flags,
        name,
        True,
        buffer,
        at + runs,
        at + length,
        first,
        clusters,
        unit & 0xFF,
        size,
        valid,
    )


def decode_name(data: bytes | bytearray) -> str:
    """UTF-16 as NTFS means it: any code units, lone surrogates kept."""
    return data.decode("utf-16-le", "surrogatepass")
