"""The attributes of all records of a chunk, found in step: one cursor a record, all moved together.

What does not pass every test that ``record`` and ``facts`` make of an attribute, or is of a shape that
``ordinary`` does not take, is dropped without a verdict: the careful way will tell. Numbers are int64
throughout, so that a field with its highest bit set is negative here, fails its test, and is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.volume.ntfs.facts import DOS_NAMESPACE
from agent.volume.ntfs.fixups import Verdict
from agent.volume.ntfs.record import ENCRYPTED, IN_USE, AttributeType
from agent.volume.ntfs.table import Chunk
from agent.volume.ntfs.tree import FIRST_USER_RECORD

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

VALUE_PLACE = 24
"""Where Windows puts the value of a resident attribute without a name; elsewhere is the careful way's."""
NAME_PLACE = VALUE_PLACE + 66

_MAX_ATTRIBUTES = 16
_END = 0xFFFFFFFF
_MAPPED_BYTES = 64
_INFORMATION_BYTES = 36
_NAME_BYTES = 66
_MAX_VCN = 1 << 62

_OTHER, _INFORMATION, _NAME, _DATA, _CHECKED, _ELSEWHERE = range(6)
_CLASSES = np.zeros(AttributeType.LOGGED_UTILITY_STREAM + 2, dtype=np.uint8)
_CLASSES[AttributeType.STANDARD_INFORMATION] = _INFORMATION
_CLASSES[AttributeType.FILE_NAME] = _NAME
_CLASSES[AttributeType.DATA] = _DATA
for _kind in ("VOLUME_NAME", "VOLUME_INFORMATION", "INDEX_ROOT", "INDEX_ALLOCATION", "BITMAP"):
    _CLASSES[AttributeType[_kind]] = _CHECKED
for _kind in ("ATTRIBUTE_LIST", "REPARSE_POINT", "LOGGED_UTILITY_STREAM"):
    _CLASSES[AttributeType[_kind]] = _ELSEWHERE


class Views:
    """One buffer as little-endian numbers of every width; ``anywhere`` has an item for each byte."""

    __slots__ = ("anywhere", "bytes", "longs", "shorts", "unsigned", "words")

    def __init__(self, buffer: bytearray) -> None:
        self.bytes = np.frombuffer(buffer, dtype=np.uint8)
        self.shorts = np.frombuffer(buffer, dtype="<u2")
        self.words = np.frombuffer(buffer, dtype="<u4")
        self.longs: Ints = np.frombuffer(buffer, dtype="<i8")
        self.unsigned = np.frombuffer(buffer, dtype="<u8")
        self.anywhere: Ints = np.ndarray((len(buffer) - 7,), dtype="<i8", buffer=buffer, strides=(1,))


@dataclass(frozen=True, slots=True)
class Found:
    """Where in the buffer the attributes of each record of a chunk lie; 0 where there is none.

    ``name`` is the proper name, ``alias`` the 8.3 one; one of them is there in every ``complete`` record.
    """

    complete: Flags
    information: Ints
    name: Ints
    alias: Ints
    data: Ints


@dataclass(frozen=True, slots=True)
class _Step:
    """One attribute of each record that is still followed."""

    rows: NDArray[np.intp]
    at: Ints
    end: Ints
    kinds: NDArray[np.uint8]
    length: Ints
    common: Ints
    value: Ints

    def of(self, kind: int) -> NDArray[np.intp]:
        places: NDArray[np.intp] = np.flatnonzero(self.kinds == kind)
        return places


def find_attributes(chunk: Chunk, views: Views, record_size: int) -> Found:
    """All records in use, base records of no attribute list, that are sound from end to end."""
    count = len(chunk.verdicts)
    complete = np.zeros(count, dtype=np.bool_)
    information, name, alias, data = np.zeros((4, count), dtype=np.int64)
    found = Found(complete, information, name, alias, data)
    rows, at, end = _first_attributes(chunk, views, record_size)
    for _ in range(_MAX_ATTRIBUTES):
        step = _read(views, found, rows, at, end)
        if not len(step.rows):
            break
        keep = _take(views, found, step)
        rows, at, end = step.rows[keep], (step.at + step.length)[keep], step.end[keep]
    complete &= (information > 0) & ((name > 0) | (alias > 0))
    complete &= views.words[(information + VALUE_PLACE + 32) >> 2] & ENCRYPTED == 0
    return found


