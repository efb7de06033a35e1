"""The bytes of a volume in the making, and which of its clusters are taken."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fuzz.maker import parts
from tests.fuzz.maker.parts import Run


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes in bytes. ``is_scattered``: $MFT lies in many runs that several records map.

    ``records`` is the length of $MFT. Directories get the numbers from ``first_directory`` on, so that a
    pass over the table meets them after what lies in them; 0: as they come. ``depth`` of them are nested.
    Of a volume with ``stored_bytes`` only its beginning is made; the rest of it is zeros.
    """

    size_bytes: int = 2 << 20
    sector_size: int = 512
    cluster_size: int = 4096
    record_size: int = 1024
    index_size: int = 4096
    is_scattered: bool = False
    records: int = 192
    first_directory: int = 0
    depth: int = 8
    stored_bytes: int = 0


class Clusters:
    """Gives clusters out upwards, and leaves one free behind each piece so that none touch."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.image = bytearray(shape.stored_bytes or shape.size_bytes)
        self.sectors = shape.size_bytes // shape.sector_size - 1
        self.count = self.sectors * shape.sector_size // shape.cluster_size
        self.next = self.needed(8192)

    def needed(self, length: int) -> int:
        """How many clusters that many bytes take."""
        return -(-length // self.shape.cluster_size)

    def allocate(self, count: int) -> int:
        """The first of ``count`` new clusters. Raises ValueError when the volume is full."""
        first = self.next
        self.next += count + 1
        if self.next > min(self.count, len(self.image) // self.shape.cluster_size):
            raise ValueError("the volume is full")
        return first

    def write(self, cluster: int, data: bytes) -> None:
        """Bytes at the beginning of a cluster."""
        at = cluster * self.shape.cluster_size
        self.image[at : at + len(data)] = data

    def write_runs(self, runs: list[Run], data: bytes) -> None:
        """``data`` over runs without holes."""
        done = 0
        for cluster, length in runs:
            assert cluster is not None
            self.write(cluster, data[done : done + length * self.shape.cluster_size])
            done += length * self.shape.cluster_size

    def store(self, data: bytes, pieces: int = 1) -> list[Run]:
        """Put ``data`` on the volume in that many runs; of several, half goes backwards."""
        count = self.needed(len(data))
        share = max(1, count // pieces)
        lengths = [share] * (count // share)
        lengths[-1] += count - sum(lengths)
        placed = [(self.allocate(length), length) for length in lengths]
        runs: list[Run] = [*placed[1::2][::-1], *placed[0::2]]
        self.write_runs(runs, data)
        return runs

    def mapped(
        self,
        kind: int,
        data: bytes,
        *,
        pieces: int = 1,
        name: str = "",
        size: int | None = None,
        valid: int | None = None,
    ) -> bytes:
        """A non-resident attribute with ``data``."""
        return self.mapped_runs(
            kind, self.store(data, pieces), len(data) if size is None else size, name, valid
        )

    def mapped_runs(
        self, kind: int, runs: list[Run], size: int, name: str = "", valid: int | None = None, flags: int = 0
    ) -> bytes:
        """A non-resident attribute over runs that are there already."""
        cluster_size = self.shape.cluster_size
        return parts.mapped(kind, runs, size, cluster_size=cluster_size, name=name, valid=valid, flags=flags)
