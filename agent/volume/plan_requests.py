"""One read of a volume as a value, and how far the head travels over many of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """Piece ``index`` of want ``key`` begins ``offset`` bytes into a request's range."""

    key: int
    index: int
    offset: int


@dataclass(frozen=True, slots=True)
class Request:
    """One read.

    ``is_direct``: bytes [start, start + length) of the volume hold all ``parts`` whole, in the order in
    which they lie. Otherwise there is one part, to be read through the file system: ``start`` is where
    its first byte lies and ``length`` the piece's. Not ``is_placed``: none of its bytes is on the
    volume (a hole, or past the valid size), and ``start`` is where the head stands.
    """

    start: int
    length: int
    parts: tuple[Part, ...]
    is_direct: bool
    is_placed: bool = True

    @property
    def end(self) -> int:
        """The byte after the last one."""
        return self.start + self.length

    def __str__(self) -> str:
        first = self.parts[0]
        what = f"piece {first.index} of {first.key}"
        if self.is_direct:
            more = f" and {len(self.parts) - 1} more" if len(self.parts) > 1 else ""
            return f"bytes {self.start}..{self.end} of the volume: {what}{more}"
        where = f"from byte {self.start} on" if self.is_placed else "nowhere on the volume"
        return f"{self.length} bytes through the file system, {where}: {what}"


def seek_bytes(requests: Iterable[Request]) -> int:
    """How far the head travels between requests: from the end of each to the start of the next.

    What the file system reads within one request is not in it, nor are requests without a place.
    """
    total = 0
    end: int | None = None
    for request in requests:
        if request.is_placed:
            total += abs(request.start - end) if end is not None else 0
            end = request.end
    return total
