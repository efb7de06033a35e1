"""The read plan: what to read from a volume, in the order in which it lies there.

A plan is a value: it reads nothing. An elevator (C-LOOK) goes over the pieces of the open wants from
the start of the volume to its end, and only then back. Neighbouring small files become one request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from typing import Final, TypedDict, Unpack

from agent.volume.entry import MAX_STREAM_BYTES, StreamRef
from agent.volume.plan_requests import Part, Request, seek_bytes
from agent.volume.plan_runs import DIRECT_KINDS, Blocks, Run, Want, runs

__all__ = ["Blocks", "Part", "PlanSettings", "ReadPlan", "Request", "Want", "requests", "seek_bytes"]

OPEN_WANTS: Final = 4096
WINDOW_BYTES: Final = 512 * 1024
ALIGN_BYTES: Final = 4096
MAX_GAP_BYTES: Final = 64 * 1024
"""A gap that takes a hard disk less time to read over than to seek over."""
OPEN_EXTENTS: Final = 1_000_000
"""Extents of all open wants together; without it 4096 hostile files would be as many million."""


class PlanSettings(TypedDict, total=False):
    """The settings of a ``ReadPlan``, by name."""

    open_wants: int
    window_bytes: int
    align_bytes: int
    max_gap_bytes: int
    in_order: bool
    volume_bytes: int | None
    open_extents: int


_Lone = tuple[int, int, int, bool]
"""The only piece of a want: its place, its length, the want's key, whether it is read directly."""


@dataclass(slots=True)
class _Open:
    """A want of runs: how many of them are on the way, those that follow, and its extents."""

    extents: int
    rest: Iterator[Run]
    under_way: int = 0


class _Lane:
    """Pieces of one sweep. ``files`` ascend by themselves, as wants come in that order."""

    __slots__ = ("files", "runs")

    def __init__(self) -> None:
        self.files: deque[_Lone] = deque()
        self.runs: list[tuple[int, int, Run, _Open]] = []


