"""Master boot record: four primary partitions, one of which may chain logical drives.

Source of the record and its entries: UEFI specification, section "Legacy Master Boot Record (MBR)".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from agent.errors import DiskOperationFailed
from agent.volume.bitlocker import is_bitlocker
from agent.volume.block import BlockSource, SubSource, read
from agent.volume.partition import Partition, PartitionRole

MAX_LOGICAL_DRIVES = 128
_BOOT_BYTES = 512
_ENTRY = struct.Struct("<B3sB3sII")
_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_PROTECTIVE = 0xEE

_ROLES = {
    # FAT types too: BitLocker To Go and exFAT-prepared sticks keep them.
    **dict.fromkeys((0x01, 0x04, 0x06, 0x07, 0x0B, 0x0C, 0x0E), PartitionRole.DATA),
    0x12: PartitionRole.RECOVERY,
    0x27: PartitionRole.RECOVERY,
    0x42: PartitionRole.DYNAMIC_DISK,
    0xEF: PartitionRole.EFI_SYSTEM,
    0xE7: PartitionRole.STORAGE_SPACES,
}


@dataclass(frozen=True, slots=True)
class _Entry:
    """Sectors as the table says them, relative to what its kind says."""

    status: int
    type: int
    first: int
    count: int


def has_ntfs_boot_sector(source: BlockSource, offset: int) -> bool:
    """Whether a plain NTFS volume starts at ``offset``; False past the end of the device."""
    if offset + _BOOT_BYTES > source.size_bytes:
        return False
    return read(source, offset, 11)[3:] == b"NTFS    "


def read_mbr(source: BlockSource, boot: bytes) -> tuple[tuple[Partition, ...], tuple[str, ...]]:
    """Partitions of the table in ``boot`` (the first 512 bytes), and remarks about what was wrong.

    No partition where the table is not one, as in the boot sector of a FAT volume.
    """
    primary = _entries(boot)
    if any(entry.status not in (0x00, 0x80) for entry in primary):
        return (), ("the first sector is no partition table (a volume of another file system?)",)
    unit = _sector_unit(source, primary)
    remarks: list[str] = []
    found: list[Partition] = []
    logical_number = 5
    for number, entry in enumerate(primary, 1):
        if not entry.first or not entry.count:
            continue
        if entry.type in _EXTENDED:
            for logical in _logical_drives(source, entry.first, unit, remarks):
                found.append(_partition(logical_number, logical, unit))
                logical_number += 1
        elif entry.type not in (0, _PROTECTIVE):
            found.append(_partition(number, entry, unit))
    return tuple(sorted(found, key=lambda partition: partition.start)), tuple(remarks)


def _entries(sector: bytes) -> tuple[_Entry, ...]:
    rows = (_ENTRY.unpack_from(sector, 446 + 16 * index) for index in range(4))
    return tuple(_Entry(status, kind, first, count) for status, _, kind, _, first, count in rows)


def _partition(number: int, entry: _Entry, unit: int) -> Partition:
    return Partition(
        number=number,
        start=entry.first * unit,
        size_bytes=entry.count * unit,
        role=_ROLES.get(entry.type, PartitionRole.OTHER),
        type_code=f"0x{entry.type:02x}",
        name="",
    )


def _sector_unit(source: BlockSource, entries: tuple[_Entry, ...]) -> int:
    """An MBR does not say what its sectors are: an image may be of a disk with the other size."""
    other = 512 if source.sector_size == 4096 else 4096
    starts = [entry.first for entry in entries if entry.type in _ROLES and entry.first]
    for unit in (source.sector_size, other):
        if any(_known_volume(source, first * unit) for first in starts):
            return unit
    return source.sector_size


def _known_volume(source: BlockSource, offset: int) -> bool:
    if offset + _BOOT_BYTES > source.size_bytes:
        return False
    return has_ntfs_boot_sector(source, offset) or is_bitlocker(SubSource(source, offset, _BOOT_BYTES))


def _logical_drives(source: BlockSource, base: int, unit: int, remarks: list[str]) -> Iterator[_Entry]:
    """Each boot record of the chain has one drive (relative to itself) and a link (relative to ``base``)."""
    here, seen = base, set[int]()
    while here not in seen and len(seen) < MAX_LOGICAL_DRIVES:
        seen.add(here)
        try:
            sector = read(source, here * unit, _BOOT_BYTES)
        except DiskOperationFailed as error:
            remarks.append(f"the chain of logical drives breaks at sector {here}: {error.detail}")
            return
        if sector[510:512] != b"\x55\xaa":
            remarks.append(f"the chain of logical drives breaks at sector {here}: no signature")
            return
        drive, link, *_ = _entries(sector)
        if drive.type and drive.count and drive.type not in _EXTENDED:
            yield _Entry(drive.status, drive.type, here + drive.first, drive.count)
        if link.type not in _EXTENDED:
            return
        here = base + link.first
    remarks.append(f"the chain of logical drives loops or has more than {MAX_LOGICAL_DRIVES} links")
