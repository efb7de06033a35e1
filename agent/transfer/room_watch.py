"""Looks at the state disk while a drive is moved, so that it pauses while there is room to keep its place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from agent.errors import StateUnusable
from agent.transfer.room import Room

LOOK_EVERY_S = 5.0


@asynccontextmanager
async def minding(room: Room, when_low: Callable[[StateUnusable], None]) -> AsyncIterator[None]:
    """``when_low`` is called once, if room gets low before the body ends."""
    task = asyncio.create_task(_mind(room, when_low))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _mind(room: Room, when_low: Callable[[StateUnusable], None]) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            await asyncio.to_thread(room.check)
        except StateUnusable as error:
            when_low(error)
            return
