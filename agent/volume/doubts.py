"""Which failures could yet turn out to be a drive that was away, and not bad sectors."""

from __future__ import annotations

from typing import Final

from agent.volume.drivemap import TROUBLE, DriveMap, State

MAX_RANGES: Final = 1024
"""Failed ranges that are kept apart; past that, close ones are taken for one."""


class Doubts:
    """Ranges that failed since a read last succeeded, and since somebody last asked. Not thread-safe.

    A read that began after the last failure and succeeds shows that the drive is there. One that was
    under way when the drive went shows nothing.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._last_failure = 0.0
        self._doubted = DriveMap(size_bytes, MAX_RANGES)
        self._recent = DriveMap(size_bytes, MAX_RANGES)
        self.is_any = False

    def failed(self, start: int, end: int, when: float) -> None:
        """A read of [start, end) came back as an error at ``when``."""
        self._last_failure = when
        self._doubted.mark(start, end - start, State.BAD_SECTOR)
        self._recent.mark(start, end - start, State.BAD_SECTOR)
        self.is_any = True

    def are_settled_by(self, began: float) -> bool:
        """Whether a read that began then and succeeded ends what doubt there is; it is ended."""
        if not self.is_any or began < self._last_failure:
            return False
        self.take()
        return True

    def take(self) -> list[tuple[int, int]]:
        """The (start, length) of what failed since a read last succeeded; no doubt is left."""
        found = list(self._doubted.ranges(*TROUBLE))
        self._doubted, self.is_any = DriveMap(self._size_bytes, MAX_RANGES), False
        return found

    def take_recent(self) -> list[tuple[int, int]]:
        """The (start, length) of what failed since the last call of this."""
        found = list(self._recent.ranges(*TROUBLE))
        self._recent = DriveMap(self._size_bytes, MAX_RANGES)
        return found
