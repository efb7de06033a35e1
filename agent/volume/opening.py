"""From the bytes of a drive to its NTFS volume: partition table, BitLocker, file system.

``open_volume`` walks the whole way, as a job does. The steps stand alone for who wants to know where the
way ends: ``first_data_volume``, ``read_metadata``, ``check_copies``, ``unlock_volume``,
``check_not_wiped``, ``NtfsVolume.open``.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import (
    BitLockerFailed,
    BitLockerNotActivated,
    BitLockerProtectorNotFound,
    DiskOperationFailed,
    VolumeNotNtfs,
)
from agent.model.keys import ClearKey, Credential
from agent.volume.bitlocker import (
    DecryptedVolume,
    Metadata,
    ProtectorKind,
    check_boot_sector_not_lost,
    is_bitlocker,
    read_metadata,
    unlock,
)
from agent.volume.bitlocker.block import BLOCK_BYTES, parse_block
from agent.volume.bitlocker.metadata import place_of
from agent.volume.block import BlockSource, read
from agent.volume.losses import Placement, bitlocker_placement, plain_placement
from agent.volume.ntfs import NtfsVolume
from agent.volume.ntfs.geometry import BOOT_BYTES, foreign_filesystem
from agent.volume.partitions import first_data_volume

PEOPLE_HOLD = (ProtectorKind.PASSWORD, ProtectorKind.RECOVERY_PASSWORD, ProtectorKind.STARTUP_KEY)
"""The kinds of key that a person can hand over; the others stay in the machine that made them."""


@dataclass(frozen=True, slots=True)
class OpenedVolume:
    """A readable volume, and ``source``, its plain bytes; ``choice`` and ``protection`` are for the log.

    ``placement`` tells where on the drive its bytes lie. ``has_others``: the drive has more data volumes.
    """

    ntfs: NtfsVolume
    source: BlockSource
    placement: tuple[Placement, ...]
    choice: str
    protection: str
    has_others: bool = False


def open_volume(
    drive: BlockSource, credential: Credential | None, *, allow_unencrypted: bool
) -> OpenedVolume:
    """Open the first data volume of a drive, as the service does.

    Raises as ``open_plain`` and ``open_filesystem``; BitLockerNotActivated when the volume is NTFS,
    plain, and ``allow_unencrypted`` is not set.
    """
    plain = open_plain(drive, credential)
    ntfs = open_filesystem(plain)
    protection = plain.protection
    if not plain.is_encrypted:
        if not allow_unencrypted:
            raise BitLockerNotActivated("the volume is not protected by BitLocker")
        protection += ", as the job allows"
    return OpenedVolume(
        ntfs, plain.source, plain.placement, plain.choice, protection, has_others=plain.has_others
    )


@dataclass(frozen=True, slots=True)
class PlainVolume:
    """The readable bytes of the first data volume, whatever is in it.

    ``start`` is the byte of the drive at which the volume begins, ``placement`` tells which of its bytes
    lie where on the drive; ``choice`` and ``protection`` are for the log. ``has_others``: the drive has more
    data volumes.
    """

    source: BlockSource
    start: int
    placement: tuple[Placement, ...]
    is_encrypted: bool
    choice: str
    protection: str
    has_others: bool = False


def open_plain(drive: BlockSource, credential: Credential | None) -> PlainVolume:
    """Choose the volume, and unlock it if it is BitLocker's.

    Raises as ``first_data_volume``, ``read_metadata`` and ``unlock_volume``.
    """
    chosen = first_data_volume(drive)
    volume = chosen.source
    if not is_bitlocker(volume):
        placement = plain_placement(volume.start, volume.size_bytes)
        return PlainVolume(
            volume, volume.start, placement, False, chosen.why, "not encrypted", chosen.has_others
        )
    decrypted = unlock_volume(volume, read_metadata(volume), credential)
    placement = bitlocker_placement(volume.start, decrypted.regions, decrypted.sector_size)
    protection = describe(decrypted.metadata)
    return PlainVolume(decrypted, volume.start, placement, True, chosen.why, protection, chosen.has_others)


def open_filesystem(plain: PlainVolume) -> NtfsVolume:
    """Errors as ``NtfsVolume.open``; BitLockerFailed when the volume starts as nothing that is known, and
    was BitLocker's all the same."""
    volume = plain.source
    try:
        return NtfsVolume.open(volume)
    except VolumeNotNtfs:
        if not plain.is_encrypted:
            check_not_wiped(volume)
        raise


def check_not_wiped(volume: BlockSource) -> None:
    """Raises BitLockerFailed when a volume that is not NTFS was BitLocker's before it lost its start."""
    if volume.size_bytes >= BOOT_BYTES and foreign_filesystem(read(volume, 0, BOOT_BYTES)) is None:
        check_boot_sector_not_lost(volume)


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
            + (f"{kinds} opens it (--key-file)" if kinds else f"no key opens it: {_held_elsewhere(metadata)}")
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

    Of ``unlock``'s metadata, also what the key found out. Raises nothing for what is found: a copy that
    cannot be read is one that is wrong.
    """
    return tuple(
        _copy_problem(volume, metadata, number, offset)
        for number, offset in enumerate(metadata.metadata_offsets, 1)
    )


def _copy_problem(volume: BlockSource, metadata: Metadata, number: int, offset: int) -> str | None:
    place = f"{place_of(number, offset)}: "
    for problem in metadata.copy_problems:
        if problem.startswith(place):
            return problem.removeprefix(place)
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
