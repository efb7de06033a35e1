"""Disks as udev's database and sysfs describe them at this moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyudev

from agent.devices.facts import DriveFacts

SECTOR_BYTES: Final = 512
"""The unit of /sys/block/NAME/size, whatever the drive's own sector is (ABI/stable/sysfs-block)."""
MAX_VPD_BYTES: Final = 256


def disks() -> list[DriveFacts]:
    """All disks that are there; blocks. One that vanishes meanwhile is left out.

    Made with a context of its own each time: libudev's are not to be shared by threads.
    """
    return list(_disks(pyudev.Context()))


def _disks(context: pyudev.Context) -> Iterator[DriveFacts]:
    for device in context.list_devices(subsystem="block").match_property("DEVTYPE", "disk"):
        try:
            facts = _facts(device)
        except (OSError, UnicodeDecodeError, pyudev.DeviceNotFoundError):
            continue
        if facts is not None:
            yield facts


def _facts(device: pyudev.Device) -> DriveFacts | None:
    def told(name: str) -> str:
        """Empty where it is not told, or is no text: what a drive says of itself may be anything."""
        try:
            return str(device.properties.get(name) or "")
        except UnicodeDecodeError:
            return ""

    node, path = told("DEVNAME"), Path(device.sys_path)
    size = _number(path / "size")
    if not node or size is None:
        return None
    return DriveFacts(
        name=device.sys_name,
        node=node,
        device_number=device.device_number,
        sequence=told("DISKSEQ") or told("USEC_INITIALIZED"),
        size_bytes=size * SECTOR_BYTES,
        sector_size=_number(path / "queue/logical_block_size") or SECTOR_BYTES,
        path=str(path),
        is_virtual=device.device_path.startswith("/devices/virtual/"),
        is_hidden=_number(path / "hidden") == 1,
        is_optical=told("ID_CDROM") == "1" or told("ID_TYPE") in ("cd", "optical"),
        is_described=device.is_initialized or bool(told("ID_SERIAL")),
        bus=told("ID_BUS"),
        is_ata=told("ID_ATA") == "1",
        serial_short=told("ID_SERIAL_SHORT"),
        scsi_serial=told("ID_SCSI_SERIAL") or told("SCSI_IDENT_SERIAL"),
        vpd_serial=_vpd_serial(path / "device/vpd_pg80"),
        wwn=told("ID_WWN"),
        vendor=told("ID_VENDOR"),
        model=told("ID_MODEL"),
        id_path=told("ID_PATH"),
        id_path_ata=told("ID_PATH_ATA_COMPAT"),
    )


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None


def _vpd_serial(path: Path) -> str:
    """The text of page 0x80: byte 1 is the page, bytes 2 and 3 how long what follows is (SPC-4 7.8.14)."""
    try:
        with path.open("rb") as file:
            page = file.read(MAX_VPD_BYTES)
    except OSError:
        return ""
    if len(page) < 4 or page[1] != 0x80:
        return ""
    length = int.from_bytes(page[2:4], "big")
    return page[4 : 4 + length].decode("latin-1").strip(" \0")
