"""What is known of each byte of a drive, in the terms of GNU ddrescue."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_RANGES: Final = 65_536
"""Ranges that a map keeps apart, some 6 MB of memory; past that it coarsens."""

MIN_RANGES: Final = 16


class State(StrEnum):
    """What is known of a range, by ddrescue's letters."""

    NON_TRIED = "?"
    NON_TRIMMED = "*"
    NON_SCRAPED = "/"
    BAD_SECTOR = "-"
    FINISHED = "+"


TROUBLE: Final = (State.BAD_SECTOR, State.NON_TRIMMED, State.NON_SCRAPED)
"""The states of what could not be read: for good, not as part of a larger read, not in the time given."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes [start, end) of the drive, all in one state."""

    start: int
    end: int
    state: State

    @property
    def length(self) -> int:
        """Bytes."""
        return self.end - self.start


class DriveMap:
    """The state of every byte of a drive, as ranges of equal state without gaps.

    Holds at most ``max_ranges`` of them. When there would be more it coarsens, and ``remarks`` says so:
    first the shortest finished ranges are forgotten (non-tried again); when trouble alone is too much,
    the closest troubled ranges become one with the gap between them, non-trimmed: to be looked at again.
    So it never calls readable what is not known to be. Not thread-safe.
    """

    def __init__(self, size_bytes: int, max_ranges: int = MAX_RANGES) -> None:
        """All of it non-tried."""
        if size_bytes < 0 or max_ranges < MIN_RANGES:
            raise ValueError(f"a map of {size_bytes} bytes in {max_ranges} ranges")
        self.size_bytes = size_bytes
        self._max_ranges = max_ranges
        self._starts = [0]
        self._states = [State.NON_TRIED]
        self._troubled = 0
        self._forgotten_bytes = 0
        self._joined_bytes = 0

    def mark(self, start: int, length: int, state: State) -> None:
        """Bytes [start, start + length) are in ``state`` from now on, whatever they were."""
        end = start + length
        if start < 0 or length < 0 or end > self.size_bytes:
            raise ValueError(f"bytes {start}..{end} of a map of {self.size_bytes}")
        if not length:
            return
        starts, states = self._starts, self._states
        first = bisect_right(starts, start) - 1
        limit = starts[first + 1] if first + 1 < len(starts) else self.size_bytes
        if end <= limit and states[first] is state:
            return
        if (
            state is State.FINISHED
            and starts[first] == start
            and end < limit
            and states[first] is State.NON_TRIED
            and first
            and states[first - 1] is state
        ):
            # Reads sweep forward: what was read last grows.
            starts[first] = end
            return
        self._replace(first, start, end, state)
        if len(starts) > self._max_ranges:
            self._coarsen()

    def _replace(self, first: int, start: int, end: int, state: State) -> None:
        """Put [start, end) in the place of what begins in range ``first``; equal neighbours become one."""
        starts, states = self._starts, self._states
        after = bisect_right(starts, end - 1, first)
        limit = starts[after] if after < len(starts) else self.size_bytes
        new_starts, new_states = [start], [state]
        if end < limit and states[after - 1] is not state:
            new_starts.append(end)
            new_states.append(states[after - 1])
        elif end == limit and after < len(starts) and states[after] is state:
            after += 1
        if starts[first] < start and states[first] is not state:
            new_starts.insert(0, starts[first])
            new_states.insert(0, states[first])
        else:
            if starts[first] == start and first and states[first - 1] is state:
                first -= 1
            new_starts[0] = starts[first]
        self._troubled += _count(new_states) - _count(states[first:after])
        starts[first:after] = new_starts
        states[first:after] = new_states

    def _stretches(self, low: int, high: int) -> Iterator[Stretch]:
        for index in range(low, high):
            end = self._starts[index + 1] if index + 1 < len(self._starts) else self.size_bytes
            yield Stretch(self._starts[index], end, self._states[index])

    def pieces(self, start: int, length: int) -> Iterator[Stretch]:
        """The ranges of [start, start + length), cut to it, in order."""
        end = min(start + length, self.size_bytes)
        index = bisect_right(self._starts, start) - 1
        while start < end:
            limit = self._starts[index + 1] if index + 1 < len(self._starts) else self.size_bytes
            yield Stretch(start, min(limit, end), self._states[index])
            start = limit
            index += 1

    def overlaps(self, start: int, length: int) -> bool:
        """Whether a byte of [start, start + length) is in trouble."""
        if not self._troubled:
            return False
        return any(piece.state in TROUBLE for piece in self.pieces(start, length))

    def ranges(self, *states: State) -> Iterator[tuple[int, int]]:
        """(start, length) of what is in one of ``states``, in order; neighbours of two states are two."""
        for each in self._stretches(0, len(self._starts)):
            if each.state in states and each.length:
                yield each.start, each.length

    def total_bytes(self, *states: State) -> int:
        """How many bytes are in one of ``states``."""
        return sum(length for _, length in self.ranges(*states))

    @property
    def is_clean(self) -> bool:
        """Whether nothing is in trouble."""
        return not self._troubled

    @property
    def range_count(self) -> int:
        """How many ranges are kept apart."""
        return len(self._starts)

    @property
    def remarks(self) -> tuple[str, ...]:
        """A sentence for each way in which the map is coarser than what was marked."""
        said = []
        if self._forgotten_bytes:
            said.append(f"finished ranges of up to {self._forgotten_bytes} bytes are shown as non-tried")
        if self._joined_bytes:
            said.append(f"troubled ranges up to {self._joined_bytes} bytes apart are shown as one")
        return tuple(said)

    def _coarsen(self) -> None:
        """Half as many ranges, so that the next time is far off."""
        target = self._max_ranges // 2
        found = list(self._stretches(0, len(self._starts)))
        while len(found) > target and any(s.state is State.FINISHED for s in found):
            limit = _median(s.length for s in found if s.state is State.FINISHED)
            self._forgotten_bytes = max(self._forgotten_bytes, limit)
            found = _merged(_forget(found, limit))
        while len(found) > target:
            limit = _median(_gaps(found))
            self._joined_bytes = max(self._joined_bytes, limit)
            found = _merged(_join(found, limit))
        self._starts[:] = [s.start for s in found]
        self._states[:] = [s.state for s in found]
        self._troubled = _count(self._states)

    def stretches(self) -> Iterator[Stretch]:
        """All ranges in order."""
        return self._stretches(0, len(self._starts))

    def without_finished(self) -> Iterator[Stretch]:
        """All ranges in order, the finished ones as non-tried."""
        yield from _merged(_forget(self.stretches(), self.size_bytes))


