"""What this machine says of one disk, before anything of the disk itself is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

NEVER_DRIVES: Final = re.compile(
    r"(ram|zram|dm-|md|sr|scd|fd|nbd|rbd|drbd|zd|nullb|mtdblock)\d|mmcblk\d+(boot|rpmb)"
)
"""Names of block devices that are no drive of anybody's box: memory, optical, composed, remote, firmware."""


@dataclass(frozen=True, slots=True)
class DriveFacts:
    """From udev's database and sysfs. Texts are as they are told, empty where nothing is.

    ``vpd_serial`` is page 0x80 of the drive's vital product data (SPC-4), which the kernel has asked for;
    ``sequence`` tells attachments of one name apart (DISKSEQ, of Linux 5.15, else when udev saw it).
    """

    name: str
    node: str
    device_number: int
    sequence: str
    size_bytes: int
    sector_size: int
    path: str
    is_virtual: bool
    is_hidden: bool = False
    is_optical: bool = False
    is_described: bool = False
    bus: str = ""
    is_ata: bool = False
    serial_short: str = ""
    scsi_serial: str = ""
    vpd_serial: str = ""
    wwn: str = ""
    vendor: str = ""
    model: str = ""
    id_path: str = ""
    id_path_ata: str = ""

    @property
    def key(self) -> str:
        """Names this attachment of what says that it is this drive."""
        return f"udev:{self.name}:{self.sequence}:{self.serial_short or self.scsi_serial}"

    def is_candidate(self, loop_devices: bool) -> bool:
        """Whether it could be somebody's drive: with a medium, and no composed, optical or memory disk.

        ``loop_devices``: those that a udev rule has dressed as drives count.
        """
        if not self.size_bytes or self.is_optical or self.is_hidden or NEVER_DRIVES.match(self.name):
            return False
        if self.name.startswith("loop"):
            return loop_devices and self.is_described and bool(self.bus)
        return not self.is_virtual
