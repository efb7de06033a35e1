"""BitLocker: recognise, describe and unlock a volume made by Windows 7 or later, read-only.

``read_metadata`` describes; ``unlock`` gives a BlockSource of plaintext;
``check_boot_sector_not_lost`` recognises a volume whose first sector is gone. Nothing is mounted and
nothing is written.
"""

from agent.volume.bitlocker.header import is_bitlocker
from agent.volume.bitlocker.metadata import Metadata, read_metadata
from agent.volume.bitlocker.protectors import Protector, ProtectorKind
from agent.volume.bitlocker.traces import check_boot_sector_not_lost
from agent.volume.bitlocker.unlock import unlock
from agent.volume.bitlocker.volume import DecryptedVolume

__all__ = [
    "DecryptedVolume",
    "Metadata",
    "Protector",
    "ProtectorKind",
    "check_boot_sector_not_lost",
    "is_bitlocker",
    "read_metadata",
    "unlock",
]