def _merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Equal neighbours as one."""
    found: list[Stretch] = []
    for each in stretches:
        if found and found[-1].state is each.state:
            found[-1] = Stretch(found[-1].start, each.end, each.state)
        else:
            found.append(each)
    return found


def _forget(stretches: Iterable[Stretch], limit: int) -> Iterator[Stretch]:
    """Finished ranges of up to ``limit`` bytes as non-tried."""
    for each in stretches:
        short = each.state is State.FINISHED and each.length <= limit
        yield Stretch(each.start, each.end, State.NON_TRIED) if short else each


def _gaps(stretches: Iterable[Stretch]) -> Iterator[int]:
    """How far each troubled range lies from the one before it."""
    end: int | None = None
    for each in stretches:
        if each.state in TROUBLE:
            if end is not None:
                yield each.start - end
            end = each.end


def _join(stretches: Sequence[Stretch], limit: int) -> Iterator[Stretch]:
    """Troubled ranges at most ``limit`` bytes apart as one, non-trimmed, with what lies between."""
    held: list[Stretch] = []
    cluster: Stretch | None = None
    for each in stretches:
        if each.state not in TROUBLE:
            held.append(each)
        elif cluster is not None and each.start - cluster.end <= limit:
            cluster, held = Stretch(cluster.start, each.end, State.NON_TRIMMED), []
        else:
            yield from (*([cluster] if cluster else []), *held)
            cluster, held = each, []
    yield from (*([cluster] if cluster else []), *held)


def _count(states: Iterable[State]) -> int:
    """How many are trouble."""
    return sum([state in TROUBLE for state in states])


def _median(lengths: Iterable[int]) -> int:
    ordered = sorted(lengths)
    return ordered[len(ordered) // 2]
