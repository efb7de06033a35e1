"""Directories by record number, and the paths they make.

The table of directories lies in the scratch file: a row a directory, the rows of one chunk of $MFT
together and in the order of their numbers, their names behind. In memory is one bit a record, which tells
where the row is, and bounded caches; and up to two bits more where directories become known late, because
their attribute lists lead to records that come later in the table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from agent.volume.entry import ORPHAN
from agent.volume.ntfs.record import RECORD_MASK, decode_name
from agent.volume.ntfs.scratch import Scratch

ROOT_RECORD = 5
EXTEND_RECORD = 11
FIRST_USER_RECORD = 24
MAX_DEPTH = 1024
"""Directories deeper than this begin a path of their own under ``ORPHAN``."""

MAX_PATH_CHARS = 32_767
"""Directories whose path is longer than Windows can name do so too. Some hundred directories of long names
would make each file below them one of a hundred kilobytes, wherever it is told."""

MAX_CACHED_BYTES = 4 * 1024 * 1024
"""Of the paths that are remembered, by estimate, and as much again of those soon to be forgotten."""

MAX_BLOCKED = 16_384
"""Directories remembered as waiting, and as many again that are about to be forgotten."""

_PLACE_BYTES = 300
_NAME_BYTES = 8

_MAX_WALK = 2 * MAX_DEPTH
"""Far enough to settle half of the directories on the way, so that long chains are not walked for each."""

_ROW = struct.Struct("<QQHH4x")
"""Parent's reference, place of the name in the scratch file, sequence, bytes of the name."""

_Value = TypeVar("_Value")


class Place(NamedTuple):
    """A directory's path from the root, how deep it truly lies, and whether NTFS keeps it for itself.

    ``chars`` is how long the path is, with a separator behind each name. ``circle`` are the numbers of the
    directories that lead to each other in a circle, of one of these.
    """

    path: tuple[str, ...]
    depth: int
    is_system: bool
    circle: frozenset[int] = frozenset()
    chars: int = 0


_ROOT = Place((), 0, False)
WAITING: Final = Place((), -1, False)
"""Said of a directory while a record on its way up has not been seen."""

_END = 1 << 48
"""As the record that something waits for: the end of the pass."""


class Directory(NamedTuple):
    """A directory in use: its record, its parent's reference, its name in UTF-16."""

    number: int
    sequence: int
    parent: int
    name: bytes

    @property
    def reference(self) -> int:
        """As other records point here."""
        return self.number | self.sequence << 48


class Recent(Generic[_Value]):
    """What was put in lately, by number: two halves, of which the older one is forgotten at once."""

    def __init__(self, limit: int) -> None:
        """``limit`` is what the values of one half may weigh together."""
        self._limit = limit
        self._weight = 0
        self._young: dict[int, _Value] = {}
        self._old: dict[int, _Value] = {}

    def get(self, key: int) -> _Value | None:
        found = self._young.get(key)
        return found if found is not None else self._old.get(key)

    def put(self, key: int, value: _Value, weight: int = 1) -> None:
        self._weight += weight
        if self._weight > self._limit:
            self._old, self._young = self._young, {}
            self._weight = weight
        self._young[key] = value


@dataclass(frozen=True, slots=True)
class _Rows:
    """Where the rows of one chunk begin, and a bit for each of its records that has one.

    ``late`` has a bit for each that may get one later.
    """

    start: int
    bits: int
    late: int = 0


