"""What a volume holds: names, streams, and the records that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from agent.errors import MalformedInput

Extent = tuple[int | None, int]
"""Byte offset on the volume (None: a hole) and length in bytes."""

MAX_STREAM_BYTES = 1 << 63

ORPHAN: Final = "$Orphan"
"""First name of a path whose parent cannot be reached from the root; then the record, then the name."""

_MAX_NAME = 255
_MAX_REASON = 1000
_MAX_UNIT_BYTES = 1 << 31


class StreamKind(StrEnum):
    """How the bytes of a stream are kept."""

    RESIDENT = "resident"
    PLAIN = "plain"
    SPARSE = "sparse"
    COMPRESSED = "compressed"
    WOF = "wof"


WOF_CHUNKS: Final = frozenset({4096, 8192, 16384, 32768})
"""Chunk sizes of WOF streams: XPRESS Huffman up to 16 KiB, LZX with 32 KiB."""


# Entry and StreamRef are named tuples: millions of them are made in one scan, whole columns at a time,
# and a frozen dataclass sets each of its fields by a call of its own (five times the price).
class StreamRef(NamedTuple):
    """Where the bytes of one stream are: enough to read them without its directory.

    ``name`` is "" for the unnamed stream. ``size`` is the length in bytes; from ``valid_size`` on the
    stream is zeros. ``extents`` are (byte offset on the volume or None for a hole, length in bytes) in
    the order of the stream and cover at least ``size``; none for resident streams. ``unit_bytes`` is
    the compression unit (0: not compressed). ``unsupported`` says why the content cannot be read.
    ``first_offset`` is the byte on the volume where it begins: its first extent, or its MFT record.

    A ``WOF`` stream is unpacked from the ``packed_bytes`` of its file's stream ``WofCompressedData``, whose
    extents ``extents`` are (none when that one is resident); ``unit_bytes`` is the chunk, which tells the
    format. ``packed_bytes`` is 0 for all other kinds.
    """

    record: int
    sequence: int
    name: str
    kind: StreamKind
    size: int
    valid_size: int
    unit_bytes: int
    extents: tuple[Extent, ...]
    unsupported: str | None
    first_offset: int
    packed_bytes: int = 0

    def to_json(self) -> list[object]:
        """Numbers, texts and None in a list of fixed order; extents flat, a hole is None."""
        flat: list[int | None] = []
        for extent in self.extents:
            flat += extent
        return [
            self.record,
            self.sequence,
            self.name,
            self.kind.value,
            self.size,
            self.valid_size,
            self.unit_bytes,
            flat,
            self.unsupported,
            self.first_offset,
            self.packed_bytes,
        ]

    @classmethod
    def from_json(cls, value: object) -> StreamRef:
        """What ``to_json`` gave. Raises MalformedInput for anything that no volume could have given.

        Whether the extents lie within a volume is checked when they are read.
        """
        if not isinstance(value, list) or len(value) != 11:
            raise MalformedInput("a stream reference is not a list of 11 values")
        record, sequence, name, kind, size, valid, unit, flat, unsupported, first, packed = value
        if not isinstance(name, str) or len(name) > _MAX_NAME:
            raise MalformedInput("a stream reference has no name of at most 255 characters")
        if not isinstance(kind, str) or kind not in _KINDS:
            raise MalformedInput("a stream reference is of no known kind")
        if unsupported is not None and not (isinstance(unsupported, str) and len(unsupported) <= _MAX_REASON):
            raise MalformedInput("a stream reference gives no text as the reason that it cannot be read")
        ref = cls(
            _number(record, 1 << 48, "record"),
            _number(sequence, 1 << 16, "sequence"),
            name,
            _KINDS[kind],
            _number(size, MAX_STREAM_BYTES, "size"),
            _number(valid, MAX_STREAM_BYTES, "valid size"),
            _number(unit, _MAX_UNIT_BYTES + 1, "compression unit"),
            _extents(flat),
            unsupported,
            _number(first, MAX_STREAM_BYTES, "first offset"),
            _number(packed, MAX_STREAM_BYTES, "packed size"),
        )
        ref._check()
        return ref

    def _check(self) -> None:
        covered = sum(length for _, length in self.extents)
        if self.valid_size > self.size:
            raise MalformedInput(f"a stream of {self.size} bytes has {self.valid_size} valid bytes")
        if (self.kind in _PACKED) != (self.unit_bytes > 0):
            raise MalformedInput(f"a {self.kind} stream has compression units of {self.unit_bytes} bytes")
        if (self.kind is StreamKind.WOF) != (self.packed_bytes > 0):
            raise MalformedInput(f"a {self.kind} stream is packed in {self.packed_bytes} bytes")
        if self.unit_bytes & (self.unit_bytes - 1):
            raise MalformedInput(f"a compression unit of {self.unit_bytes} bytes is no power of two")
        if self.kind is StreamKind.RESIDENT:
            if self.extents:
                raise MalformedInput("a resident stream has extents")
        elif self.kind is StreamKind.WOF:
            if self.unit_bytes not in WOF_CHUNKS:
                raise MalformedInput(f"a WOF stream has chunks of {self.unit_bytes} bytes")
            if self.extents and not self.packed_bytes <= covered < MAX_STREAM_BYTES:
                raise MalformedInput(f"the extents cover {covered} of {self.packed_bytes} packed bytes")
        elif self.unsupported is None and not self.size <= covered < MAX_STREAM_BYTES:
            raise MalformedInput(f"the extents cover {covered} bytes of a stream of {self.size}")


_PACKED = (StreamKind.COMPRESSED, StreamKind.WOF)
_KINDS = {kind.value: kind for kind in StreamKind}


def _number(value: object, below: int, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < below:
        raise MalformedInput(f"the {what} of a stream reference is no number below {below}")
    return value


def _extents(flat: object) -> tuple[Extent, ...]:
    if not isinstance(flat, list) or len(flat) % 2:
        raise MalformedInput("the extents of a stream reference are no list of pairs")
    pairs: list[Extent] = []
    for at in range(0, len(flat), 2):
        offset = None if flat[at] is None else _number(flat[at], MAX_STREAM_BYTES, "extent offset")
        length = _number(flat[at + 1], MAX_STREAM_BYTES, "extent length")
        if length == 0:
            raise MalformedInput("an extent of a stream reference is empty")
        pairs.append((offset, length))
    return tuple(pairs)


class Entry(NamedTuple):
    """One name of a file or directory; a file with hard links has one Entry a name.

    ``path`` are the names from the root down, lone surrogates kept; the root itself is ``()``. A
    path that begins with ``ORPHAN`` could not be resolved: (ORPHAN, record, name, ...).
    ``attributes`` are the DOS flags, times are FILETIMEs (100 ns since 1601-01-01 UTC, as written on
    the volume, so any 64-bit number). ``is_system``: NTFS keeps it for itself (a record below 24 other
    than the root, or below $Extend). ``streams``: the unnamed one first, then by name. ``target``:
    where a symbolic link or junction leads, as text.
    """

    record: int
    sequence: int
    path: tuple[str, ...]
    is_directory: bool
    attributes: int
    created: int
    modified: int
    changed: int
    accessed: int
    link_count: int
    is_system: bool
    streams: tuple[StreamRef, ...]
    reparse_tag: int | None
    target: str | None


@dataclass(frozen=True, slots=True)
class DamagedRecord:
    """An MFT record in use that cannot be parsed; ``names`` are those that could still be made out."""

    number: int
    why: str
    names: Sequence[str] = ()
