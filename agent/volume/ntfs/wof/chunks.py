"""Ranges of a packed stream: where its chunks lie, and unpacking those that are wanted.

The stream begins with a table of where each chunk but the last ends, counted from the table's own end, in
32 bits or, for files of 4 GiB and more, 64; then come the chunks. A chunk that is as long as what it holds
is stored plain.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agent.errors import NtfsDamaged
from agent.volume.ntfs.wof import lzx, xpress

ReadPacked = Callable[[int, memoryview], None]
"""Fills a buffer with the packed stream from an offset on."""

_BATCH_BYTES = 512 * 1024
"""How much is unpacked from one read of the packed stream."""
_TABLE_WINDOW_BYTES = 64 * 1024
"""How much of a table is held: that of 64 MiB in chunks of 4096 bytes."""
_WIDE_BYTES = 1 << 32


class ChunkTable:
    """Sizes that follow from those of a file. Raises NtfsDamaged when they contradict each other."""

    __slots__ = ("chunk_bytes", "count", "entry_bytes", "packed_bytes", "size", "table_bytes")

    def __init__(self, size: int, chunk_bytes: int, packed_bytes: int) -> None:
        self.size = size
        self.chunk_bytes = chunk_bytes
        self.packed_bytes = packed_bytes
        self.count = -(-size // chunk_bytes)
        self.entry_bytes = 8 if size >= _WIDE_BYTES else 4
        self.table_bytes = (self.count - 1) * self.entry_bytes
        if not self.table_bytes + self.count <= packed_bytes <= self.table_bytes + size:
            raise NtfsDamaged(f"{packed_bytes} bytes cannot hold {self.count} chunks of a file of {size}")

    def unpacked_bytes(self, index: int) -> int:
        """How many bytes the chunk holds."""
        return min(self.chunk_bytes, self.size - index * self.chunk_bytes)


class ChunkReader:
    """Reads ranges of one file. Holds one chunk and a piece of the table; thread-safe as ``read`` is."""

    def __init__(self, table: ChunkTable, read: ReadPacked, whose: str) -> None:
        """``whose`` file it is begins every message of an error."""
        self._table = table
        self._read = read
        self._whose = whose
        self._unpack = lzx.unpack if table.chunk_bytes == lzx.WINDOW_BYTES else xpress.unpack
        # Each is replaced as a whole, so threads see the old or the new one.
        self._last: tuple[int, bytes | bytearray] = -1, b""
        self._entries: tuple[int, bytes] = 0, b""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` from ``offset`` of the file on; all of it lies below the file's size.

        Raises NtfsDamaged when the table or a chunk is not sound, and what ``read`` raises.
        """
        done = 0
        chunk_bytes = self._table.chunk_bytes
        while done < len(buffer):
            first, inside = divmod(offset + done, chunk_bytes)
            last, unpacked = self._last
            if last == first:
                part = unpacked[inside : inside + len(buffer) - done]
                buffer[done : done + len(part)] = part
                done += len(part)
            else:
                count = -(-(inside + len(buffer) - done) // chunk_bytes)
                done += self._batch(first, min(count, _BATCH_BYTES // chunk_bytes), inside, buffer[done:])

    def _batch(self, first: int, count: int, inside: int, buffer: memoryview) -> int:
        """Unpack ``count`` chunks, put out what is wanted of them, and return how much that was."""
        ends = self._ends(first, count)
        start = ends[0]
        packed = bytearray(ends[-1] - start)
        self._read(start, memoryview(packed))
        done = 0
        for index in range(first, first + count):
            at, end = ends[index - first] - start, ends[index - first + 1] - start
            unpacked = self._chunk(index, bytes(packed[at:end]))
            self._last = index, unpacked
            part = unpacked[inside : inside + len(buffer) - done]
            buffer[done : done + len(part)] = part
            done += len(part)
            inside = 0
        return done

    def _chunk(self, index: int, packed: bytes) -> bytes | bytearray:
        size = self._table.unpacked_bytes(index)
        if len(packed) == size:
            return packed
        try:
            return self._unpack(packed, size)
        except NtfsDamaged as damage:
            raise NtfsDamaged(
                f"{self._whose}: packed chunk {index} of {self._table.count}: {damage.detail}"
            ) from damage

    def _ends(self, first: int, count: int) -> list[int]:
        """Where chunk ``first`` begins in the packed stream, and where it and those after it end."""
        table = self._table
        stop = first + count
        # Entry i is the end of chunk i; the first chunk begins, and the last one ends, without one.
        entries = self._table_entries(max(0, first - 1), min(stop, table.count - 1))
        ends = [table.table_bytes + entry for entry in entries]
        if first == 0:
            ends.insert(0, table.table_bytes)
        if stop == table.count:
            ends.append(table.packed_bytes)
        for index in range(first, stop):
            start, end = ends[index - first], ends[index - first + 1]
            if not 0 < end - start <= table.unpacked_bytes(index) or end > table.packed_bytes:
                raise NtfsDamaged(
                    f"{self._whose}: packed chunk {index} of {table.count} is said to lie at bytes "
                    f"{start}..{end} of {table.packed_bytes}"
                )
        return ends

    def _table_entries(self, first: int, stop: int) -> list[int]:
        entries: list[int] = []
        width = self._table.entry_bytes
        per_window = _TABLE_WINDOW_BYTES // width
        while first < stop:
            window, inside = divmod(first, per_window)
            here = min(stop - first, per_window - inside)
            data = self._window(window)
            part = np.frombuffer(data, dtype=f"<u{width}", count=here, offset=inside * width)
            entries += part.tolist()
            first += here
        return entries

    def _window(self, window: int) -> bytes:
        held, data = self._entries
        if held != window or not data:
            start = window * _TABLE_WINDOW_BYTES
            buffer = bytearray(min(_TABLE_WINDOW_BYTES, self._table.table_bytes - start))
            self._read(start, memoryview(buffer))
            data = bytes(buffer)
            self._entries = window, data
        return data
