"""The restart pages of $LogFile: whether Windows has finished with the volume.

Changes of the tables are written to the log first. A volume that was dismounted says so in the log's restart
area; one that was torn away keeps changes there, which Windows makes up for at the next mount and nobody else
does. Two pages, each with the whole area; the one with the later log sequence number counts. A log without
them, as a formatter leaves it, is empty. Source of the layout: ntfs-3g, logfile.h.
"""

from __future__ import annotations

import struct

PAGES, PAGE_BYTES = 2, 4096
_SIGNATURES = (b"RSTR", b"CHKD")
_AREA_AT = struct.Struct("<24xH")
"""Of the page's header: where the restart area begins."""
_AREA = struct.Struct("<Q4xHH")
"""Log sequence number, the first client that has the log open, and flags."""
_NO_CLIENT, _IS_CLEAN = 0xFFFF, 0x0002
_FIRST_FIXUP = 510
"""Behind this the bytes of a sector stand elsewhere."""


def is_open(pages: bytes) -> bool:
    """Whether the log may hold changes that the tables lack. False for what is no restart page."""
    areas = [area for at in range(0, len(pages), PAGE_BYTES) if (area := _area(pages[at : at + PAGE_BYTES]))]
    if not areas:
        return False
    _, client, flags = max(areas)
    return client != _NO_CLIENT and not flags & _IS_CLEAN


def _area(page: bytes) -> tuple[int, int, int] | None:
    if page[:4] not in _SIGNATURES or len(page) < _FIRST_FIXUP:
        return None
    (at,) = _AREA_AT.unpack_from(page)
    if at + _AREA.size > _FIRST_FIXUP:
        return None
    lsn, client, flags = _AREA.unpack_from(page, at)
    return lsn, client, flags
