"""The read plan over what a hostile volume told: every piece once, within the volume, and the right bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agent.errors import IngestError, UnreadableSectors
from agent.volume.block import BlockSource, read
from agent.volume.ntfs import NtfsVolume, StreamRef
from agent.volume.plan import Blocks, Request, Want, requests
from tests.fuzz.broken import Broken

PIECE_BYTES = 20_000
MAX_WHOLE_BYTES = 1 << 20
"""Streams up to this are wanted whole; of larger ones, both ends."""

MAX_COMPARED = 60


def check_plan(volume: NtfsVolume, source: BlockSource, refs: Sequence[StreamRef]) -> None:
    """Raises Broken; a clean error of a single read is the reader's business and was met before."""
    wants = [
        Want(key, ref, _pieces(ref))
        for key, ref in enumerate(sorted(refs, key=lambda each: each.first_offset))
    ]
    wanted = Counter((want.key, index) for want in wants for index in range(len(want.pieces)))
    for in_order in (False, True):
        seen = _run(volume, source, wants, in_order)
        if seen != wanted:
            odd = sorted((seen - wanted) + (wanted - seen))[:3]
            raise Broken(f"a plan has {seen.total()} of {wanted.total()} pieces, or one twice: {odd}")


def _run(
    volume: NtfsVolume, source: BlockSource, wants: Sequence[Want], in_order: bool
) -> Counter[tuple[int, int]]:
    """All requests of one plan; how often each piece came. Only where order is free, bytes are compared."""
    seen: Counter[tuple[int, int]] = Counter()
    left = 0 if in_order else MAX_COMPARED
    for request in requests(
        wants, volume_bytes=volume.size_bytes, window_bytes=65536, align_bytes=4096, in_order=in_order
    ):
        seen.update((part.key, part.index) for part in request.parts)
        if not request.is_direct:
            continue
        if request.start < 0 or request.end > volume.size_bytes:
            raise Broken(f"a plan asks for {request.start}..{request.end} of {volume.size_bytes} bytes")
        if left > 0:
            left -= 1
            _compare(volume, source, wants, request)
    return seen


def _pieces(ref: StreamRef) -> Sequence[tuple[int, int]]:
    if ref.size <= MAX_WHOLE_BYTES:
        return Blocks(ref.size, PIECE_BYTES)
    return (0, PIECE_BYTES), (ref.size - PIECE_BYTES, PIECE_BYTES)


def _compare(volume: NtfsVolume, source: BlockSource, wants: Sequence[Want], request: Request) -> None:
    """What a direct request reads is what the file system gives; bad sectors may cost it its neighbours."""
    try:
        held = read(source, request.start, request.length)
    except UnreadableSectors:
        return
    for part in request.parts:
        want = wants[part.key]
        offset, length = want.pieces[part.index]
        buffer = bytearray(length)
        try:
            volume.read_into(want.ref, offset, memoryview(buffer))
        except IngestError as error:
            raise Broken(f"a plan reads directly what the file system refuses: {error.detail}") from error
        if held[part.offset : part.offset + length] != buffer:
            raise Broken(
                f"a plan's direct read of record {want.ref.record} gives other bytes than the file system"
            )
