"""The contents of a .BEK file (libyal, "BDE format", BitLocker External Key file)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from uuid import UUID

from agent.errors import BitLockerFailed, BitLockerKeyInvalid
from agent.volume.bitlocker.entries import (
    ROLE_STARTUP_KEY,
    TYPE_EXTERNAL_KEY,
    TYPE_KEY,
    Entry,
    parse_entries,
)
from agent.volume.bitlocker.keys import Key

_FILE_HEADER = struct.Struct("<IIII16sIIQ")
_EXTERNAL_KEY = struct.Struct("<16sQ")
_MAX_FILE_BYTES = 65536
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ExternalKey:
    """A startup key and the GUID of the protector that it is for."""

    guid: UUID
    key: Key


def parse_startup_key(data: bytes) -> ExternalKey:
    """Raises BitLockerKeyInvalid when ``data`` is not a startup key file."""
    if not _FILE_HEADER.size <= len(data) <= _MAX_FILE_BYTES:
        raise BitLockerKeyInvalid(f"a startup key file of {len(data)} bytes is not one")
    size, version, header_size, _copy, guid, *_ = _FILE_HEADER.unpack_from(data)
    if version != 1 or header_size != _FILE_HEADER.size or not header_size <= size <= len(data):
        raise BitLockerKeyInvalid(
            f"the startup key file has version {version} and a size field of {size} bytes"
        )
    try:
        entries = parse_entries(data[header_size:size], "the startup key file")
        return ExternalKey(UUID(bytes_le=guid), _find_key(entries))
    except BitLockerFailed as error:
        raise BitLockerKeyInvalid(f"the startup key file is malformed: {error.detail}") from None


def _find_key(entries: tuple[Entry, ...]) -> Key:
    for entry in entries:
        if entry.role == ROLE_STARTUP_KEY and entry.type == TYPE_EXTERNAL_KEY:
            for nested in parse_entries(entry.data[_EXTERNAL_KEY.size :], "the startup key"):
                if nested.type == TYPE_KEY:
                    return plain_key(nested)
    raise BitLockerFailed("it holds no key")


def plain_key(entry: Entry) -> Key:
    """A key that lies in the open: u32 method, 32 bytes. Raises BitLockerFailed."""
    if len(entry.data) != 4 + KEY_BYTES:
        raise BitLockerFailed(f"a key entry of {len(entry.data)} bytes should have {4 + KEY_BYTES}")
    return Key(entry.data[4:], int.from_bytes(entry.data[:4], "little"))
