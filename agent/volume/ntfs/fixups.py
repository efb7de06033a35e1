"""Update sequences: the check that every 512 bytes of a multi-sector record were written together.

The last two bytes of each 512-byte stride hold the update sequence number; the bytes that belong
there stand in the array of the record's header (libyal, NTFS, section "Fix-up values"). The stride
is 512 bytes whatever the sector size.
"""

from __future__ import annotations

import struct
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

STRIDE_BYTES = 512
FILE_SIGNATURE = int.from_bytes(b"FILE", "little")
INDEX_SIGNATURE = int.from_bytes(b"INDX", "little")
_FIRST_PLACE = 40
"""The update sequence array never begins inside the fixed part of a record's header."""


_HEAD = struct.Struct("<IHH")
"""Signature, where the update sequence array begins, how many words it has."""


class Verdict(IntEnum):
    """What ``apply_fixups`` found of one record."""

    SOUND = 0
    NO_SIGNATURE = 1
    BAD_ARRAY = 2
    TORN = 3
    UNREADABLE = 4


WHY = {
    Verdict.NO_SIGNATURE: "it has no record signature",
    Verdict.BAD_ARRAY: "its update sequence array is out of place",
    Verdict.TORN: "its update sequence does not match (torn write)",
    Verdict.UNREADABLE: "its sectors cannot be read",
}


def apply_fixups(block: bytearray, record_size: int, signature: int) -> NDArray[np.uint8]:
    """Put the original bytes back, in place, in every sound record of ``block``.

    ``block`` is a whole number of records of ``record_size`` bytes (a multiple of 512). Returns one
    Verdict a record; what is not SOUND must not be parsed.
    """
    if len(block) == record_size:
        return np.array([_apply_to_one(block, signature)], np.uint8)
    words = np.frombuffer(block, dtype="<u2").reshape(-1, record_size // 2)
    strides = record_size // STRIDE_BYTES
    signed = np.frombuffer(block, dtype="<u4").reshape(-1, record_size // 4)[:, 0] == signature
    places = words[:, 2].astype(np.int32)
    fits = (words[:, 3] == strides + 1) & (places % 2 == 0) & (places >= _FIRST_PLACE)
    fits &= places + 2 * (strides + 1) <= STRIDE_BYTES - 2
    verdicts = np.where(signed, np.where(fits, Verdict.SOUND, Verdict.BAD_ARRAY), Verdict.NO_SIGNATURE)
    verdicts = verdicts.astype(np.uint8)
    for place in np.flatnonzero(np.bincount(places[verdicts == Verdict.SOUND])):
        rows = np.flatnonzero((verdicts == Verdict.SOUND) & (places == place))
        verdicts[rows[_restore(words, rows, int(place) // 2, strides)]] = Verdict.TORN
    return verdicts


def _apply_to_one(record: bytearray, signature: int) -> Verdict:
    """The same for one record, for which arrays of one row each cost ten times as much."""
    strides = len(record) // STRIDE_BYTES
    found, place, count = _HEAD.unpack_from(record)
    if found != signature:
        return Verdict.NO_SIGNATURE
    originals = place + 2
    fits = place % 2 == 0 and place >= _FIRST_PLACE and originals + 2 * strides <= STRIDE_BYTES - 2
    if count != strides + 1 or not fits:
        return Verdict.BAD_ARRAY
    tails = range(STRIDE_BYTES - 2, len(record), STRIDE_BYTES)
    expected = record[place:originals]
    if any(record[at : at + 2] != expected for at in tails):
        return Verdict.TORN
    for index, at in enumerate(tails):
        record[at : at + 2] = record[originals + 2 * index : originals + 2 * index + 2]
    return Verdict.SOUND


def _restore(
    words: NDArray[np.uint16], rows: NDArray[np.intp], place: int, strides: int
) -> NDArray[np.bool_]:
    """Rows whose array begins at word ``place``; true for those that do not match."""
    tails = (np.arange(1, strides + 1) * (STRIDE_BYTES // 2) - 1)[None, :]
    expected = words[rows, place][:, None]
    torn: NDArray[np.bool_] = (words[rows[:, None], tails] != expected).any(axis=1)
    sound = rows[~torn][:, None]
    words[sound, tails] = words[sound, np.arange(place + 1, place + 1 + strides)[None, :]]
    return torn
