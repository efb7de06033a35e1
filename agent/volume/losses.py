"""From bad ranges of a drive to what of which file is lost.

Ranges are (start, length) in bytes, ascending and apart.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from agent.volume.bitlocker.regions import Kind, Region
from agent.volume.entry import StreamKind, StreamRef
from agent.volume.ntfs.extents import ExtentMap

Range = tuple[int, int]

_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Placement:
    """Bytes [start, end) of the volume lie ``shift`` bytes further on the drive.

    They are read in whole units of ``unit_bytes`` of the volume: the sectors that are decrypted, or 1.
    """

    start: int
    end: int
    shift: int
    unit_bytes: int = 1


def plain_placement(partition_start: int, size_bytes: int) -> tuple[Placement, ...]:
    """Of a volume that is not encrypted."""
    return (Placement(0, size_bytes, partition_start),)


def bitlocker_placement(
    partition_start: int, regions: Iterable[Region], sector_size: int
) -> tuple[Placement, ...]:
    """Of a decrypted volume; what it shows as zeros lies nowhere."""
    return tuple(
        Placement(
            region.start,
            region.end,
            partition_start + region.shift,
            sector_size if region.kind is Kind.DECRYPT else 1,
        )
        for region in regions
        if region.kind is not Kind.ZEROS
    )


def on_volume(bad: Iterable[Range], placement: Sequence[Placement]) -> tuple[Range, ...]:
    """Bad ranges of the drive as the ranges of the volume that cannot be read for them."""
    found: list[Range] = []
    for start, length in bad:
        for each in placement:
            low = max(start - each.shift, each.start)
            high = min(start + length - each.shift, each.end)
            if low < high:
                low -= low % each.unit_bytes
                high += -high % each.unit_bytes
                found.append((max(low, each.start), min(high, each.end) - max(low, each.start)))
    return _merged(found)


def lost_ranges(bad: Sequence[Range], stream: StreamRef, record_bytes: int = 1024) -> tuple[Range, ...]:
    """Which bytes of the stream cannot be read, when ``bad`` cannot be read of its volume.

    A packed unit is lost whole; of a WOF stream, all is, for the table that tells its chunks apart lies
    on the drive itself. So is a stream within its MFT record, which has ``record_bytes``.
    """
    if not stream.extents:
        is_lost = any(_overlap(bad, stream.first_offset, record_bytes))
        return ((0, stream.size),) if is_lost and stream.size else ()
    extents = ExtentMap(stream.extents)
    if stream.kind is StreamKind.WOF:
        return ((0, stream.size),) if any(_lost(bad, extents, stream.packed_bytes)) else ()
    end = min(stream.size, stream.valid_size)
    lost = _lost(bad, extents, end)
    if stream.kind is StreamKind.COMPRESSED:
        lost = _by_units(lost, extents, stream.unit_bytes, end)
    return _merged(lost)


def sentence(lost: Sequence[Range]) -> str:
    """One line: the first ranges, and how much there is in all."""
    shown = ", ".join(f"{start}..{start + length}" for start, length in lost[:_SHOWN])
    more = f" and {len(lost) - _SHOWN} more ranges" if len(lost) > _SHOWN else ""
    return f"bytes {shown}{more}: {sum(length for _, length in lost)} bytes in all"


def _lost(bad: Sequence[Range], extents: ExtentMap, end: int) -> Iterator[Range]:
    """The bad ranges that lie in the extents, as ranges of the stream, up to ``end``."""
    at = 0
    for place, length in extents.extents:
        if at >= end:
            return
        if place is not None:
            for start, size in _overlap(bad, place, min(length, end - at)):
                yield at + start - place, size
        at += length


def _overlap(bad: Sequence[Range], start: int, length: int) -> Iterator[Range]:
    """What of ``bad`` lies in [start, start + length)."""
    index = max(0, bisect_right(bad, start, key=lambda each: each[0]) - 1)
    while index < len(bad) and bad[index][0] < start + length:
        low = max(start, bad[index][0])
        high = min(start + length, sum(bad[index]))
        if low < high:
            yield low, high - low
        index += 1


def _by_units(lost: Iterable[Range], extents: ExtentMap, unit_bytes: int, end: int) -> Iterator[Range]:
    """Ranges widened to the units that are packed; a unit without a hole is kept as it is."""
    for start, length in lost:
        for unit in range(start // unit_bytes * unit_bytes, start + length, unit_bytes):
            size = min(unit_bytes, extents.total - unit)
            if any(place is None for place, _ in extents.pieces(unit, size)):
                yield unit, min(unit_bytes, end - unit)
            else:
                low, high = max(start, unit), min(start + length, unit + unit_bytes)
                yield low, high - low


def _merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """In order, what touches or overlaps as one."""
    found: list[Range] = []
    for start, length in sorted(ranges):
        if found and start <= sum(found[-1]):
            found[-1] = (found[-1][0], max(sum(found[-1]), start + length) - found[-1][0])
        else:
            found.append((start, length))
    return tuple(found)
