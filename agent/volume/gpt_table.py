"""GUID partition table (UEFI specification, chapter 5): header and entries, each with a check sum."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from uuid import UUID

from agent.errors import DiskOperationFailed
from agent.volume.block import BlockSource, read
from agent.volume.partition import Partition, PartitionRole

SECTOR_SIZES = (512, 4096)
MAX_ENTRIES = 1024
MAX_ENTRY_BYTES = 4096
_SIGNATURE = b"EFI PART"
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_PROTECTIVE = 0xEE

_ROLES = {
    UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"): PartitionRole.DATA,
    UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"): PartitionRole.EFI_SYSTEM,
    UUID("e3c9e316-0b5c-4db8-817d-f92df00215ae"): PartitionRole.RESERVED,
    UUID("de94bba4-06d1-4d40-a16a-bfd50179d6ac"): PartitionRole.RECOVERY,
    UUID("5808c8aa-7e8f-42e0-85d2-e1e90434cfb3"): PartitionRole.DYNAMIC_DISK,
    UUID("af9b60a0-1431-4f62-bc68-3311714a69ad"): PartitionRole.DYNAMIC_DISK,
    UUID("e75caf8f-f680-4cee-afa3-b001e56efc2d"): PartitionRole.STORAGE_SPACES,
}


@dataclass(frozen=True, slots=True)
class _Header:
    entries_lba: int
    entry_count: int
    entry_bytes: int
    entries_crc32: int


class _Damaged(Exception):
    """One copy of the table cannot be used; the message says why."""


def is_protective(boot: bytes) -> bool:
    """Whether the MBR in ``boot`` (512 bytes) says that the disk has a GPT."""
    return boot[510:512] == b"\x55\xaa" and any(boot[446 + 16 * i + 4] == _PROTECTIVE for i in range(4))


def read_gpt(source: BlockSource) -> tuple[tuple[Partition, ...] | None, tuple[str, ...]]:
    """Partitions of the first sound copy of a GPT, or None; and remarks about copies that are not.

    The device's own sector size is tried first; an image may have been taken from a disk of the other.
    """
    sizes = sorted(SECTOR_SIZES, key=lambda size: size != source.sector_size)
    remarks: list[str] = []
    for sector_size in sizes:
        last = source.size_bytes // sector_size - 1
        for name, lba in (("first", 1), ("backup", last)):
            try:
                found = _read_copy(source, sector_size, lba)
            except (_Damaged, DiskOperationFailed) as error:
                remarks.append(f"the {name} GPT header at byte {lba * sector_size}: {error}")
                continue
            if found is not None:
                return found, tuple(remarks)
    return None, tuple(remarks) or ("there is no GPT header",)


def _read_copy(source: BlockSource, sector_size: int, lba: int) -> tuple[Partition, ...] | None:
    """None when there is no header at all in that place."""
    if lba < 1 or (lba + 1) * sector_size > source.size_bytes:
        return None
    sector = read(source, lba * sector_size, sector_size)
    if sector[:8] != _SIGNATURE:
        if lba == 1 and sector_size == source.sector_size:
            raise _Damaged("it has no signature")
        return None
    header = _parse_header(sector, lba)
    table = read(source, header.entries_lba * sector_size, header.entry_count * header.entry_bytes)
    if zlib.crc32(table) != header.entries_crc32:
        raise _Damaged("the check sum of its entries is wrong")
    return _parse_entries(table, header.entry_bytes, sector_size)


def _parse_header(sector: bytes, lba: int) -> _Header:
    (_, _, size, crc32, _, own_lba, _, _, _, _, entries_lba, count, entry_bytes, entries_crc32) = (
        _HEADER.unpack_from(sector)
    )
    if not _HEADER.size <= size <= len(sector):
        raise _Damaged(f"it gives itself a size of {size} bytes")
    if zlib.crc32(sector[:16] + bytes(4) + sector[20:size]) != crc32:
        raise _Damaged("its check sum is wrong")
    if own_lba != lba:
        raise _Damaged(f"it was written for sector {own_lba} and lies at {lba}")
    if count > MAX_ENTRIES or not _ENTRY.size <= entry_bytes <= MAX_ENTRY_BYTES or entry_bytes % 8:
        raise _Damaged(f"it lists {count} entries of {entry_bytes} bytes")
    return _Header(entries_lba, count, entry_bytes, entries_crc32)


def _parse_entries(table: bytes, entry_bytes: int, sector_size: int) -> tuple[Partition, ...]:
    found = []
    for number, at in enumerate(range(0, len(table), entry_bytes), 1):
        type_bytes, _, first, last, _, name = _ENTRY.unpack_from(table, at)
        kind = UUID(bytes_le=type_bytes)
        if kind.int == 0 or last < first or first == 0:
            continue
        found.append(
            Partition(
                number=number,
                start=first * sector_size,
                size_bytes=(last - first + 1) * sector_size,
                role=_ROLES.get(kind, PartitionRole.OTHER),
                type_code=str(kind),
                name=name.decode("utf-16-le", "replace").partition("\0")[0],
            )
        )
    return tuple(sorted(found, key=lambda partition: partition.start))
