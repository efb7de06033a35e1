"""The boot sector: sizes and places that everything else is measured by.

Source: the NTFS boot sector (BIOS parameter block) as documented by Microsoft and libyal,
"New Technologies File System (NTFS)", section "Volume header".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from agent.errors import DiskOperationFailed, NtfsDamaged, UnreadableSectors, VolumeNotNtfs
from agent.volume.block import BlockSource, read

BOOT_BYTES = 512
OEM_ID = b"NTFS    "
MAX_CLUSTER_BYTES = 2 * 1024 * 1024
RECORD_SIZES = (1024, 2048, 4096)
INDEX_SIZES = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)

_LAYOUT = struct.Struct("<HB26xQQQb3xb3xQ")
"""From offset 11: sector size, sectors a cluster, total sectors, $MFT, $MFTMirr, record, index, serial."""

_FOREIGN = {
    b"-FVE-FS-": "BitLocker",
    b"EXFAT   ": "exFAT",
    b"ReFS\0\0\0\0": "ReFS",
    b"MSDOS5.0": "FAT",
    b"MSWIN4.1": "FAT",
    b"mkfs.fat": "FAT",
    b"mkdosfs\0": "FAT",
}


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes in bytes; places in bytes from the start of the volume."""

    sector_size: int
    cluster_size: int
    record_size: int
    index_size: int
    volume_bytes: int
    total_clusters: int
    mft_offset: int
    mirror_offset: int
    serial: int


def read_geometry(source: BlockSource) -> Geometry:
    """From the boot sector, or its backup in the last sector if the first one is damaged.

    Raises VolumeNotNtfs when neither is one or the first sector belongs to another filesystem (a
    backup left over by a reformatted drive is not believed), NtfsDamaged when both contradict
    themselves, DiskOperationFailed when the volume is larger than its source.
    """
    if source.size_bytes < BOOT_BYTES:
        raise VolumeNotNtfs(f"the volume has {source.size_bytes} bytes, too few for a boot sector")
    try:
        first = read(source, 0, BOOT_BYTES)
    except UnreadableSectors as unreadable:
        return _from_backup(source, unreadable)
    foreign = foreign_filesystem(first)
    if foreign:
        raise VolumeNotNtfs(f"the volume holds {foreign}, not NTFS")
    try:
        return parse_boot_sector(first, source.size_bytes)
    except (VolumeNotNtfs, NtfsDamaged) as damage:
        return _from_backup(source, damage)


def _from_backup(source: BlockSource, damage: UnreadableSectors | VolumeNotNtfs | NtfsDamaged) -> Geometry:
    for sector_size in sorted({source.sector_size, 512, 4096}):
        offset = source.size_bytes - sector_size
        if offset <= 0:
            continue
        try:
            return parse_boot_sector(read(source, offset, BOOT_BYTES), source.size_bytes)
        except (VolumeNotNtfs, NtfsDamaged, UnreadableSectors):
            continue
    raise damage


def foreign_filesystem(sector: bytes) -> str | None:
    """The name of what else a volume with this first sector (512 bytes) holds, as far as it is known."""
    if sector[3:11] in _FOREIGN:
        return _FOREIGN[sector[3:11]]
    if sector[3:11] != OEM_ID and (sector[54:57] == b"FAT" or sector[82:87] == b"FAT32"):
        return "FAT"
    return "XFS" if sector[:4] == b"XFSB" else None


def parse_boot_sector(sector: bytes, source_bytes: int) -> Geometry:
    """Raises VolumeNotNtfs, NtfsDamaged, DiskOperationFailed as ``read_geometry`` does."""
    if sector[3:11] != OEM_ID:
        raise VolumeNotNtfs("the boot sector does not carry the NTFS signature")
    sector_size, spc, sectors, mft, mirror, record, index, serial = _LAYOUT.unpack_from(sector, 11)
    if sector_size not in (512, 1024, 2048, 4096):
        raise NtfsDamaged(f"the boot sector gives a sector size of {sector_size} bytes")
    cluster_size = _cluster_size(sector_size, spc)
    volume_bytes = sectors * sector_size
    if volume_bytes > source_bytes:
        raise DiskOperationFailed(
            f"the NTFS volume has {volume_bytes} bytes, and only {source_bytes} bytes are there"
        )
    total_clusters = volume_bytes // cluster_size
    for place, name in ((mft, "$MFT"), (mirror, "$MFTMirr")):
        if not 0 < place < total_clusters:
            raise NtfsDamaged(
                f"the boot sector puts {name} at cluster {place} of a volume of {total_clusters} clusters"
            )
    return Geometry(
        sector_size,
        cluster_size,
        _sized(record, cluster_size, RECORD_SIZES, "an MFT record"),
        _sized(index, cluster_size, INDEX_SIZES, "an index block"),
        volume_bytes,
        total_clusters,
        mft * cluster_size,
        mirror * cluster_size,
        serial,
    )


def _cluster_size(sector_size: int, sectors_per_cluster: int) -> int:
    """Above 0x80 the byte is a negative power of two (clusters past 64 KiB, Windows 10)."""
    spc = sectors_per_cluster
    if spc > 0x80:
        spc = 1 << min(256 - spc, 63)
    size = sector_size * spc
    if spc == 0 or spc & (spc - 1) or size > MAX_CLUSTER_BYTES:
        raise NtfsDamaged(
            f"the boot sector gives {sectors_per_cluster:#x} sectors of {sector_size} a cluster"
        )
    return size


def _sized(value: int, cluster_size: int, allowed: tuple[int, ...], what: str) -> int:
    """Positive: clusters; negative: the power of two of the bytes."""
    size = value * cluster_size if value > 0 else 1 << min(-value, 63)
    if size not in allowed:
        raise NtfsDamaged(f"the boot sector gives {size} bytes for {what}")
    return size
