"""What a visit was told, and waits that end when it is told something."""

from __future__ import annotations

import asyncio

from agent.station.clock import Clock


class Commands:
    """Of one drive's visit. A visit that stops keeps its place; a cancelled one accounts for what is left."""

    def __init__(self, clock: Clock, *, is_cancelled: bool) -> None:
        self._clock, self.is_cancelled = clock, is_cancelled
        self._stop, self._news = asyncio.Event(), asyncio.Event()

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ends all waits from now on."""
        self._stop.set()
        self._news.set()

    def cancel(self) -> None:
        """Ends the wait that is under way."""
        self.is_cancelled = True
        self._news.set()

    def nudge(self) -> None:
        """Something happened that is worth a look: ends the wait that is under way."""
        self._news.set()

    def heard(self) -> None:
        """What happened so far is known, and is to end no later wait."""
        self._news.clear()

    async def wait(self, seconds: float) -> None:
        """Until it is time, or something has happened since the last wait."""
        if not self.is_stopping:
            await self._clock.wait(self._news, seconds)
        self._news.clear()

    async def wait_for_news(self, seconds: float) -> None:
        """As ``wait``, for something that happens from now on, also when the visit is to stop."""
        self._news.clear()
        await self._clock.wait(self._news, seconds)

    async def wait_for_stop(self, seconds: float) -> None:
        """Until it is time, or the visit is told to stop."""
        await self._clock.wait(self._stop, seconds)
