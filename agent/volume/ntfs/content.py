"""The bytes of a stream, whatever way they are kept."""

from __future__ import annotations

from agent.errors import DiskOperationFailed, NtfsDamaged
from agent.volume.block import BlockSource
from agent.volume.entry import Extent, StreamKind, StreamRef
from agent.volume.ntfs.extents import ExtentMap, fill_zeros
from agent.volume.ntfs.lznt1 import decompress
from agent.volume.ntfs.record import AttributeType
from agent.volume.ntfs.table import MasterFileTable
from agent.volume.ntfs.wof import PACKED_STREAM, ChunkReader, ChunkTable

MAX_UNIT_BYTES = 1 << 20
"""Sixteen times what Windows makes: 16 clusters of 4096 bytes."""


class ContentReader:
    """Reads ranges of streams of one volume. Thread-safe."""

    def __init__(self, source: BlockSource, cached: BlockSource, table: MasterFileTable) -> None:
        """Packed streams come from ``cached``, in pieces of some kilobytes that lie side by side; the
        others from ``source``, where a window round each fragment would be read for nothing."""
        self._source = source
        self._cached = cached
        self._table = table
        # A stream is read in many ranges in a row; its index over the extents is made once, and what two
        # ranges share is unpacked once. Each is replaced as a whole, so threads see the old or the new one.
        self._last = ExtentMap(())
        self._last_unit: tuple[tuple[Extent, ...], int, bytearray] = (), -1, bytearray()
        self._last_packed: tuple[StreamRef, ChunkReader] | None = None

    def read_into(self, ref: StreamRef, offset: int, buffer: memoryview) -> None:
        """See ``NtfsVolume.read_into``."""
        if ref.unsupported is not None:
            raise NtfsDamaged(f"MFT record {ref.record}: the stream cannot be read: {ref.unsupported}")
        if offset < 0 or offset + len(buffer) > ref.size:
            raise DiskOperationFailed(
                f"bytes {offset}..{offset + len(buffer)} were asked of a stream that ends at {ref.size}"
            )
        if not len(buffer):
            return
        if ref.kind is StreamKind.RESIDENT:
            buffer[:] = self._resident(ref, ref.name, ref.size)[offset : offset + len(buffer)]
            return
        if ref.kind is StreamKind.WOF:
            self._chunks(ref).read_into(offset, buffer)
            return
        valid = max(0, min(len(buffer), ref.valid_size - offset))
        extents = self._extents(ref)
        if ref.kind is StreamKind.COMPRESSED:
            self._compressed(ref, extents, offset, buffer[:valid])
        else:
            extents.read_into(self._source, offset, buffer[:valid])
        fill_zeros(buffer[valid:])

    def _extents(self, ref: StreamRef) -> ExtentMap:
        last = self._last
        if last.extents is not ref.extents:
            last = self._last = ExtentMap(ref.extents)
        return last

    def _resident(self, ref: StreamRef, name: str, size: int) -> bytes:
        record = self._table.referenced(ref.record | ref.sequence << 48)
        for each in self._table.attributes(record):
            if each.type == AttributeType.DATA and each.name == name and not each.mapped:
                if each.size != size:
                    break
                return each.value
        raise NtfsDamaged(f"MFT record {ref.record}: its resident stream of {size} bytes is no longer there")

    def _chunks(self, ref: StreamRef) -> ChunkReader:
        last = self._last_packed
        if last is not None and last[0] == ref:
            return last[1]

        def read(offset: int, part: memoryview) -> None:
            if ref.extents:
                self._extents(ref).read_into(self._cached, offset, part)
            else:
                value = self._resident(ref, PACKED_STREAM, ref.packed_bytes)
                part[:] = value[offset : offset + len(part)]

        table = ChunkTable(ref.size, ref.unit_bytes, ref.packed_bytes)
        reader = ChunkReader(table, read, f"MFT record {ref.record}")
        self._last_packed = ref, reader
        return reader

    def _compressed(self, ref: StreamRef, extents: ExtentMap, offset: int, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            start, inside = divmod(offset + done, ref.unit_bytes)
            start *= ref.unit_bytes
            part = buffer[done : done + ref.unit_bytes - inside]
            self._unit(ref, extents, start, inside, part)
            done += len(part)

    def _unit(self, ref: StreamRef, extents: ExtentMap, start: int, inside: int, part: memoryview) -> None:
        """A unit without a hole is stored as it is; without anything it is zeros; else it is packed."""
        size = min(ref.unit_bytes, extents.total - start)
        pieces = list(extents.pieces(start, size))
        stored = sum(length for place, length in pieces if place is not None)
        if stored == size:
            extents.read_into(self._cached, start + inside, part)
        elif stored == 0:
            fill_zeros(part)
        else:
            if any(place is None for place, _ in pieces[:-1]):
                raise NtfsDamaged(f"MFT record {ref.record}: a compression unit at {start} has a hole inside")
            part[:] = self._unpacked(ref, extents, start, stored)[inside : inside + len(part)]

    def _unpacked(self, ref: StreamRef, extents: ExtentMap, start: int, stored: int) -> bytearray:
        of, at, unit = self._last_unit
        if of is ref.extents and at == start:
            return unit
        if ref.unit_bytes > MAX_UNIT_BYTES:
            raise NtfsDamaged(f"MFT record {ref.record}: a compression unit has {ref.unit_bytes} bytes")
        packed = bytearray(stored)
        extents.read_into(self._cached, start, memoryview(packed))
        unit = decompress(packed, ref.unit_bytes)
        self._last_unit = ref.extents, start, unit
        return unit
