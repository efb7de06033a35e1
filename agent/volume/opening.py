"""From the bytes of a drive to its NTFS volume: partition table, BitLocker, file system.

``open_volume`` walks the whole way, as a job does. The steps stand alone for who wants to know where the
way ends: ``first_data_volume``, ``read_metadata``, ``check_copies``, ``unlock_volume``, ``NtfsVolume.open``.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import (
    BitLockerFailed,
    BitLockerNotActivated,
    BitLockerProtectorNotFound,
    DiskOperationFailed,
)
from agent.model.keys import ClearKey, Credential
from agent.volume.bitlocker import (
    DecryptedVolume,
    Metadata,
    ProtectorKind,
    is_bitlocker,
    read_metadata,
    unlock,
)
from agent.volume.bitlocker.block import BLOCK_BYTES, parse_block
from agent.volume.block import BlockSource, read
from agent.volume.losses import Placement, bitlocker_placement, plain_placement
from agent.volume.ntfs import NtfsVolume
from agent.volume.partitions import first_data_volume
from agent.volume.window import WindowCache

PEOPLE_HOLD = (ProtectorKind.PASSWORD, ProtectorKind.RECOVERY_PASSWORD, ProtectorKind.STARTUP_KEY)
"""The kinds of key that a person can hand over; the others stay in the machine that made them."""


@dataclass(frozen=True, slots=True)
class OpenedVolume:
    """A readable volume, and ``source``, its plain bytes; ``choice`` and ``protection`` are for the log.

    ``placement`` tells where on the drive its bytes lie.
    """

    ntfs: NtfsVolume
    source: BlockSource
    placement: tuple[Placement, ...]
    choice: str
    protection: str


def open_volume(
    drive: BlockSource, credential: Credential | None, *, allow_unencrypted: bool
) -> OpenedVolume:
    """Open the first data volume of a drive, as the service does.

    Raises the DriveErrors of the layers below; BitLockerNotActivated when the volume is plain and
    ``allow_unencrypted`` is not set; as ``unlock_volume`` when it is encrypted.
    """
    chosen = first_data_volume(drive)
    volume = chosen.source
    if not is_bitlocker(volume):
        ntfs = NtfsVolume.open(WindowCache(volume))
        if not allow_unencrypted:
            raise BitLockerNotActivated("the volume is not protected by BitLocker")
        placement = plain_placement(volume.start, volume.size_bytes)
        return OpenedVolume(ntfs, volume, placement, chosen.why, "not encrypted, as the job allows")
    metadata = read_metadata(volume)
    decrypted = unlock_volume(volume, metadata, credential)
    ntfs = NtfsVolume.open(WindowCache(decrypted))
    placement = bitlocker_placement(volume.start, decrypted.regions, decrypted.sector_size)
    return OpenedVolume(ntfs, decrypted, placement, chosen.why, describe(metadata))


def unlock_volume(volume: BlockSource, metadata: Metadata, credential: Credential | None) -> DecryptedVolume:
    """The plain bytes of a BitLocker volume; without a credential a suspended one opens by itself.

    Errors as ``unlock``; BitLockerProtectorNotFound when a key is needed and none is given.
    """
    if credential is not None:
        return unlock(volume, metadata, credential)
    try:
        return unlock(volume, metadata, ClearKey())
    except BitLockerProtectorNotFound:
        kinds = " or ".join(f"a {kind}" for kind in keys_that_open(metadata))
        raise BitLockerProtectorNotFound(
            "the volume is protected by BitLocker and no key is given; "
            + (f"{kinds} opens it" if kinds else f"no kind of key opens it: {_held_elsewhere(metadata)}")
        ) from None


def keys_that_open(metadata: Metadata) -> tuple[ProtectorKind, ...]:
    """The kinds of key, of those that people hold, for which the volume has a protector."""
    present = {protector.kind for protector in metadata.protectors}
    return tuple(kind for kind in PEOPLE_HOLD if kind in present)


def _held_elsewhere(metadata: Metadata) -> str:
    kinds = sorted({str(protector.kind) for protector in metadata.protectors})
    return f"its protectors are {', '.join(kinds)}" if kinds else "it has no protector at all"


def check_copies(volume: BlockSource, metadata: Metadata) -> tuple[str | None, ...]:
    """What is wrong with each of the three metadata copies, in their order; None for a sound one.

    Raises nothing for what is found: a copy that cannot be read is one that is wrong.
    """
    return tuple(_copy_problem(volume, metadata, offset) for offset in metadata.metadata_offsets)


def _copy_problem(volume: BlockSource, metadata: Metadata, offset: int) -> str | None:
    try:
        block = parse_block(read(volume, offset, BLOCK_BYTES))
    except (BitLockerFailed, DiskOperationFailed) as error:
        return error.detail
    if block.raw != metadata.block.raw:
        return f"it differs from copy {metadata.copy_used}"
    return None


def describe(metadata: Metadata) -> str:
    """A sentence for the log."""
    return f"BitLocker {metadata.cipher_name}, sectors of {metadata.sector_size} bytes"
