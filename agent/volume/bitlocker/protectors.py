"""Protectors: the ways in which the volume master key lies encrypted on the drive.

Source: libyal, "BDE format", FVE volume master key.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from agent.errors import BitLockerFailed
from agent.volume.bitlocker.entries import ROLE_VMK, TYPE_TEXT, TYPE_VMK, Entry, parse_entries, text_of

_VMK = struct.Struct("<16sQHH")


class ProtectorKind(StrEnum):
    """What opens a protector, as messages name it."""

    CLEAR_KEY = "clear key"
    TPM = "TPM"
    STARTUP_KEY = "startup key"
    TPM_AND_PIN = "TPM and PIN"
    RECOVERY_PASSWORD = "recovery password"  # noqa: S105 - the name of a kind
    SMART_CARD = "smart card"
    PASSWORD = "password"  # noqa: S105 - the name of a kind
    UNKNOWN = "unknown"


_KINDS = {
    0x0000: ProtectorKind.CLEAR_KEY,
    0x0100: ProtectorKind.TPM,
    0x0200: ProtectorKind.STARTUP_KEY,
    0x0500: ProtectorKind.TPM_AND_PIN,
    0x0800: ProtectorKind.RECOVERY_PASSWORD,
    0x1000: ProtectorKind.SMART_CARD,
    0x2000: ProtectorKind.PASSWORD,
}


@dataclass(frozen=True, slots=True)
class Protector:
    """One encrypted copy of the volume master key.

    ``guid`` is what Windows shows as the key's identifier; ``name`` is free text, often empty.
    """

    kind: ProtectorKind
    guid: UUID
    name: str
    entries: tuple[Entry, ...] = field(repr=False)


def parse_protectors(entries: Iterable[Entry]) -> tuple[Protector, ...]:
    """All of them: a block has room for a thousand. Raises BitLockerFailed when one is malformed."""
    return tuple(_parse(entry) for entry in entries if entry.role == ROLE_VMK and entry.type == TYPE_VMK)


def _parse(entry: Entry) -> Protector:
    if len(entry.data) < _VMK.size:
        raise BitLockerFailed(f"a protector of {len(entry.data)} bytes is too short")
    guid, _changed, _unknown, code = _VMK.unpack_from(entry.data)
    nested = parse_entries(entry.data[_VMK.size :], "a protector")
    name = next((text_of(inner) for inner in nested if inner.type == TYPE_TEXT), "")
    return Protector(_KINDS.get(code, ProtectorKind.UNKNOWN), UUID(bytes_le=guid), name, nested)
