"""`volume hash`: the SHA-256 of every file and stream, read in the order in which they lie on the volume."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from agent.cli.volume_ahead import Buffers, Here, ahead
from agent.cli.volume_lines import Listed, ToRead
from agent.cli.volume_sort import Sorter
from agent.errors import DiskOperationFailed, NtfsDamaged, UnreadableSectors
from agent.volume.block import BlockSource
from agent.volume.drivemap import TROUBLE, DriveMap
from agent.volume.losses import Range
from agent.volume.ntfs import NtfsVolume, StreamRef
from agent.volume.plan import Blocks, Request, Want, requests

WINDOW_BYTES = 512 * 1024
BATCH_BYTES = 1024 * 1024
MAX_BATCH_PARTS = 256
LONG_PART_BYTES = 64 * 1024
"""A batch of parts that are shorter on average is too many small steps for a thread."""
_PAGE_BYTES = 4096
MAX_RANGES_TOLD = 1000
MAX_STREAM_BYTES = 1 << 44
"""16 TiB. More can only be a hole, and it would be hashed for days."""


class Portion(NamedTuple):
    """Consecutive bytes of one stream, or why they cannot be read."""

    key: int
    data: memoryview
    error: DiskOperationFailed | NtfsDamaged | None


class Hashed(NamedTuple):
    """One stream with its SHA-256 in hex, or the first error for which it has none."""

    read: ToRead
    sha256: str | None
    error: DiskOperationFailed | NtfsDamaged | None


@dataclass(slots=True)
class _Open:
    """A stream of which some bytes came, and the first error if some could not be had."""

    read: ToRead
    ref: StreamRef
    pieces: Sequence[tuple[int, int]]
    left: int
    error: DiskOperationFailed | NtfsDamaged | None = None
    digest: Any = field(default_factory=hashlib.sha256)


class Hasher:
    """Takes all streams, then reads them in one sweep; memory is bounded by the plan's open wants."""

    def __init__(self, ntfs: NtfsVolume, plain: BlockSource, sorter: Sorter, *, is_device: bool) -> None:
        """``plain`` are the bytes of ``ntfs``. ``is_device``: each read waits for it, as nobody reads
        ahead if not we."""
        self._ntfs = ntfs
        self._plain = plain
        self._sorter = sorter
        self._is_device = is_device
        self._open: dict[int, _Open] = {}

    def add(self, listed: Listed) -> None:
        """A stream that holds bytes; all of them come before ``run``."""
        wanted = ToRead.of(listed)
        self._sorter.add(wanted.stream.first_offset, wanted.to_row())

    def run(self) -> Iterator[Hashed]:
        """As they are done. Raises what ends all: StateUnusable, and errors of the plain source's device."""
        for portions in ahead(self._batches()):
            for portion in portions:
                hashed = self._take(portion)
                if hashed is not None:
                    yield hashed

    def _take(self, portion: Portion) -> Hashed | None:
        """Where sectors are bad, all of the stream is read all the same: so all bad ranges are found."""
        opened = self._open.get(portion.key)
        if opened is None:
            return None  # It failed before.
        if portion.error is not None:
            opened.error = opened.error or portion.error
        elif opened.error is None:
            opened.digest.update(portion.data)
        opened.left -= len(portion.data)
        if opened.left and (opened.error is None or isinstance(opened.error, UnreadableSectors)):
            return None
        del self._open[portion.key]
        sha256 = opened.digest.hexdigest() if opened.error is None else None
        return Hashed(opened.read, sha256, opened.error)

    def _wants(self) -> Iterator[Want]:
        for key, (_, row) in enumerate(self._sorter):
            read = ToRead.from_row(row)
            ref = read.stream
            pieces = ((0, ref.size),) if ref.size <= WINDOW_BYTES else Blocks(ref.size, WINDOW_BYTES)
            self._open[key] = _Open(read, ref, pieces, ref.size)
            yield Want(key, ref, pieces)

    def _batches(self) -> Iterator[Callable[[], list[Portion]]]:
        """Requests that are read together, into one buffer."""
        buffers = Buffers(BATCH_BYTES)
        buffer = buffers.take()
        batch: list[Callable[[], list[Portion]]] = []
        used = parts = 0
        planned = requests(
            self._wants(), window_bytes=WINDOW_BYTES, in_order=True, volume_bytes=self._plain.size_bytes
        )
        for request in planned:
            if used + request.length > len(buffer) or parts >= MAX_BATCH_PARTS:
                yield self._job(batch, used, parts)
                batch, buffer, used, parts = [], buffers.take(), 0, 0
            read = self._reading(request, buffer[used : used + request.length])
            if read is not None:
                batch.append(read)
                parts += len(request.parts)
                used += request.length + -request.length % _PAGE_BYTES
        yield self._job(batch, used, parts)

    def _job(
        self, batch: list[Callable[[], list[Portion]]], used: int, parts: int
    ) -> Callable[[], list[Portion]]:
        job = partial(_read_all, batch)
        return job if self._is_device or used >= parts * LONG_PART_BYTES else Here(job)

    def _reading(self, request: Request, buffer: memoryview) -> Callable[[], list[Portion]] | None:
        """How to read a request; None when all its streams have failed already."""
        wanted = [
            _Piece(part.key, opened.ref, *opened.pieces[part.index], part.offset)
            for part in request.parts
            if (opened := self._open.get(part.key)) is not None
        ]
        if not wanted:
            return None
        if request.is_direct:
            return partial(self._read_range, request.start, wanted, buffer)
        return partial(self._read_pieces, wanted, buffer)

    def _read_range(self, start: int, wanted: list[_Piece], buffer: memoryview) -> list[Portion]:
        """One read of the volume; where it fails, each piece stands for itself."""
        try:
            self._plain.read_into(start, buffer)
        except UnreadableSectors:
            return self._read_pieces(wanted, buffer)
        return [Portion(each.key, each.of(buffer), None) for each in wanted]

    def _read_pieces(self, wanted: list[_Piece], buffer: memoryview) -> list[Portion]:
        portions = []
        for each in wanted:
            view = each.of(buffer)
            error = None
            try:
                self._ntfs.read_into(each.ref, each.offset, view)
            except (DiskOperationFailed, NtfsDamaged) as trouble:
                error = trouble
            portions.append(Portion(each.key, view, error))
        return portions


class _Piece(NamedTuple):
    """``length`` bytes from ``offset`` of a stream, and where in a request's buffer they go."""

    key: int
    ref: StreamRef
    offset: int
    length: int
    place: int

    def of(self, buffer: memoryview) -> memoryview:
        return buffer[self.place : self.place + self.length]


def unreadable_ranges(drive: DriveMap, volume_start: int, ref: StreamRef, record_bytes: int) -> list[Range]:
    """(byte of the drive, length) of what is known to be unreadable where the stream lies."""
    found = []
    for offset, length in ref.extents or [(ref.first_offset, record_bytes)]:
        if offset is None:
            continue
        for piece in drive.pieces(volume_start + offset, length):
            if piece.state in TROUBLE:
                found.append((piece.start, piece.length))
            if len(found) == MAX_RANGES_TOLD:
                return found
    return found


def _read_all(batch: Iterable[Callable[[], list[Portion]]]) -> list[Portion]:
    return [portion for read in batch for portion in read()]
