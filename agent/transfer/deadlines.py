"""How long a request may take, by its size and by how fast others were.

The store's own patience ends a connection on which nothing moves; a deadline ends one that moves, and
never arrives. It has to leave room for slow lines: too short a one would send the same bytes for ever.
"""

from __future__ import annotations

FLOOR_S = 45.0
"""What the service may take for itself: its own time-out of most operations is 30 s."""

LONGEST_S = 1800.0
SLACK = 6.0
"""A request may be so many times slower than those before it."""

FIRST_BYTES_PER_S = 64 * 1024.0
SLOWEST_BYTES_PER_S = 4 * 1024.0
TOLD_BYTES = 64 * 1024
"""Smaller bodies tell of the way there and back, not of the line."""

_WEIGHT = 0.1


class Deadlines:
    """Learns from the requests of one process."""

    def __init__(self) -> None:
        self._bytes_per_s = FIRST_BYTES_PER_S
        self._has_seen = False

    def seconds(self, body_bytes: int, tries: int = 0) -> float:
        """For a request with so many bytes; twice as long after each of ``tries`` that were cut."""
        return min((FLOOR_S + SLACK * body_bytes / self._bytes_per_s) * 2.0 ** min(tries, 8), LONGEST_S)

    def met(self, body_bytes: int, seconds: float) -> None:
        """A request was answered."""
        if body_bytes < TOLD_BYTES or seconds <= 0:
            return
        speed = max(body_bytes / seconds, SLOWEST_BYTES_PER_S)
        # A slower one counts at once: what is late soon must not be cut.
        if not self._has_seen or speed < self._bytes_per_s:
            self._bytes_per_s, self._has_seen = speed, True
        else:
            self._bytes_per_s += _WEIGHT * (speed - self._bytes_per_s)

    def missed(self) -> None:
        """A request was cut: so the line may be slower than thought."""
        self._bytes_per_s = max(self._bytes_per_s / 2, SLOWEST_BYTES_PER_S)
