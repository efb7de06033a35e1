"""How far the head of a disk travels to read many small files: ``python -m benchmarks.read_plan``.

Three orders over the same volume: that of the directories, that of $MFT, and the read plan's. The image
is made once (root, /dev/fuse, ntfs-3g) and kept.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from agent.volume.block import FdSource
from agent.volume.ntfs import Entry, NtfsVolume, StreamRef
from agent.volume.plan import Blocks, Request, Want, requests, seek_bytes
from fixtures.ntfs_many import cached, make_many_files

PIECE_BYTES = 4 << 20
"""As the transfer cuts blobs."""
GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    """What one order of reading costs. ``reads`` are those that meet the disk."""

    name: str
    reads: int
    read_bytes: int
    travel_bytes: int

    @classmethod
    def of(cls, name: str, reads: Iterable[Request]) -> Figure:
        """Of ``reads``, each contiguous on the volume."""
        listed = [read for read in reads if read.is_placed]
        return cls(name, len(listed), sum(read.length for read in listed), seek_bytes(listed))

    def row(self, first: Figure) -> tuple[str, ...]:
        """The figure as cells of a table; ``first`` is what it is compared with."""
        return (
            self.name,
            f"{self.travel_bytes / GB:,.1f}",
            f"{self.reads:,}",
            f"{self.read_bytes / max(1, self.reads) / 1000:,.1f}",
            f"{self.read_bytes / GB:.3f}",
            f"{first.travel_bytes / max(1, self.travel_bytes):,.1f}",
        )


HEAD = ("order", "head travel, GB", "reads", "mean read, kB", "read, GB", "times less travel")


def figures(by_path: Sequence[StreamRef], by_record: Sequence[StreamRef], volume_bytes: int) -> list[Figure]:
    """Directory order, the order of $MFT and the plan, each for the same streams."""
    return [
        Figure.of("directory", file_by_file(by_path)),
        Figure.of("$MFT", file_by_file(by_record)),
        Figure.of("read plan", planned(by_record, volume_bytes)),
    ]


def streams(volume: NtfsVolume) -> tuple[list[StreamRef], list[StreamRef]]:
    """All readable streams of the customer's files, in the order of their paths and as scanned."""
    scanned = [entry for entry in volume.scan() if isinstance(entry, Entry)]
    files = [entry for entry in scanned if not entry.is_directory and not entry.is_system]

    def of(entries: Iterable[Entry]) -> list[StreamRef]:
        return [ref for entry in entries for ref in entry.streams if ref.unsupported is None]

    return of(sorted(files, key=lambda entry: entry.path)), of(files)


def file_by_file(refs: Iterable[StreamRef]) -> Iterator[Request]:
    """A read an extent, stream by stream."""
    for ref in refs:
        yield from reads_of(ref, 0, ref.size)


def wants(refs: Sequence[StreamRef]) -> Iterator[Want]:
    """The streams by the place where they begin, cut as the transfer does; the key is the index."""
    for key in sorted(range(len(refs)), key=lambda key: refs[key].first_offset):
        yield Want(key, refs[key], Blocks(refs[key].size, PIECE_BYTES))


def planned(refs: Sequence[StreamRef], volume_bytes: int) -> Iterator[Request]:
    """The plan's requests; those that are not direct as the reads that the file system makes of them."""
    for request in requests(wants(refs), volume_bytes=volume_bytes):
        if request.is_direct:
            yield request
        else:
            part = request.parts[0]
            yield from reads_of(refs[part.key], part.index * PIECE_BYTES, request.length)


def reads_of(ref: StreamRef, offset: int, length: int) -> Iterator[Request]:
    """A read for each extent that bytes [offset, offset + length) of a stream lie in."""
    if not ref.extents:
        yield Request(ref.first_offset, length, (), False)
    at, end = 0, min(offset + length, ref.valid_size)
    for place, extent_bytes in ref.extents:
        first, last = max(at, offset), min(at + extent_bytes, end)
        if place is not None and first < last:
            yield Request(place + first - at, last - first, (), False)
        at += extent_bytes


def planning_us(refs: Sequence[StreamRef]) -> float:
    """Processor time a stream that making wants and requests of ``refs`` takes, in microseconds."""
    ascending = sorted(refs, key=lambda ref: ref.first_offset)
    begun = time.process_time()
    for _ in requests(Want(key, ref, ((0, ref.size),)) for key, ref in enumerate(ascending)):
        pass
    return (time.process_time() - begun) / max(1, len(refs)) * 1e6


def table(rows: list[tuple[str, ...]]) -> str:
    """Rows under ``HEAD``, in columns; the first to the left, numbers to the right."""
    first, *others = (max(map(len, column)) for column in zip(HEAD, *rows, strict=True))

    def line(name: str, *cells: str) -> str:
        return "  ".join([name.ljust(first), *map(str.rjust, cells, others)])

    return "\n".join(line(*row) for row in [HEAD, *rows])


@click.command()
@click.option("--files", default=100_000, show_default=True, type=click.IntRange(min=1))
@click.option("--folders", default=500, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=5, show_default=True)
@click.option("--image", type=click.Path(dir_okay=False, path_type=Path), help="Where the image is kept.")
def main(files: int, folders: int, seed: int, image: Path | None) -> None:
    """Print head travel, reads and their mean size for three orders of reading one volume."""
    path = image or Path(tempfile.gettempdir()) / f"ingest-bench-{os.getuid()}-many-{files}.img"
    make = partial(make_many_files, files=files, folders=folders, seed=seed)
    listed = cached(path, make, f"many {files} {folders} {seed}")
    fd = os.open(path, os.O_RDONLY)
    try:
        volume = NtfsVolume.open(FdSource(fd, path.stat().st_size))
        by_path, by_record = streams(volume)
    finally:
        os.close(fd)
    found = figures(by_path, by_record, volume.size_bytes)
    apart = sum(len(ref.extents) > 1 for ref in by_record)
    between = seek_bytes(requests(wants(by_record), volume_bytes=volume.size_bytes))
    print(
        f"{len(listed):,} files, {sum(each.size for each in listed) / GB:.3f} GB, {apart:,} in pieces; {path}"
    )
    print(table([figure.row(found[0]) for figure in found]))
    print(f"{between / GB:,.1f} GB of the plan's travel is between requests, the rest within files in pieces")
    print(f"planning takes {planning_us(by_record):.1f} µs of processor time a stream")


if __name__ == "__main__":
    main()