class ReadPlan:
    """Wants go in by ``add`` while the plan is not full, requests come out by ``take``.

    The next request begins at the smallest place at or behind that of the last piece taken; when there
    is none, the head goes back to the smallest. Each piece comes in exactly one request. Memory is
    bounded by ``open_wants`` and ``open_extents``; the last want let in may go past the latter.

    ``window_bytes`` is the longest direct request, ``align_bytes`` what starts and lengths of those are
    multiples of, save that none ends behind ``volume_bytes`` where that is given. Wants of one direct
    piece are joined over gaps of at most ``max_gap_bytes``. ``in_order`` is as if every want said it
    (see ``Want``).
    """

    def __init__(
        self,
        open_wants: int = OPEN_WANTS,
        window_bytes: int = WINDOW_BYTES,
        align_bytes: int = ALIGN_BYTES,
        max_gap_bytes: int = MAX_GAP_BYTES,
        in_order: bool = False,
        *,
        volume_bytes: int | None = None,
        open_extents: int = OPEN_EXTENTS,
    ) -> None:
        if open_wants < 1 or open_extents < 1:
            raise ValueError(f"a plan of {open_wants} wants and {open_extents} extents holds nothing")
        if align_bytes < 1 or window_bytes < align_bytes or window_bytes % align_bytes:
            raise ValueError(f"a window of {window_bytes} bytes is no multiple of {align_bytes}")
        self._open_wants, self._open_extents = open_wants, open_extents
        self._window_bytes, self._align_bytes = window_bytes, align_bytes
        self._max_gap_bytes = max_gap_bytes
        self._in_order = in_order
        self._volume_bytes = MAX_STREAM_BYTES if volume_bytes is None else volume_bytes
        self._ahead, self._behind = _Lane(), _Lane()
        self._open = self._extents = 0
        self._added = 0
        self._last_first = 0
        self._position = self._head = 0

    @property
    def is_full(self) -> bool:
        """Whether something must be taken before another want can be added."""
        return self._open >= self._open_wants or self._extents >= self._open_extents

    def add(self, want: Want) -> None:
        """Let in a want; one without pieces leaves no trace.

        Raises ValueError when it begins before the one added last (``ref.first_offset``), or when the
        plan is full.
        """
        first = want.ref.first_offset
        if first < self._last_first:
            raise ValueError(f"want {want.key} begins at {first}, before the last one at {self._last_first}")
        if self._open >= self._open_wants or self._extents >= self._open_extents:
            raise ValueError(f"the plan is full: {self._open} wants, {self._extents} extents")
        self._last_first = first
        count = len(want.pieces)
        lone = self._lone(want) if count == 1 else None
        if lone is not None:
            (self._ahead if first >= self._position else self._behind).files.append(lone)
            self._open += 1
        elif count:
            self._add_runs(want)

    def take(self) -> Request | None:
        """The next request, or None when every piece of every want was taken."""
        lane = self._ahead
        if not lane.files and not lane.runs:
            lane = self._behind
            self._ahead, self._behind = lane, self._ahead
        if lane.runs and not (lane.files and lane.files[0][0] <= lane.runs[0][0]):
            return self._take_of_run(lane)
        return self._take_files(lane) if lane.files else None

    def _lone(self, want: Want) -> _Lone | None:
        """The want, if it begins where its only piece does and need not be looked at by extents."""
        offset, length = want.pieces[0]
        ref = want.ref
        first = ref.first_offset
        if offset:
            return None
        if not ref.extents:
            return first, length, want.key, False
        place, extent_bytes = ref.extents[0]
        if place != first or not ref.valid_size:
            return None
        is_direct = 0 < length <= extent_bytes and _is_as_written(ref, length) and self._fits(first, length)
        return first, length, want.key, is_direct

    def _fits(self, place: int, length: int) -> bool:
        """Whether one window holds the bytes, and the volume the window."""
        is_short = place % self._align_bytes + length <= self._window_bytes
        return is_short and place + length <= self._volume_bytes

    def _add_runs(self, want: Want) -> None:
        opened = _Open(len(want.ref.extents), runs(want))
        self._open += 1
        self._extents += opened.extents
        for run in opened.rest:
            self._push(run, opened)
            if self._in_order or want.in_order:
                return

    def _push(self, run: Run, opened: _Open) -> None:
        place = run.place(run.pieces[run.index][0])
        lane = self._ahead if place >= self._position else self._behind
        self._added += 1
        opened.under_way += 1
        heappush(lane.runs, (place, self._added, run, opened))

    def _take_of_run(self, lane: _Lane) -> Request:
        place, number, run, opened = lane.runs[0]
        index = run.index
        offset, length = run.pieces[index]
        self._position = place
        run.index += 1
        if run.index < run.end:
            heapreplace(lane.runs, (run.place(run.pieces[run.index][0]), number, run, opened))
        else:
            heappop(lane.runs)
            self._follow(opened)
        if run.holds(offset, length) and self._fits(place, length):
            start = place - place % self._align_bytes
            return self._direct(start, place + length, (Part(run.key, index, place - start),))
        return self._indirect(run.key, index, place, length, run.is_placed)

    def _follow(self, opened: _Open) -> None:
        """A run is over: the one that had to wait for it may come now, or the want is done."""
        opened.under_way -= 1
        following = next(opened.rest, None)
        if following is not None:
            self._push(following, opened)
        elif not opened.under_way:
            self._open -= 1
            self._extents -= opened.extents

    def _take_files(self, lane: _Lane) -> Request:
        files = lane.files
        place, length, key, is_direct = files.popleft()
        self._open -= 1
        self._position = place
        if not is_direct:
            return self._indirect(key, 0, place, length, True)
        start = place - place % self._align_bytes
        end, limit = place + length, start + self._window_bytes
        parts = [Part(key, 0, place - start)]
        if lane.runs:
            limit = min(limit, lane.runs[0][0])
        while files:
            place, length, key, is_direct = files[0]
            if not is_direct or place + length > limit or place - end > self._max_gap_bytes:
                break
            files.popleft()
            parts.append(Part(key, 0, place - start))
            end = max(end, place + length)
            self._position = place
        self._open -= len(parts) - 1
        return self._direct(start, end, tuple(parts))

    def _direct(self, start: int, end: int, parts: tuple[Part, ...]) -> Request:
        """``start`` is aligned, and ``end`` is below what the volume has."""
        self._head = min(end + -end % self._align_bytes, self._volume_bytes)
        return Request(start, self._head - start, parts, True)

    def _indirect(self, key: int, index: int, place: int, length: int, is_placed: bool) -> Request:
        start = place if is_placed else self._head
        if is_placed:
            self._head = place + length
        return Request(start, length, (Part(key, index, 0),), False, is_placed)


def _is_as_written(ref: StreamRef, length: int) -> bool:
    """Whether the first ``length`` bytes of the stream stand in its extents as they are."""
    return length <= ref.valid_size and ref.kind in DIRECT_KINDS and ref.unsupported is None


def requests(wants: Iterable[Want], **settings: Unpack[PlanSettings]) -> Iterator[Request]:
    """The requests for all ``wants``, which ascend by ``ref.first_offset``; settings of ``ReadPlan``."""
    plan = ReadPlan(**settings)
    for want in wants:
        while plan.is_full and (request := plan.take()) is not None:
            yield request
        plan.add(want)
    while (request := plan.take()) is not None:
        yield request
