"""Where the pieces of a stream lie: runs of pieces that follow each other on the volume."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, NamedTuple, overload

from agent.volume.entry import StreamKind, StreamRef

DIRECT_KINDS: Final = frozenset({StreamKind.PLAIN, StreamKind.SPARSE})
"""Streams whose bytes stand on the volume as they are, but for holes and what was never written."""

_offset = itemgetter(0)


# A named tuple, as there is one for each file: a frozen dataclass takes five times as long to make.
class Want(NamedTuple):
    """Pieces of one stream that are to be read.

    ``key`` is the caller's own. ``pieces`` are (offset, length) in bytes of the stream, ascending and
    without overlap; they are asked for one at a time, so the sequence may make them as it is asked.
    ``in_order``: a piece comes only after all earlier ones, as a hash needs them.
    """

    key: int
    ref: StreamRef
    pieces: Sequence[tuple[int, int]]
    in_order: bool = False


@dataclass(frozen=True, slots=True)
class Blocks(Sequence[tuple[int, int]]):
    """A stream of ``length`` bytes as pieces of ``piece_bytes``, the last one shorter; none is kept."""

    length: int
    piece_bytes: int

    def __post_init__(self) -> None:
        if self.length < 0 or self.piece_bytes <= 0:
            raise ValueError(f"{self.length} bytes cannot be cut in pieces of {self.piece_bytes}")

    def __len__(self) -> int:
        return -(-self.length // self.piece_bytes)

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[int, int]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, int] | Sequence[tuple[int, int]]:
        if isinstance(index, slice):
            return [self[at] for at in range(len(self))[index]]
        offset = index * self.piece_bytes
        if not 0 <= offset < self.length:
            offset = range(len(self))[index] * self.piece_bytes
        left = self.length - offset
        return offset, left if left < self.piece_bytes else self.piece_bytes


class Run:
    """Pieces [index, end) of a want whose first bytes lie in one extent, or that lie nowhere.

    ``floor`` is the byte on the volume where the extent begins; ``shift`` leads from a byte of the
    stream to its place, None where all pieces count as lying at ``floor``. Below ``until`` the stream's
    bytes stand in the extent as they are. Not ``is_placed``: no byte of the pieces is on the volume.
    """

    __slots__ = ("end", "floor", "index", "is_placed", "key", "pieces", "shift", "until")

    def __init__(
        self,
        want: Want,
        index: int,
        end: int,
        floor: int,
        *,
        shift: int | None = None,
        until: int = 0,
        is_placed: bool = True,
    ) -> None:
        self.key, self.pieces = want.key, want.pieces
        self.index, self.end = index, end
        self.floor, self.shift, self.until = floor, shift, until
        self.is_placed = is_placed

    def place(self, offset: int) -> int:
        """The byte on the volume where a piece that begins at ``offset`` of the stream begins."""
        return self.floor if self.shift is None else max(self.floor, self.shift + offset)

    def holds(self, offset: int, length: int) -> bool:
        """Whether all bytes of a piece stand in the extent as they are."""
        if self.shift is None or not length:
            return False
        return self.shift + offset >= self.floor and offset + length <= self.until


def runs(want: Want) -> Iterator[Run]:
    """All pieces of ``want`` in their order, in at most two runs an extent and one more.

    A piece belongs to the extent that holds its first byte other than those of a hole. What lies in
    holes or past the valid size is taken to lie where the stream was last seen.
    """
    ref, pieces = want.ref, want.pieces
    index, count = 0, len(pieces)
    if not ref.extents:
        yield Run(want, 0, count, ref.first_offset)
        return
    last_seen = ref.first_offset
    for at, end, floor in _stretches(ref):
        if index == count:
            return
        following = pieces[index][0]
        if following >= end:
            continue
        begin = index if following >= at else _reaching(pieces, index, at)
        stop = _starting(pieces, begin, end)
        if begin > index:
            yield Run(want, index, begin, last_seen, is_placed=False)
        if stop > begin:
            yield _in_extent(want, begin, stop, at, end, floor)
        index, last_seen = stop, floor
    if index < count:
        yield Run(want, index, count, last_seen, is_placed=False)


def _stretches(ref: StreamRef) -> Iterator[tuple[int, int, int]]:
    """(start, end) in the stream and place on the volume of each extent that is read, in order.

    Of a WOF stream extents hold the packed bytes; its own are taken to be spread over them evenly.
    """
    is_packed = ref.kind is StreamKind.WOF
    limit = ref.size if is_packed else ref.valid_size
    mapped = at = 0
    for place, length in ref.extents:
        if at >= limit:
            return
        mapped += length
        end = mapped * ref.size // max(1, ref.packed_bytes) if is_packed else mapped
        if place is not None:
            yield at, min(end, limit), place
        at = end


def _reaching(pieces: Sequence[tuple[int, int]], index: int, at: int) -> int:
    """The first piece from ``index`` on that ends behind ``at``."""
    after = bisect_right(pieces, at, index, key=_offset)
    offset, length = pieces[after - 1]
    return after - 1 if after > index and offset + length > at else after


def _starting(pieces: Sequence[tuple[int, int]], begin: int, end: int) -> int:
    """The first piece from ``begin`` on that does not start before ``end``."""
    following = begin + 1
    if following < len(pieces) and pieces[begin][0] < end <= pieces[following][0]:
        # Where a file is much fragmented, nearly each piece lies in an extent of its own.
        return following
    return bisect_left(pieces, end, begin, key=_offset)


def _in_extent(want: Want, begin: int, stop: int, at: int, end: int, floor: int) -> Run:
    ref = want.ref
    if ref.kind is StreamKind.WOF:
        return Run(want, begin, stop, floor)
    until = end if ref.kind in DIRECT_KINDS and ref.unsupported is None else 0
    return Run(want, begin, stop, floor, shift=floor - at, until=until)
