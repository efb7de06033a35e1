"""From the bytes of a drive to its NTFS volume: partition table, BitLocker, file system."""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import BitLockerNotActivated, BitLockerProtectorNotFound
from agent.model.keys import Credential
from agent.volume.bitlocker import is_bitlocker, read_metadata, unlock
from agent.volume.block import BlockSource
from agent.volume.ntfs import NtfsVolume
from agent.volume.partitions import first_data_volume
from agent.volume.window import WindowCache


@dataclass(frozen=True, slots=True)
class OpenedVolume:
    """A readable volume; ``choice`` and ``protection`` are sentences for the log."""

    ntfs: NtfsVolume
    choice: str
    protection: str


def open_volume(
    drive: BlockSource, credential: Credential | None, *, allow_unencrypted: bool
) -> OpenedVolume:
    """Open the first data volume of a drive, as the service does.

    Raises the DriveErrors of the layers below; BitLockerNotActivated when the volume is plain and
    ``allow_unencrypted`` is not set; BitLockerProtectorNotFound when it is encrypted and no key is given.
    """
    chosen = first_data_volume(drive)
    volume = chosen.source
    if not is_bitlocker(volume):
        ntfs = NtfsVolume.open(WindowCache(volume))
        if not allow_unencrypted:
            raise BitLockerNotActivated("the volume is not protected by BitLocker")
        return OpenedVolume(ntfs, chosen.why, "not encrypted, as the job allows")
    metadata = read_metadata(volume)
    if credential is None:
        raise BitLockerProtectorNotFound("the volume is protected by BitLocker and the job gives no key")
    decrypted = unlock(volume, metadata, credential)
    protection = f"BitLocker {metadata.cipher_name}, sectors of {decrypted.sector_size} bytes"
    return OpenedVolume(NtfsVolume.open(WindowCache(decrypted)), chosen.why, protection)
