"""Runlists: where the clusters of a non-resident attribute lie.

Each run is a byte with two nibbles (size of the offset, size of the length), the length in clusters
and the signed distance from the previous run's cluster; no offset means a hole (libyal, NTFS,
section "Data runs").
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.errors import NtfsDamaged
from agent.volume.entry import Extent

Run = tuple[int | None, int]
"""First cluster (None: a hole) and number of clusters."""


def decode_runs(
    buffer: bytes | bytearray, start: int, end: int, clusters: int, total_clusters: int
) -> list[Run]:
    """The runs in ``buffer[start:end]``, which must map exactly ``clusters`` clusters.

    ``total_clusters`` is the size of the volume. Raises NtfsDamaged for a run that is malformed, lies
    outside the volume, or maps more or less than was announced.
    """
    runs: list[Run] = []
    left, cluster, at = clusters, 0, start
    while left > 0:
        head = buffer[at] if at < end else 0
        length_size, offset_size = head & 15, head >> 4
        after_length = at + 1 + length_size
        at_next = after_length + offset_size
        if not head:
            raise NtfsDamaged(f"the runlist ends {left} of {clusters} clusters early")
        if not 0 < length_size <= 8 or offset_size > 8 or at_next > end:
            raise NtfsDamaged(f"the runlist holds a malformed run (head {head:#04x})")
        length = int.from_bytes(buffer[at + 1 : after_length], "little")
        if not 0 < length <= left:
            raise NtfsDamaged(f"the runlist holds a run of {length} clusters where {left} are left")
        if offset_size:
            cluster += int.from_bytes(buffer[after_length:at_next], "little", signed=True)
            if cluster < 0 or cluster + length > total_clusters:
                raise NtfsDamaged(
                    f"the runlist points at clusters {cluster}..{cluster + length} "
                    f"of a volume of {total_clusters}"
                )
            runs.append((cluster, length))
        else:
            runs.append((None, length))
        left -= length
        at = at_next
    if at < end and buffer[at]:
        raise NtfsDamaged(f"the runlist maps more than its {clusters} clusters")
    return runs


def to_extents(runs: Iterable[Run], cluster_size: int) -> tuple[Extent, ...]:
    """Bytes instead of clusters, with runs that touch each other made one."""
    merged: list[Extent] = []
    for cluster, length in runs:
        offset = None if cluster is None else cluster * cluster_size
        size = length * cluster_size
        if merged and _touches(merged[-1], offset):
            merged[-1] = (merged[-1][0], merged[-1][1] + size)
        else:
            merged.append((offset, size))
    return tuple(merged)


def _touches(last: Extent, offset: int | None) -> bool:
    if last[0] is None or offset is None:
        return last[0] is offset
    return last[0] + last[1] == offset
