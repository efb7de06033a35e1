"""Which slots of the ring are free: the uploader's books on the memory that it shares with the reader."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque


class SlotPool:
    """Which slots are free. Takers are served in the order they came, so that order is kept.

    Whoever takes several gets neighbours where there are as many in a row: they are one read.
    """

    def __init__(self, slot_count: int) -> None:
        self._free = list(range(slot_count))
        """In ascending order."""
        self._capacity = slot_count
        self._waiting: deque[tuple[int, asyncio.Future[list[int]]]] = deque()

    @property
    def in_use(self) -> int:
        """Slots that are taken."""
        return self._capacity - len(self._free)

    async def take(self, count: int) -> list[int]:
        """``count`` slots; waits until there are as many. ValueError when there never will be."""
        if count > self._capacity:
            raise ValueError(f"{count} slots were asked of a ring of {self._capacity}")
        if not self._waiting and len(self._free) >= count:
            return self._cut(count)
        future: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, future))
        try:
            return await future
        except asyncio.CancelledError:
            # If it waited still: those behind it may need less than it did.
            self.put_back([] if future.cancelled() else future.result())
            raise

    def put_back(self, slots: list[int]) -> None:
        """The slots are free again."""
        for slot in slots:
            insort(self._free, slot)
        while self._waiting:
            count, future = self._waiting[0]
            if future.cancelled():
                self._waiting.popleft()
            elif len(self._free) >= count:
                self._waiting.popleft()
                future.set_result(self._cut(count))
            else:
                return

    def _cut(self, count: int) -> list[int]:
        free = self._free
        at = next((at for at in range(len(free) - count + 1) if free[at + count - 1] - free[at] < count), 0)
        taken = free[at : at + count]
        del free[at : at + count]
        return taken
