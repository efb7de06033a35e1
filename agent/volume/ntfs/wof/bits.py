"""The bit stream of LZX: 16-bit little-endian words, first bit on top."""

from __future__ import annotations

import numpy as np

from agent.volume.ntfs.wof.huffman import LENGTH_MASK, SYMBOL_SHIFT, DecodingTable


class BitStream:
    """``at`` is the next bit; ``windows`` are, by word, that word and the next one.

    Any 17 bits are so one shift away. Reading past the end raises IndexError, at the latest in ``check_end``.
    """

    __slots__ = ("_after_bytes", "at", "packed", "windows")

    def __init__(self, packed: bytes) -> None:
        words = np.frombuffer(packed + bytes(2 + len(packed) % 2), dtype="<u2").astype(np.uint32)
        self.packed = packed
        self.windows: list[int] = (words[:-1] << 16 | words[1:]).tolist()
        self.at = 0
        self._after_bytes = 0

    def take(self, count: int) -> int:
        """The next bits, 16 at most."""
        at = self.at
        self.at = at + count
        return self.windows[at >> 4] >> 32 - count - (at & 15) & (1 << count) - 1

    def symbol(self, table: DecodingTable) -> int:
        """The next symbol of a code."""
        entry = table.entries[
            self.windows[self.at >> 4] >> 32 - table.bits - (self.at & 15) & (1 << table.bits) - 1
        ]
        self.at += entry & LENGTH_MASK
        return entry >> SYMBOL_SHIFT

    def take_bytes(self, count: int) -> bytes:
        """Bytes from here, a word's beginning. The stream goes on at the next word."""
        start = self.at >> 3
        if start + count > len(self.packed):
            raise IndexError
        self.at = self._after_bytes = start + count + count % 2 << 3
        return self.packed[start : start + count]

    def align(self) -> None:
        """To the beginning of the next word, also from the beginning of one."""
        self.at = (self.at | 15) + 1

    def check_end(self) -> None:
        """Raises IndexError when more bits were taken than there are."""
        if self.at != self._after_bytes and self.at + 15 >> 4 << 1 > len(self.packed):
            raise IndexError
