"""One of the three copies of the metadata block, parsed and checked against itself.

Source: libyal, "BDE format", FVE metadata block, header and validation.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from uuid import UUID

from agent.errors import BitLockerFailed
from agent.volume.bitlocker.entries import TYPE_AES_CCM, Entry, parse_entries
from agent.volume.bitlocker.header import SIGNATURE

BLOCK_BYTES = 65536
_BLOCK_HEADER = struct.Struct("<8sHHHHQIIQQQQ")
_METADATA_HEADER = struct.Struct("<IIII16sIHHQ")
_VALIDATION = struct.Struct("<HHI")
_ENTRIES_AT = _BLOCK_HEADER.size + _METADATA_HEADER.size


@dataclass(frozen=True, slots=True)
class MetadataBlock:
    """What one copy says. Offsets and sizes are bytes on the volume, not yet held against it."""

    current_state: int
    next_state: int
    encrypted_size_bytes: int
    header_sectors: int
    header_offset: int
    metadata_offsets: tuple[int, int, int]
    volume_guid: UUID
    cipher: int
    entries: tuple[Entry, ...] = field(repr=False)
    raw: bytes = field(repr=False)
    """The bytes that the validation vouches for."""
    validation: Entry | None
    """SHA-256 of ``raw``, encrypted with the volume master key; None when the block carries none."""


def parse_block(data: bytes) -> MetadataBlock:
    """``data`` is the whole 64 KiB. Raises BitLockerFailed saying what is wrong with this copy."""
    (signature, units, version, current, following, encrypted, _unknown, sectors, *offsets, header_at) = (
        _BLOCK_HEADER.unpack_from(data)
    )
    if signature != SIGNATURE:
        raise BitLockerFailed("it has no signature")
    if version != 2:
        raise BitLockerFailed(f"it has version {version}; only 2 is known")
    size = units * 16
    if not _ENTRIES_AT <= size <= BLOCK_BYTES - _VALIDATION.size:
        raise BitLockerFailed(f"it gives itself a size of {size} bytes")
    raw = data[:size]
    validation = _validation(data, raw)
    metadata_size, metadata_version, header_size, _copy, guid, _nonce, cipher, _high, _created = (
        _METADATA_HEADER.unpack_from(data, _BLOCK_HEADER.size)
    )
    if metadata_version != 1 or header_size != _METADATA_HEADER.size:
        raise BitLockerFailed(f"its inner header has version {metadata_version} and {header_size} bytes")
    if not _METADATA_HEADER.size <= metadata_size <= size - _BLOCK_HEADER.size:
        raise BitLockerFailed(f"its entries of {metadata_size} bytes do not fit its size of {size} bytes")
    end = _BLOCK_HEADER.size + metadata_size
    return MetadataBlock(
        current_state=current,
        next_state=following,
        encrypted_size_bytes=encrypted,
        header_sectors=sectors,
        header_offset=header_at,
        metadata_offsets=(offsets[0], offsets[1], offsets[2]),
        volume_guid=UUID(bytes_le=guid),
        cipher=cipher,
        entries=parse_entries(raw[_ENTRIES_AT:end], "the metadata"),
        raw=raw,
        validation=validation,
    )


def _validation(data: bytes, raw: bytes) -> Entry | None:
    size, version, crc32 = _VALIDATION.unpack_from(data, len(raw))
    found = zlib.crc32(raw)
    if crc32 != found:
        raise BitLockerFailed(f"its check sum is {found:08x} and should be {crc32:08x}")
    if version < 2:
        return None
    rest = data[len(raw) + _VALIDATION.size : len(raw) + max(size, _VALIDATION.size)]
    for entry in parse_entries(rest[: _first_size(rest)], "the validation"):
        if entry.type == TYPE_AES_CCM:
            return entry
    return None


def _first_size(rest: bytes) -> int:
    """Behind the one entry of the validation lies padding, which need not be zeros."""
    return int.from_bytes(rest[:2], "little")