def _first_attributes(chunk: Chunk, views: Views, record_size: int) -> tuple[NDArray[np.intp], Ints, Ints]:
    wanted = (chunk.verdicts == Verdict.SOUND) & (chunk.flags & IN_USE != 0) & (chunk.bases == 0)
    wanted[: max(0, FIRST_USER_RECORD - chunk.first)] = False
    rows = np.flatnonzero(wanted)
    start = rows * record_size
    first = views.shorts[(start >> 1) + 10].astype(np.int64)
    used = np.minimum(views.words[(start >> 2) + 6].astype(np.int64), record_size)
    fits = (first >= 40) & (first % 8 == 0) & (first + 4 <= used)
    return rows[fits], (start + first)[fits], (start + used)[fits]


def _read(views: Views, found: Found, rows: NDArray[np.intp], at: Ints, end: Ints) -> _Step:
    """The attributes at the cursors. Records that end here are complete; what does not fit is dropped."""
    inside = at + 4 <= end
    if not inside.all():
        rows, at, end = rows[inside], at[inside], end[inside]
    head = views.longs[at >> 3]
    kind = head & 0xFFFFFFFF
    ended = kind == _END
    found.complete[rows[ended]] = True
    length = head >> 32
    keep = ~ended & (at + 24 <= end) & (length >= 24) & (length % 8 == 0) & (at + length <= end)
    rows, at, end, kind, length = rows[keep], at[keep], end[keep], kind[keep], length[keep]
    kinds = _CLASSES[np.minimum(kind, len(_CLASSES) - 1)]
    return _Step(rows, at, end, kinds, length, views.longs[(at >> 3) + 1], views.longs[(at >> 3) + 2])


def _take(views: Views, found: Found, step: _Step) -> Flags:
    """Note where the attributes are; false for records that are not to be followed any further."""
    keep: Flags = (step.kinds != _ELSEWHERE) & ((step.kinds == _OTHER) | _is_sound(views, step))
    value_bytes, place = step.value & 0xFFFFFFFF, step.value >> 32 & 0xFFFF
    # Neither mapped nor named, and the value where Windows puts it.
    plain = (step.common & 0xFFFF == 0) & (place == VALUE_PLACE)
    here = step.of(_INFORMATION)
    keep[here] &= plain[here] & (value_bytes[here] >= _INFORMATION_BYTES)
    _note(found.information, step, here, keep)
    here = step.of(_NAME)
    keep[here] &= plain[here] & (value_bytes[here] >= _NAME_BYTES)
    here = here[keep[here]]
    head = views.shorts[(step.at[here] + VALUE_PLACE + 64) >> 1].astype(np.int64)
    characters, namespace = head & 0xFF, head >> 8
    keep[here] &= (characters > 0) & (_NAME_BYTES + 2 * characters <= value_bytes[here])
    _note(found.alias, step, here[namespace == DOS_NAMESPACE], keep)
    _note(found.name, step, here[namespace != DOS_NAMESPACE], keep)
    here = step.of(_DATA)
    # Neither named nor packed, encrypted or sparse.
    keep[here] &= step.common[here] & 0xFFFF_0000_FF00 == 0
    _note(found.data, step, here, keep)
    return keep


def _note(places: Ints, step: _Step, here: NDArray[np.intp], keep: Flags) -> None:
    """A second attribute of one kind is for the careful way."""
    keep[here] &= places[step.rows[here]] == 0
    here = here[keep[here]]
    places[step.rows[here]] = step.at[here]


def _is_sound(views: Views, step: _Step) -> Flags:
    """What ``record`` asks of every attribute that it looks into."""
    form, name_bytes, name_place = step.common & 0xFF, step.common >> 7 & 0x1FE, step.common >> 16 & 0xFFFF
    sound: Flags = (name_bytes == 0) | (name_place + name_bytes <= step.length)
    resident_end = (step.value & 0xFFFFFFFF) + (step.value >> 32 & 0xFFFF)
    sound &= (form == 1) | ((form == 0) & (resident_end <= step.length))
    here = np.flatnonzero(form == 1)
    sound[here] &= step.length[here] >= _MAPPED_BYTES
    here = here[sound[here]]
    at = step.at[here] >> 3
    runs = views.longs[at + 4] & 0xFFFF
    first, last = step.value[here], views.longs[at + 3]
    sound[here] &= (runs >= _MAPPED_BYTES) & (runs <= step.length[here])
    sound[here] &= (first >= 0) & (first <= last + 1) & (last < _MAX_VCN)
    # Allocated, size and valid size: one of them is negative if the highest bit of any is set.
    sound[here] &= views.longs[at + 5] | views.longs[at + 6] | views.longs[at + 7] >= 0
    return sound
