"""A block source whose trouble is written as a text, one letter a block.

====== ======================================================
``.``  fine
``E``  cannot be read
``O``  cannot be read the first time, then it can
====== ======================================================

Blocks past the end of the text are fine. ``gone`` set: nothing can be read any more.
"""

from __future__ import annotations

from agent.errors import UnreadableSectors
from agent.volume.block import BlockSource


class FaultySource:
    """Stands before another source."""

    def __init__(self, inner: BlockSource, faults: str, block_bytes: int = 4096, start: int = 0) -> None:
        """The first letter is for the block at byte ``start``."""
        self._inner = inner
        self._faults = list(faults)
        self._block_bytes = block_bytes
        self._start = start
        self.size_bytes = inner.size_bytes
        self.sector_size = inner.sector_size
        self.gone = False

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """See BlockSource."""
        if self.gone:
            raise UnreadableSectors(offset, len(buffer), "no such device")
        first = max(0, (offset - self._start) // self._block_bytes)
        last = (offset + len(buffer) - 1 - self._start) // self._block_bytes
        for block in range(first, min(last + 1, len(self._faults))):
            if self._faults[block] == "O":
                self._faults[block] = "."
            elif self._faults[block] != "E":
                continue
            raise UnreadableSectors(self._start + block * self._block_bytes, self._block_bytes, "I/O error")
        self._inner.read_into(offset, buffer)
