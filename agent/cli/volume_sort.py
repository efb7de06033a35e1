"""Rows put in the order of a number, in memory that does not grow with how many they are."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator
from operator import itemgetter
from typing import BinaryIO

from agent.errors import StateUnusable

RUN_BYTES = 16 * 1024 * 1024
"""Sorted in memory at a time; a row more or less."""
READ_BYTES = 128 * 1024
_ROW_COST_BYTES = 150
"""What a row takes beside its own bytes."""
_HEAD = struct.Struct("<QI")
"""Rank, and the length of the row that follows."""

_rank = itemgetter(0)


class Sorter:
    """Takes rows, each with a rank of 64 bits, and gives them back by rank, equal ranks as they came.

    Sorted runs go to ``scratch``, an empty binary file open for reading and writing, and are merged when
    they are read: one buffer a run. Raises StateUnusable when the file takes no more.
    """

    def __init__(self, scratch: BinaryIO, run_bytes: int = RUN_BYTES) -> None:
        self._scratch = scratch
        self._run_bytes = run_bytes
        self._rows: list[tuple[int, bytes]] = []
        self._held_bytes = 0
        self._runs: list[tuple[int, int]] = []
        self._end = 0

    def add(self, rank: int, row: bytes) -> None:
        """All rows come before the first is asked for."""
        self._rows.append((rank, row))
        self._held_bytes += len(row) + _ROW_COST_BYTES
        if self._held_bytes >= self._run_bytes:
            self._spill()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        if self._runs:
            self._spill()
            runs = [self._run(start, end) for start, end in self._runs]
            yield from heapq.merge(*runs, key=_rank)
        else:
            yield from sorted(self._rows, key=_rank)

    def _spill(self) -> None:
        self._rows.sort(key=_rank)
        start = self._end
        try:
            self._scratch.seek(start)
            for rank, row in self._rows:
                self._scratch.write(_HEAD.pack(rank, len(row)))
                self._scratch.write(row)
            self._scratch.flush()
            self._end = self._scratch.tell()
        except OSError as error:
            raise StateUnusable(f"the scratch file takes no more: {error.strerror}") from None
        self._runs.append((start, self._end))
        self._rows.clear()
        self._held_bytes = 0

    def _run(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        held, at = b"", 0
        while start < end or at < len(held):
            if len(held) - at >= _HEAD.size:
                rank, length = _HEAD.unpack_from(held, at)
                row_end = at + _HEAD.size + length
                if row_end <= len(held):
                    yield rank, held[at + _HEAD.size : row_end]
                    at = row_end
                    continue
            held, at = held[at:] + self._read(start, min(READ_BYTES, end - start)), 0
            start += READ_BYTES

    def _read(self, start: int, length: int) -> bytes:
        try:
            self._scratch.seek(start)
            data = self._scratch.read(length)
        except OSError as error:
            raise StateUnusable(f"the scratch file cannot be read: {error.strerror}") from None
        if len(data) != length:
            raise StateUnusable("the scratch file lost what was written to it")
        return data
