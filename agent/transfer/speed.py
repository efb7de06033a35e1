"""How fast a transfer goes, and how long it will take from here."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0
SPACING_S = 1.0
SPEED_S = 10.0
"""The speed is of the last seconds, the forecast of the whole window: so one is news and the other calm."""

FIRST_S = 3.0
FIRST_FORECAST_S = 10.0
"""So long nothing is told."""


class Speed:
    """Told now and then how many bytes are through, in all; times are of any clock that goes on."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def take(self, now: float, through_bytes: int) -> None:
        """So many bytes are through now."""
        points = self._points
        if points and through_bytes < points[-1][1]:
            points.clear()
        if len(points) < 2 or points[-1][0] - points[-2][0] >= SPACING_S:
            points.append((now, through_bytes))
        else:
            points[-1] = (now, through_bytes)
        while len(points) > 2 and now - points[1][0] >= WINDOW_S:
            points.popleft()

    @property
    def bytes_per_s(self) -> int | None:
        """Of the last seconds."""
        return self._since(SPEED_S, FIRST_S)

    def seconds_left(self, left_bytes: int) -> int | None:
        """Until so many more bytes are through, if it goes on as in the last minute."""
        speed = self._since(WINDOW_S, FIRST_FORECAST_S)
        return -(-left_bytes // speed) if speed else None

    def _since(self, span_s: float, least_s: float) -> int | None:
        if not self._points:
            return None
        now, through = self._points[-1]
        then, before = next(point for point in self._points if now - point[0] <= span_s)
        return int((through - before) / (now - then)) if now - then >= least_s else None
