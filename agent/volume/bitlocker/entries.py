"""Entries: the typed records that BitLocker metadata and startup key files are made of.

An entry is u16 size (of the whole), u16 role, u16 type, u16 flags, data; all little-endian
(libyal, "BDE format", FVE metadata entry).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.errors import BitLockerFailed

_HEADER = struct.Struct("<HHHH")

ROLE_VMK = 0x02
ROLE_FVEK = 0x03
ROLE_STARTUP_KEY = 0x06
ROLE_DESCRIPTION = 0x07

TYPE_KEY = 0x01
TYPE_TEXT = 0x02
TYPE_STRETCH = 0x03
TYPE_AES_CCM = 0x05
TYPE_VMK = 0x08
TYPE_EXTERNAL_KEY = 0x09


@dataclass(frozen=True, slots=True)
class Entry:
    """One record. ``data`` may be key material, and is not printed."""

    role: int
    type: int
    data: bytes = field(repr=False)


def parse_entries(data: bytes, where: str) -> tuple[Entry, ...]:
    """All entries up to the end of ``data`` or a zero size; ``where`` names the place in messages.

    Raises BitLockerFailed when an entry does not fit. Nested entries are not followed here, so the
    work is bounded by the length.
    """
    return tuple(_walk(data, where))


def _walk(data: bytes, where: str) -> Iterator[Entry]:
    at = 0
    while at + _HEADER.size <= len(data):
        size, role, kind, _flags = _HEADER.unpack_from(data, at)
        if size == 0:
            return
        if size < _HEADER.size or at + size > len(data):
            raise BitLockerFailed(
                f"an entry of {size} bytes at byte {at} of {where} does not fit {len(data)} bytes"
            )
        yield Entry(role, kind, data[at + _HEADER.size : at + size])
        at += size


def text_of(entry: Entry) -> str:
    """A text entry; what is not UTF-16 is replaced, for it is only ever shown."""
    return entry.data.decode("utf-16-le", "replace").partition("\0")[0]
