"""When a request takes so much longer than others of its size that another try is the better bet.

Now and then a service, or something on the way to it, loses a request among thousands: the others are
answered in milliseconds, and that one not before its deadline, which has to be long enough for a bad day.
Such a straggler is cut early, and sent again (docs/adr/0015-stragglers.md). It is only for requests of which
a copy that arrives late does no harm, and never for more than SPARE of all, so that a service which is slow
as a whole is not asked for everything twice.
"""

from __future__ import annotations

import asyncio

SPARE = 0.02
"""Of the requests, so many may be cut early."""

MOST_SPARED = 8.0
"""So many at once, after a time without."""

FACTOR = 4.0
"""A straggler takes so many times as long as 19 of 20 requests of its size; with each try, as much again."""

LEAST_S = 1.0
"""What is answered sooner is no straggler, however quick the others are."""

FEWEST = 30
"""Answers of a size before anything of that size is cut early."""

LOOK_EVERY_S = 0.25
_PERCENTILE = 0.95
_STEP = 0.05
_SIZES = 40


class Haste:
    """Of one process. Within one event loop; it looks by itself while requests are under way."""

    def __init__(self) -> None:
        self._usual_s = [0.0] * _SIZES
        self._seen = [0] * _SIZES
        self._spare = 0.0
        self._open: dict[asyncio.Timeout, float] = {}
        self._cut: set[asyncio.Timeout] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, timeout: asyncio.Timeout, body_bytes: int, tries: int) -> None:
        """A request began that may be repeated, under this timeout; ``tries`` of it were cut early before."""
        size = _size(body_bytes)
        if self._seen[size] < FEWEST:
            return
        loop = asyncio.get_running_loop()
        after_s = max(LEAST_S, self._usual_s[size] * FACTOR) * FACTOR**tries
        self._open[timeout] = loop.time() + after_s
        if self._timer is None:
            self._timer = loop.call_later(LOOK_EVERY_S, self._look)

    def end(self, timeout: asyncio.Timeout) -> bool:
        """It ended; whether that was because it was cut early."""
        self._open.pop(timeout, None)
        if timeout not in self._cut:
            return False
        self._cut.remove(timeout)
        return True

    def met(self, body_bytes: int, seconds: float) -> None:
        """A request was answered."""
        self._learn(_size(body_bytes), seconds)
        self._spare = min(self._spare + SPARE, MOST_SPARED)

    def missed(self, body_bytes: int) -> None:
        """One was cut, so that it took longer than most."""
        self._learn(_size(body_bytes), float("inf"))

    def _learn(self, size: int, seconds: float) -> None:
        usual_s, seen = self._usual_s[size], self._seen[size]
        self._seen[size] = seen + 1
        if seen < FEWEST:
            self._usual_s[size] = max(usual_s, min(seconds, LEAST_S))
        elif seconds > usual_s:
            self._usual_s[size] = usual_s * (1 + _STEP * _PERCENTILE)
        else:
            self._usual_s[size] = usual_s * (1 - _STEP * (1 - _PERCENTILE))

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for timeout in [timeout for timeout, late_at in self._open.items() if late_at <= now]:
            if self._spare < 1:
                break
            del self._open[timeout]
            if timeout.expired():
                # Its deadline has cut it, and it has not let go yet.
                continue
            self._spare -= 1
            self._cut.add(timeout)
            timeout.reschedule(now)
        self._timer = loop.call_later(LOOK_EVERY_S, self._look) if self._open else None


def _size(body_bytes: int) -> int:
    """A class for each power of two, from 4 KiB on."""
    return min(max(0, body_bytes.bit_length() - 13), _SIZES - 1)
