"""The port through which a visit waits, so that a test can say how late it is."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol


class Clock(Protocol):
    """Seconds that never go back."""

    def seconds(self) -> float:
        """Now."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Until ``event`` is set, or so many seconds have passed."""
        ...


class LoopClock:
    """That of the running event loop."""

    def seconds(self) -> float:
        return asyncio.get_running_loop().time()

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
