"""The boot sector of a BitLocker volume: is it one, and where does its metadata lie.

Source: libyal, "BDE format", volume header; the GUIDs also in cryptsetup's bitlk.c.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from uuid import UUID

from agent.errors import BitLockerFailed, BitLockerNotActivated
from agent.volume.block import BlockSource, read

BOOT_SECTOR_BYTES = 512
SIGNATURE = b"-FVE-FS-"
TO_GO_SIGNATURE = b"MSWIN4.1"
VISTA_JUMP = b"\xeb\x52\x90"

NORMAL_GUID = UUID("4967d63b-2e29-4ad8-8399-f6a339e3d001")
EOW_GUID = UUID("92a84d3b-dd80-4d0e-9e4e-b1e3284eaed8")
"""Encrypt-on-write: Windows 10 and later while the conversion runs or is paused."""

_GUID_AT = 160
_TO_GO_GUID_AT = 424
SECTOR_SIZES = (512, 4096)


@dataclass(frozen=True, slots=True)
class VolumeHeader:
    """``metadata_offsets`` are bytes on the volume, as the drive says them: check before use."""

    sector_size: int
    encrypt_on_write: bool
    to_go: bool
    metadata_offsets: tuple[int, int, int]


def is_bitlocker(source: BlockSource) -> bool:
    """Whether ``source`` starts with the boot sector of a BitLocker volume of any version.

    Raises UnreadableSectors when the first sector cannot be read.
    """
    if source.size_bytes < BOOT_SECTOR_BYTES:
        return False
    boot = read(source, 0, BOOT_SECTOR_BYTES)
    if boot[3:11] == SIGNATURE:
        return True
    # BitLocker To Go keeps the signature that any FAT32 volume may have, so only the GUID decides.
    return boot[3:11] == TO_GO_SIGNATURE and _guid(boot, _TO_GO_GUID_AT) in (NORMAL_GUID, EOW_GUID)


def read_header(source: BlockSource) -> VolumeHeader:
    """Raises BitLockerNotActivated, or BitLockerFailed for Vista's format or an unknown one."""
    if not is_bitlocker(source):
        raise BitLockerNotActivated("the volume does not start with a BitLocker boot sector")
    boot = read(source, 0, BOOT_SECTOR_BYTES)
    if boot[:3] == VISTA_JUMP:
        raise BitLockerFailed("the volume was encrypted by Windows Vista (BitLocker version 1)")
    to_go = boot[3:11] != SIGNATURE
    guid_at = _TO_GO_GUID_AT if to_go else _GUID_AT
    guid = _guid(boot, guid_at)
    if guid not in (NORMAL_GUID, EOW_GUID):
        raise BitLockerFailed(f"the boot sector names an unknown BitLocker format {guid}")
    first, second, third = struct.unpack_from("<3Q", boot, guid_at + 16)
    return VolumeHeader(_sector_size(boot), guid == EOW_GUID, to_go, (first, second, third))


def _sector_size(boot: bytes) -> int:
    (size,) = struct.unpack_from("<H", boot, 11)
    if size == 0:
        return 512
    if size not in SECTOR_SIZES:
        raise BitLockerFailed(f"the boot sector gives a sector size of {size} bytes; 512 and 4096 are known")
    return int(size)


def _guid(boot: bytes, at: int) -> UUID:
    return UUID(bytes_le=boot[at : at + 16])
