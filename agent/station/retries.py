"""When a drive whose transfer stopped is tried again, and when it is not any more."""

from __future__ import annotations

FIRST_WAIT_S = 5.0
GROWTH = 3.0
LONGEST_WAIT_S = 60.0
MAX_CRASHES = 3
"""Workers in a row that ended as they should not, without a byte of progress between them."""


class BackOff:
    """Waits that grow up to a bound: 5, 15, 45, 60, 60 seconds, ..."""

    def __init__(self) -> None:
        self._next_s = FIRST_WAIT_S

    def next_s(self) -> float:
        """How long to wait this time."""
        wait_s, self._next_s = self._next_s, min(self._next_s * GROWTH, LONGEST_WAIT_S)
        return wait_s

    def reset(self) -> None:
        """Begin with the shortest one again."""
        self._next_s = FIRST_WAIT_S


class Retries:
    """Of one drive. A crash and a pause have waits of their own, and progress resets both."""

    def __init__(self) -> None:
        self.crashes = 0
        self._after_crash, self._after_pause = BackOff(), BackOff()

    def moved(self) -> None:
        """Bytes went through."""
        self.crashes = 0
        self._after_crash.reset()
        self._after_pause.reset()

    def crashed(self) -> float | None:
        """A worker was lost: seconds to wait, or None when that was once too often."""
        self.crashes += 1
        return self._after_crash.next_s() if self.crashes < MAX_CRASHES else None

    def paused(self) -> float:
        """The transfer waits for something: seconds until it looks again."""
        return self._after_pause.next_s()
