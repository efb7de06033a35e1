"""A block source whose trouble is written as a text, one letter a block.

====== ==========================================================================
``.``  fine
``E``  cannot be read
``O``  cannot be read the first time, then it can
``R``  cannot be read until it is asked for the ``readable_at``-th time
``S``  can be read, and takes ``slow_s`` seconds of the clock
``G``  the drive is gone from the first read on that touches it
====== ==========================================================================

Blocks past the end of the text are fine. ``gone`` set: nothing can be read any more.
"""

from __future__ import annotations

from agent.errors import UnreadableSectors
from agent.volume.block import BlockSource


class VirtualClock:
    """Seconds that pass only when somebody lets them."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class FaultySource:
    """Stands before another source; ``asked`` and ``failed`` are (offset, length) of its reads."""

    def __init__(
        self,
        inner: BlockSource,
        faults: str,
        block_bytes: int = 4096,
        start: int = 0,
        *,
        names_block: bool = True,
        readable_at: int = 3,
        clock: VirtualClock | None = None,
        failing_s: float = 0.0,
        slow_s: float = 0.0,
    ) -> None:
        """The first letter is for the block at byte ``start``.

        An error names the block, or with ``names_block`` False all that was asked for, as the system
        does when it reads directly. A read that fails takes ``failing_s`` seconds of ``clock``.
        """
        self._inner = inner
        self._faults = list(faults)
        self._block_bytes = block_bytes
        self._start = start
        self._names_block = names_block
        self._left = [readable_at - 1 if letter == "R" else 1 for letter in faults]
        self.clock = clock or VirtualClock()
        self._failing_s = failing_s
        self._slow_s = slow_s
        self.size_bytes = inner.size_bytes
        self.sector_size = inner.sector_size
        self.gone = False
        self.asked: list[tuple[int, int]] = []
        self.failed: list[tuple[int, int]] = []

    def mend(self) -> None:
        """From now on everything can be read."""
        self._faults.clear()
        self.gone = False

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """See BlockSource."""
        self.asked.append((offset, len(buffer)))
        if self.gone:
            self._fail(offset, len(buffer), offset, len(buffer), "no such device")
        first = max(0, (offset - self._start) // self._block_bytes)
        last = (offset + len(buffer) - 1 - self._start) // self._block_bytes
        for block in range(first, min(last + 1, len(self._faults))):
            self._meet(block, offset, len(buffer))
        self._inner.read_into(offset, buffer)

    def _meet(self, block: int, offset: int, length: int) -> None:
        letter = self._faults[block]
        if letter == "S":
            self.clock.now_s += self._slow_s
        elif letter == "G":
            self.gone = True
            self._fail(offset, length, offset, length, "no such device")
        elif letter in "EOR":
            if letter != "E":
                self._left[block] -= 1
                if not self._left[block]:
                    self._faults[block] = "."
            place = (self._start + block * self._block_bytes, self._block_bytes)
            self._fail(offset, length, *(place if self._names_block else (offset, length)), "I/O error")

    def _fail(self, offset: int, length: int, start: int, size: int, why: str) -> None:
        self.clock.now_s += self._failing_s
        self.failed.append((offset, length))
        raise UnreadableSectors(start, size, why)
