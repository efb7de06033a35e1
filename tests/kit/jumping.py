"""A clock for visits on which nobody waits: it jumps to the end of each wait, and keeps them all."""

from __future__ import annotations

import asyncio


class JumpingClock:
    """``waits`` are (when, how long) of every wait that was begun."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits: list[tuple[float, float]] = []

    def seconds(self) -> float:
        return self.now_s

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        self.waits.append((self.now_s, seconds))
        await asyncio.sleep(0)
        if not event.is_set():
            self.now_s += seconds
