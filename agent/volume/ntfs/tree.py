"""Directories by record number, and the paths they make."""

from __future__ import annotations

from dataclasses import dataclass

from agent.volume.ntfs.entry import ORPHAN
from agent.volume.ntfs.record import RECORD_MASK, Record

ROOT_RECORD = 5
EXTEND_RECORD = 11
FIRST_USER_RECORD = 24
MAX_DEPTH = 1024
"""Directories deeper than this begin a path of their own under ``ORPHAN``."""

_MAX_CACHED_NAMES = 4_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """A directory's path from the root, how deep it truly lies, and whether NTFS keeps it for itself."""

    path: tuple[str, ...]
    depth: int
    is_system: bool


_ROOT = Place((), 0, False)


class DirectoryTree:
    """Grows with the number of directories; the paths it remembers are bounded."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int, str]] = {}
        self._places: dict[int, Place] = {}
        self._cached_names = 0

    def add(self, record: Record, parent: int, name: str) -> None:
        """A directory in use, its parent's reference and its name."""
        self._known[record.number] = (record.sequence, parent, name)

    def place(self, reference: int) -> Place | None:
        """Where the directory lies, or None if there is none of that number and sequence."""
        return self._places.get(reference) or self._resolve(reference)

    def _resolve(self, reference: int) -> Place | None:
        chain: list[tuple[int, int, str]] = []
        seen: dict[int, int] = {}
        place: Place | None = None
        looped = MAX_DEPTH + 1
        while True:
            number = reference & RECORD_MASK
            if number == ROOT_RECORD:
                place = _ROOT
                break
            known = self._known.get(number)
            if known is None or (reference >> 48 and reference >> 48 != known[0]):
                break
            if number in seen:
                looped = seen[number]
                break
            canonical = number | known[0] << 48
            place = self._places.get(canonical)
            if place is not None:
                break
            if len(chain) > MAX_DEPTH:
                return self._remember(canonical=chain[0][0], place=_orphan(*chain[0], MAX_DEPTH + 1))
            seen[number] = len(chain)
            chain.append((canonical, number, known[2]))
            reference = known[1]
        for index in range(len(chain) - 1, -1, -1):
            canonical, number, name = chain[index]
            place = _below(None if index >= looped else place, canonical, number, name)
            self._remember(canonical, place)
        return place

    def _remember(self, canonical: int, place: Place) -> Place:
        self._cached_names += len(place.path)
        if self._cached_names > _MAX_CACHED_NAMES:
            self._places.clear()
            self._cached_names = len(place.path)
        self._places[canonical] = place
        return place


def _below(parent: Place | None, canonical: int, number: int, name: str) -> Place:
    if parent is None:
        return _orphan(canonical, number, name, 1)
    if parent.depth >= MAX_DEPTH:
        return _orphan(canonical, number, name, MAX_DEPTH + 1)
    return Place((*parent.path, name), parent.depth + 1, parent.is_system or number == EXTEND_RECORD)


def _orphan(canonical: int, number: int, name: str, depth: int) -> Place:
    return Place((ORPHAN, str(number), name), depth, False)
