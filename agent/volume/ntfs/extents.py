"""From attribute instances to extents, and from extents to bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from agent.errors import NtfsDamaged
from agent.volume.block import BlockSource
from agent.volume.entry import MAX_STREAM_BYTES, Extent
from agent.volume.ntfs.geometry import Geometry
from agent.volume.ntfs.record import Attribute
from agent.volume.ntfs.runlist import Run, decode_runs, to_extents

MAX_RUNS = 1_000_000
"""Of one file. One in more pieces is not read: its list alone would fill the memory."""

_ZEROS = bytes(1 << 20)


def map_extents(
    instances: Sequence[Attribute], geometry: Geometry, max_runs: int | None = None
) -> tuple[Extent, ...]:
    """The extents of a mapped attribute from all its instances, in whatever order.

    Raises NtfsDamaged when the instances overlap or leave a gap, or map more than the volume holds, or
    hold more than ``max_runs`` runs (MAX_RUNS if not given).
    """
    runs: Iterable[Run]
    if len(instances) == 1 and not instances[0].first_vcn:
        runs = only = _runs(instances[0], geometry)
        if len(only) == 1 and only[0][0] is not None:
            # Most files are one run, which was checked against the volume when it was decoded.
            return ((only[0][0] * geometry.cluster_size, only[0][1] * geometry.cluster_size),)
        _check_count(len(only), max_runs)
    else:
        runs = _joined(instances, geometry, max_runs)
    extents = to_extents(runs, geometry.cluster_size)
    if sum(length for offset, length in extents if offset is not None) > geometry.volume_bytes:
        raise NtfsDamaged(f"the runlists map more than the {geometry.volume_bytes} bytes of the volume")
    if sum(length for _, length in extents) >= MAX_STREAM_BYTES:
        raise NtfsDamaged("the runlists map more bytes than a file can have")
    return extents


def _runs(instance: Attribute, geometry: Geometry) -> list[Run]:
    return decode_runs(
        instance.buffer, instance.start, instance.end, instance.clusters, geometry.total_clusters
    )


def _joined(instances: Sequence[Attribute], geometry: Geometry, max_runs: int | None) -> Iterator[Run]:
    next_vcn = count = 0
    for instance in sorted(instances, key=lambda each: each.first_vcn):
        if not instance.mapped or instance.first_vcn != next_vcn:
            raise NtfsDamaged(f"a runlist begins at cluster {instance.first_vcn}, not at {next_vcn}")
        runs = _runs(instance, geometry)
        next_vcn += instance.clusters
        count += len(runs)
        _check_count(count, max_runs)
        yield from runs


def _check_count(runs: int, max_runs: int | None) -> None:
    limit = MAX_RUNS if max_runs is None else max_runs
    if runs > limit:
        raise NtfsDamaged(f"the runlists hold more than {limit} runs")


class ExtentMap:
    """Finds the pieces of a stream that make up a range of it."""

    __slots__ = ("_ends", "extents", "total")

    def __init__(self, extents: Sequence[Extent]) -> None:
        self.extents = extents
        self._ends = list(accumulate(length for _, length in extents))
        self.total = self._ends[-1] if extents else 0

    def pieces(self, offset: int, length: int) -> Iterator[Extent]:
        """Extents that are exactly the range. Raises NtfsDamaged when it is not covered."""
        if offset + length > self.total:
            raise NtfsDamaged(f"bytes {offset}..{offset + length} of a stream that maps {self.total} bytes")
        index = bisect_right(self._ends, offset)
        while length > 0:
            start, size = self.extents[index]
            inside = offset - (self._ends[index] - size)
            here = min(length, size - inside)
            yield (None if start is None else start + inside), here
            offset += here
            length -= here
            index += 1

    def read_into(self, source: BlockSource, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` from ``offset`` of the stream on; holes are zeros."""
        done = 0
        for start, length in self.pieces(offset, len(buffer)):
            part = buffer[done : done + length]
            if start is None:
                fill_zeros(part)
            else:
                source.read_into(start, part)
            done += length


class GrowingMap(ExtentMap):
    """Of an attribute without holes whose parts become known one after the other."""

    __slots__ = ("_clusters", "_geometry", "_growing")

    def __init__(self, geometry: Geometry) -> None:
        self._growing: list[Extent] = []
        super().__init__(self._growing)
        self._geometry = geometry
        self._clusters = 0

    def add(self, instance: Attribute) -> None:
        """The next part. Raises NtfsDamaged when it is another one, has a hole or maps too much."""
        if not instance.mapped or instance.first_vcn != self._clusters:
            raise NtfsDamaged(f"a runlist begins at cluster {instance.first_vcn}, not at {self._clusters}")
        for offset, length in to_extents(_runs(instance, self._geometry), self._geometry.cluster_size):
            if offset is None:
                raise NtfsDamaged("the runlist has a hole where none can be")
            self.total += length
            self._growing.append((offset, length))
            self._ends.append(self.total)
        self._clusters += instance.clusters
        if self.total > self._geometry.volume_bytes or len(self._growing) > MAX_RUNS:
            raise NtfsDamaged(f"{len(self._growing)} runs map {self.total} bytes, more than can be")


def fill_zeros(buffer: memoryview) -> None:
    """Set all bytes to zero without allocating as many."""
    for at in range(0, len(buffer), len(_ZEROS)):
        part = buffer[at : at + len(_ZEROS)]
        part[:] = _ZEROS[: len(part)] if len(part) < len(_ZEROS) else _ZEROS
