"""Traces of BitLocker on a volume whose first sector is damaged or wiped.

Such a volume is recognised, not read. Each metadata copy names the places of all three, but the first
sector alone tells whether encrypt-on-write is still under way: a volume that is half noise has the same
metadata as a sound one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from agent.errors import BitLockerFailed, UnreadableSectors
from agent.volume.bitlocker.block import BLOCK_BYTES, parse_block
from agent.volume.bitlocker.header import SIGNATURE
from agent.volume.block import BlockSource, read

SEARCHED_BYTES = 128 * 1024 * 1024
"""Windows puts the first copy at the first free place behind byte 33 Mi (seen: 33 to 34 MiB)."""

MAX_CANDIDATES = 1000
"""Signatures that are looked behind; a hostile volume may be full of them."""

MAX_UNREADABLE = 16
"""Pieces that cannot be read, before the search is given up: each may take seconds."""

_PIECE_BYTES = 64 * 1024
_STEP_BYTES = 512


def find_metadata_copy(source: BlockSource) -> int | None:
    """Where a sound metadata copy lies that names its own place on this volume, or None.

    Reads at most the first SEARCHED_BYTES, a second on a hard disk, past what cannot be read; so it is
    for volumes that cannot be opened otherwise.
    """
    places = islice(_signatures(source), MAX_CANDIDATES)
    return next((place for place in places if _is_copy(source, place)), None)


def _signatures(source: BlockSource) -> Iterator[int]:
    for start, piece in _pieces(source):
        at = piece.find(SIGNATURE)
        while at >= 0:
            if at % _STEP_BYTES == 0:
                yield start + at
            at = piece.find(SIGNATURE, at + 1)


def _pieces(source: BlockSource) -> Iterator[tuple[int, bytes]]:
    unreadable = 0
    for start in range(0, min(SEARCHED_BYTES, source.size_bytes), _PIECE_BYTES):
        try:
            yield start, read(source, start, min(_PIECE_BYTES, source.size_bytes - start))
        except UnreadableSectors:
            unreadable += 1
            if unreadable == MAX_UNREADABLE:
                return


def check_boot_sector_not_lost(source: BlockSource) -> None:
    """For a volume that starts with neither BitLocker nor a file system: raises BitLockerFailed when it
    was protected by BitLocker all the same, and nothing otherwise."""
    place = find_metadata_copy(source)
    if place is not None:
        raise BitLockerFailed(
            f"this looks like a BitLocker volume whose first sector is damaged: sound BitLocker metadata "
            f"lies at byte {place}, but whether its encryption was finished only the first sector can tell"
        )


def _is_copy(source: BlockSource, offset: int) -> bool:
    if offset + BLOCK_BYTES > source.size_bytes:
        return False
    try:
        return offset in parse_block(read(source, offset, BLOCK_BYTES)).metadata_offsets
    except (BitLockerFailed, UnreadableSectors):
        return False
