"""Which volumes a disk holds, and which of them is the one to ingest.

Understands GPT (first or backup header; sectors of 512 and 4096 bytes), MBR with logical drives, and
a disk that is one bare volume. Nothing that a table says is believed beyond the table: a partition
is held against the device when it is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.errors import BitLockerVolumeNotFound, DiskOperationFailed
from agent.volume.bitlocker import is_bitlocker
from agent.volume.block import BlockSource, SubSource, read
from agent.volume.gpt_table import is_protective, read_gpt
from agent.volume.mbr_table import has_ntfs_boot_sector, read_mbr
from agent.volume.partition import Layout, Partition, PartitionRole, PartitionTable

_BOOT_BYTES = 512
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class ChosenVolume:
    """The volume to ingest, and a sentence for the log that says which it is and why.

    ``has_others``: more data volumes lie behind it, which nobody ingests.
    """

    source: SubSource
    partition: Partition
    why: str
    has_others: bool = False


def find_volumes(source: BlockSource) -> Layout:
    """All partitions in the order in which they lie on the disk; none when there is no table.

    Raises UnreadableSectors when the first sectors cannot be read, and BitLockerVolumeNotFound when
    both copies of a GPT are damaged.
    """
    if source.size_bytes < _BOOT_BYTES:
        return Layout(PartitionTable.NONE, (), (f"the device has only {source.size_bytes} bytes",))
    boot = read(source, 0, _BOOT_BYTES)
    is_volume = is_bitlocker(source) or has_ntfs_boot_sector(source, 0)
    if is_volume and not is_protective(boot):
        return _whole(source)
    gpt, remarks = read_gpt(source)
    has_mbr = boot[510:512] == b"\x55\xaa"
    # Who makes a GPT may leave the boot code of a volume that was there before, and what it says of itself.
    if gpt is not None and (is_protective(boot) or not has_mbr):
        return Layout(PartitionTable.GPT, gpt, remarks)
    if is_volume:
        return _whole(source)
    if not has_mbr:
        return Layout(PartitionTable.NONE, (), remarks)
    partitions, mbr_remarks = read_mbr(source, boot)
    if is_protective(boot) and not partitions:
        raise BitLockerVolumeNotFound("the GPT of the disk is damaged: " + "; ".join(remarks))
    return Layout(PartitionTable.MBR, partitions, mbr_remarks)


def _whole(source: BlockSource) -> Layout:
    whole = Partition(1, 0, source.size_bytes, PartitionRole.DATA, "bare volume", "")
    return Layout(PartitionTable.NONE, (whole,), ())


def first_data_volume(source: BlockSource) -> ChosenVolume:
    """The first data partition by its place on the disk, as the import service takes it.

    Raises BitLockerVolumeNotFound when there is none, DiskOperationFailed when it reaches past the
    end of the device (a truncated image), and as ``find_volumes``.
    """
    layout = find_volumes(source)
    chosen = next((part for part in layout.partitions if part.role is PartitionRole.DATA), None)
    if chosen is None:
        raise BitLockerVolumeNotFound(f"the disk has no data partition: {_inventory(layout)}")
    if chosen.end > source.size_bytes:
        raise DiskOperationFailed(
            f"partition {chosen.number} ends at byte {chosen.end}, "
            f"but the device or image ends after {source.size_bytes}"
        )
    volume = SubSource(source, chosen.start, chosen.size_bytes)
    return ChosenVolume(volume, chosen, _reason(layout, chosen), has_others=_later(layout, chosen) > 0)


def _later(layout: Layout, chosen: Partition) -> int:
    return sum(part.role is PartitionRole.DATA and part.start > chosen.start for part in layout.partitions)


def _reason(layout: Layout, chosen: Partition) -> str:
    if layout.table is PartitionTable.NONE:
        return f"the whole device is one volume of {chosen.size_bytes} bytes without a partition table"
    skipped = [part for part in layout.partitions if part.start < chosen.start]
    later = _later(layout, chosen)
    reason = (
        f"{layout.table} partition {chosen.number} ({chosen.size_bytes} bytes from byte {chosen.start}) "
        f"is the first data volume"
    )
    if skipped:
        reason += "; skipped before it: " + _some([f"{part.number} ({part.role})" for part in skipped], ", ")
    if later:
        reason += f"; {later} later data volume{'s are' if later > 1 else ' is'} not ingested"
    return "; ".join((reason, *layout.remarks))


def _inventory(layout: Layout) -> str:
    parts = [f"partition {part.number} is {part.role}" for part in layout.partitions]
    said = [_some(parts, "; ")] if parts else []
    return (
        "; ".join((*said, *layout.remarks)) or "there is no partition table and no known volume at its start"
    )


def _some(parts: Sequence[str], between: str) -> str:
    """A GPT has room for a thousand partitions, a line for the technician has not."""
    more = [f"{len(parts) - _SHOWN} more"] if len(parts) > _SHOWN else []
    return between.join((*parts[:_SHOWN], *more))


__all__ = [
    "ChosenVolume",
    "Layout",
    "Partition",
    "PartitionRole",
    "PartitionTable",
    "find_volumes",
    "first_data_volume",
]
