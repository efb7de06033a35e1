"""MFT records without what is content, so that they can be put where none may stand."""

from __future__ import annotations

import struct

from agent.errors import NtfsDamaged
from agent.volume.ntfs.record import MIN_ATTRIBUTE_BYTES, AttributeType, parse_record

_KEPT = frozenset(
    (
        AttributeType.STANDARD_INFORMATION,
        AttributeType.ATTRIBUTE_LIST,
        AttributeType.FILE_NAME,
        AttributeType.REPARSE_POINT,
    )
)
"""Whose values a scan looks into."""

_FIXED_BYTES = 48
"""Of a record: its header, up to where the update sequence array may begin."""

_HEAD = struct.Struct("<IIBBH12x")
"""Of an attribute: type, length, whether it is mapped, length and place of its name."""

_END = 0xFFFFFFFF
_MAPPED = 1


def bare_record(number: int, record: bytes | bytearray) -> bytes:
    """The record, of which is kept what a scan may read, and zeros for all else.

    ``Record.attributes`` gives the same of both but for values of resident attributes that are not times,
    names, lists or reparse points, or raises NtfsDamaged with the same text.
    """
    size = len(record)
    bare = bytearray(size)
    bare[:_FIXED_BYTES] = record[:_FIXED_BYTES]
    try:
        parsed = parse_record(number, bare, 0, size)
    except NtfsDamaged:
        return bytes(bare)
    at, end = parsed.first_attribute, min(parsed.used, size)
    while at + 4 <= end:
        length = _copy_attribute(record, bare, at, end)
        if not length:
            break
        at += length
    return bytes(bare)


def _copy_attribute(record: bytes | bytearray, bare: bytearray, at: int, end: int) -> int:
    """Returns how long the attribute is, 0 if none can follow."""
    head_end = min(at + _HEAD.size, end)
    bare[at:head_end] = record[at:head_end]
    if at + _HEAD.size > end:
        return 0
    kind, length, mapped, name_length, name_place = _HEAD.unpack_from(record, at)
    if kind == _END or length < MIN_ATTRIBUTE_BYTES or at + length > end:
        return 0
    if mapped == _MAPPED or kind in _KEPT:
        bare[at : at + length] = record[at : at + length]
    else:
        first, last = at + min(name_place, length), at + min(name_place + 2 * name_length, length)
        bare[first:last] = record[first:last]
    return int(length)
