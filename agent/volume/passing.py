"""What is passed over behind a bad place, so that good data comes first."""

from __future__ import annotations

from agent.volume.manner import Manner


class Passing:
    """The one stretch that is passed over now, as reads sweep forward. Not thread-safe."""

    def __init__(self, manner: Manner) -> None:
        self._manner = manner
        self._next_bytes = manner.skip_bytes
        self._start = self._end = 0

    def failed(self, end: int) -> None:
        """A read that ends at ``end`` failed."""
        if self._next_bytes:
            self._start, self._end = end, end + self._next_bytes
            self._next_bytes = min(2 * self._next_bytes, self._manner.most_skip_bytes)

    def succeeded(self) -> None:
        """A read succeeded: the next bad place is another one."""
        self._next_bytes = self._manner.skip_bytes

    def is_over(self, offset: int, length: int) -> bool:
        """Whether a read touches what is passed over."""
        return offset < self._end and self._start < offset + length
