"""A master boot record with a chain of logical drives (``fixtures.gpt`` has the simpler tables)."""

from __future__ import annotations

import struct

LOGICAL_OFFSET_BYTES = 1 << 20
"""Where ``wrap_logical`` puts the volume."""

_EXTENDED_SECTOR = 64
_DRIVES = 4


def wrap_logical(volume: bytes, sector_size: int) -> bytes:
    """A recovery partition, then an extended one with three logical drives of which the last is ``volume``.

    Sectors are of ``sector_size`` bytes. The first two logical drives belong to another system.
    """
    first = LOGICAL_OFFSET_BYTES // sector_size
    count = len(volume) // sector_size
    disk = bytearray(LOGICAL_OFFSET_BYTES + len(volume))
    whole = len(disk) // sector_size - _EXTENDED_SECTOR
    disk[:512] = _record((0x27, 8, 32), (0x0F, _EXTENDED_SECTOR, whole))
    places = [_EXTENDED_SECTOR + 32 * index for index in range(_DRIVES)]
    for index, place in enumerate(places):
        last = index == _DRIVES - 1
        drive = (0x07, first - place, count) if last else (0x83, 8, 16)
        link = (0, 0, 0) if last else (0x05, places[index + 1] - _EXTENDED_SECTOR, 32)
        disk[place * sector_size : place * sector_size + 512] = _record(drive, link)
    disk[LOGICAL_OFFSET_BYTES:] = volume
    return bytes(disk)


def _record(*entries: tuple[int, int, int]) -> bytes:
    """Entries are (type, first sector, sectors)."""
    sector = bytearray(512)
    for index, (kind, first, count) in enumerate(entries):
        struct.pack_into("<B3sB3sII", sector, 446 + 16 * index, 0, b"", kind, b"", first, count)
    sector[510:] = b"\x55\xaa"
    return bytes(sector)
