"""An ordinary stream and what NTFS says of its file, as eight numbers of 64 bits, little-endian.

Ordinary: unnamed, readable, neither packed nor with holes, and in one piece or resident. Nearly all files
are, so this is how they travel from the reader to the journal and lie in it: whole columns of them are
checked and written at once, and a text is neither made nor parsed. The ninth number, where the stream
begins on the volume, is kept beside them.
"""

from __future__ import annotations

from struct import Struct

from agent.errors import MalformedInput
from agent.transfer.items import FileFacts
from agent.volume.entry import StreamKind, StreamRef

NUMBERS = 8
"""Reference (record, and sequence in the 16 high bits), size, valid size, length of the only extent or 0
when resident, modified, changed, created, attributes."""

_RECORD_BITS = 48
_RECORD = (1 << _RECORD_BITS) - 1
_NUMBERS = Struct(f"<{NUMBERS}Q")
_pack, _unpack = _NUMBERS.pack, _NUMBERS.unpack
_PLAIN, _RESIDENT = StreamKind.PLAIN, StreamKind.RESIDENT


def numbers_of(stream: StreamRef, facts: FileFacts) -> tuple[int, ...] | None:
    """The eight numbers, or None when the stream is not ordinary."""
    record, sequence, name, kind, size, valid, unit, extents, unsupported, first, packed = stream
    if name or unit or packed or unsupported is not None or not 0 <= valid <= size:
        return None
    length = 0
    if kind is _PLAIN:
        if len(extents) != 1 or extents[0][0] != first or extents[0][1] < size:
            return None
        length = extents[0][1]
    elif kind is not _RESIDENT or extents:
        return None
    return (record | sequence << _RECORD_BITS, size, valid, length, *facts)


def pack(stream: StreamRef, facts: FileFacts) -> bytes | None:
    """64 bytes, or None when the stream is not ordinary."""
    numbers = numbers_of(stream, facts)
    return None if numbers is None else _pack(*numbers)


def unpack(packed: bytes, first_offset: int) -> tuple[StreamRef, FileFacts]:
    """What ``pack`` was given. Raises MalformedInput for another number of bytes."""
    if len(packed) != _NUMBERS.size:
        raise MalformedInput(f"a packed stream has {len(packed)} bytes")
    reference, size, valid, length, modified, changed, created, attributes = _unpack(packed)
    stream = StreamRef(
        reference & _RECORD,
        reference >> _RECORD_BITS,
        "",
        _PLAIN if length else _RESIDENT,
        size,
        valid,
        0,
        ((first_offset, length),) if length else (),
        None,
        first_offset,
        0,
    )
    return stream, FileFacts(modified, changed, created, attributes)
