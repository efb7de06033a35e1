"""Streams for a read plan, as the scan makes them."""

from __future__ import annotations

from agent.volume.ntfs import StreamKind, StreamRef

KIB = 1024


def stream(
    *extents: tuple[int | None, int],
    size: int | None = None,
    valid: int | None = None,
    kind: StreamKind = StreamKind.PLAIN,
    first: int | None = None,
    unsupported: str | None = None,
    packed: int = 0,
) -> StreamRef:
    """A stream that begins at its first extent, as the scan makes it."""
    size = sum(length for _, length in extents) if size is None else size
    if first is None:
        first = next((place for place, _ in extents if place is not None), 5 * KIB)
    unit = {StreamKind.COMPRESSED: 65536, StreamKind.WOF: 4096}.get(kind, 0)
    valid = size if valid is None else valid
    return StreamRef(40, 1, "", kind, size, valid, unit, extents, unsupported, first, packed)
