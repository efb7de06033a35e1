"""Attribute lists: which record holds which attribute of a file that needs more than one record.

Source: libyal, NTFS, section "The attribute list".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from agent.errors import NtfsDamaged

MAX_LIST_BYTES = 256 * 1024
"""What NTFS allows for one attribute list."""

_ENTRY = struct.Struct("<IHBBQQH")
"""Type, length, name length and place, first VCN, record, id."""


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One line of an attribute list: which record holds which attribute instance."""

    type: int
    id: int
    first_vcn: int
    reference: int
    is_named: bool


def parse_list(data: bytes, number: int) -> Iterator[ListEntry]:
    """The lines of the list of record ``number``. Raises NtfsDamaged when one does not fit."""
    at = 0
    while at + _ENTRY.size <= len(data):
        kind, length, name_length, _, vcn, reference, attribute_id = _ENTRY.unpack_from(data, at)
        if length < _ENTRY.size or at + length > len(data):
            raise NtfsDamaged(f"MFT record {number}: entry {at} of its attribute list has {length} bytes")
        yield ListEntry(kind, attribute_id, vcn, reference, name_length > 0)
        at += length