class DirectoryTree:
    """Told of all directories chunk by chunk; knows the place of each whose way up has been seen."""

    def __init__(self, scratch: Scratch, chunk_records: int, record_count: int) -> None:
        """``chunk_records`` is how many records each call of ``see`` is about, but for the last one."""
        self._scratch = scratch
        self._chunk_records = chunk_records
        self._record_count = record_count
        self._chunks: list[_Rows] = []
        self._late: dict[int, _Rows] = {}
        self._seen = 0
        self._places: Recent[Place] = Recent(MAX_CACHED_BYTES)
        self._blocked: Recent[int] = Recent(MAX_BLOCKED)

    def see(self, directories: Iterable[Directory], late: Iterable[int] = ()) -> None:
        """The directories of the next chunk, ascending; all other records of it are none.

        Of those with the numbers ``late`` that is told by ``see_late``.
        """
        first = len(self._chunks) * self._chunk_records
        start, bits = self._store(directories, first)
        self._chunks.append(_Rows(start, bits, _bits(late, first)))
        self._seen = first + self._chunk_records

    def see_late(self, first: int, directories: Iterable[Directory]) -> None:
        """The late directories of the chunk that begins with record ``first``, ascending.

        Comes after all of ``see``, at most once a chunk. What waits for them goes on doing so until
        ``finish``.
        """
        start, bits = self._store(directories, first)
        if bits:
            self._late[first // self._chunk_records] = _Rows(start, bits)

    def finish(self) -> None:
        """All that there is has been seen: from now on nothing is WAITING."""
        self._seen = _END + 1

    def _store(self, directories: Iterable[Directory], first: int) -> tuple[int, int]:
        """Where the rows begin, and the bits of those that have one."""
        rows, names, name_bytes = bytearray(), [], 0
        found = list(directories)
        names_start = len(found) * _ROW.size
        for _, sequence, parent, name in found:
            rows += _ROW.pack(parent, names_start + name_bytes, sequence, len(name))
            names.append(name)
            name_bytes += len(name)
        start = self._scratch.append(bytes(rows) + b"".join(names)) if found else 0
        return start, _bits((directory.number for directory in found), first)

    def place(self, reference: int) -> Place | None:
        """Where the directory lies; None if there is none of that number and sequence, or WAITING.

        What it says is final but for WAITING, and does not depend on what was asked before. Raises
        StateUnusable.
        """
        return self._places.get(reference) or self._resolve(reference)

    def settle(self, directory: Directory) -> Place:
        """As ``place``, of a directory that is at hand: most often a step below one that is remembered."""
        reference = directory.reference
        known = self._places.get(reference)
        if known is not None:
            return known
        up = _ROOT if directory.parent & RECORD_MASK == ROOT_RECORD else self._places.get(directory.parent)
        if up is None or up.circle or directory.number == ROOT_RECORD:
            return self._resolve(reference) or _orphan(directory, 1)
        place = _below(up, directory)
        self._remember(reference, place)
        return place

    def _resolve(self, reference: int) -> Place | None:
        """Walk up until something is known; then down again, giving each its place."""
        chain: list[Directory] = []
        seen: dict[int, int] = {}
        place: Place | None = None
        circle: frozenset[int] = frozenset()
        while True:
            number = reference & RECORD_MASK
            if number == ROOT_RECORD:
                place = _ROOT
                break
            blocked = self._blocked_by(reference, number)
            if blocked is not None:
                return self._wait(chain, blocked)
            directory = self._directory(number)
            if directory is None and self._may_come(number):
                return self._wait(chain, _END)
            if directory is None or (reference >> 48 and reference >> 48 != directory.sequence):
                break
            if number in seen:
                circle = frozenset(list(seen)[seen[number] :])
                break
            place = self._places.get(directory.reference)
            if place is not None:
                # Others of its circle may have been forgotten, and be among those walked here.
                circle = place.circle
                break
            if len(chain) == _MAX_WALK:
                return self._cut(chain)
            seen[number] = len(chain)
            chain.append(directory)
            reference = directory.parent
        return self._descend(chain, place, circle)

    def _blocked_by(self, reference: int, number: int) -> int | None:
        """The record that must be seen before the way up from ``reference`` can be told."""
        if number >= self._seen:
            return number if number < self._record_count else None
        blocked = self._blocked.get(reference)
        return blocked if blocked is not None and blocked >= self._seen else None

    def _wait(self, chain: list[Directory], blocked: int) -> Place:
        for directory in chain:
            self._blocked.put(directory.reference, blocked)
        return WAITING

    def _descend(self, chain: list[Directory], place: Place | None, circle: frozenset[int]) -> Place | None:
        """Those of a circle each begin a path, and count as deep as the circle is long, so that what hangs
        below is as deep as the walk up from it is long."""
        for directory in reversed(chain):
            if directory.number in circle:
                place = _orphan(directory, min(len(circle), MAX_DEPTH + 1), circle)
            else:
                place = _below(place, directory)
            self._remember(directory.reference, place)
        return place

    def _cut(self, chain: list[Directory]) -> Place:
        """All that have more than MAX_DEPTH others above them are too deep, wherever these lead."""
        for directory in chain[: len(chain) - MAX_DEPTH]:
            self._remember(directory.reference, _orphan(directory, MAX_DEPTH + 1))
        return _orphan(chain[0], MAX_DEPTH + 1)

    def _remember(self, reference: int, place: Place) -> None:
        self._places.put(reference, place, _PLACE_BYTES + _NAME_BYTES * len(place.path))

    def _may_come(self, number: int) -> bool:
        """Whether the record is one of those that are told of late, and that is still to come."""
        index, inside = divmod(number, self._chunk_records)
        if self._seen > _END or index >= len(self._chunks):
            return False
        return self._chunks[index].late >> inside & 1 == 1

    def _directory(self, number: int) -> Directory | None:
        index, inside = divmod(number, self._chunk_records)
        if index >= len(self._chunks):
            return None
        chunk = self._chunks[index]
        if chunk.late >> inside & 1 and self._seen > _END:
            chunk = self._late.get(index, chunk)
        if not chunk.bits >> inside & 1:
            return None
        row = (chunk.bits & (1 << inside) - 1).bit_count()
        found = self._scratch.read(chunk.start + row * _ROW.size, _ROW.size)
        parent, name_start, sequence, name_bytes = _ROW.unpack(found)
        name = self._scratch.read(chunk.start + name_start, name_bytes)
        return Directory(number, sequence, parent, name)


def _bits(numbers: Iterable[int], first: int) -> int:
    found = 0
    for number in numbers:
        found |= 1 << number - first
    return found


def _below(parent: Place | None, directory: Directory) -> Place:
    if parent is None:
        return _orphan(directory, 1)
    name = decode_name(directory.name)
    chars = parent.chars + len(name) + 1
    if parent.depth >= MAX_DEPTH or chars > MAX_PATH_CHARS:
        return _orphan(directory, MAX_DEPTH + 1)
    is_system = parent.is_system or directory.number == EXTEND_RECORD
    return Place((*parent.path, name), parent.depth + 1, is_system, chars=chars)


def _orphan(directory: Directory, depth: int, circle: frozenset[int] = frozenset()) -> Place:
    path = ORPHAN, str(directory.number), decode_name(directory.name)
    return Place(path, depth, False, circle, sum(map(len, path)) + len(path))
