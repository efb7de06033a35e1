"""The tasks that tell others, beside the station: whatever becomes of them, drives go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from agent.catalog.catalog import Catalog
from agent.config.notify import NotifySettings
from agent.errors import IngestError
from agent.station.notices.gathering import Gathering
from agent.station.notices.outbox import Outbox
from agent.station.notices.sending import Clock, Sender
from agent.station.view import View
from agent.telemetry import Log

LOOK_EVERY_S = 5.0


def utc_now() -> datetime:
    """The clock of who is given none."""
    return datetime.now(UTC)


@asynccontextmanager
async def telling(
    catalog: Catalog,
    settings: NotifySettings,
    outbox: Outbox,
    view: View,
    log: Log,
    *,
    station: str,
    now: Clock = utc_now,
    every_s: float = LOOK_EVERY_S,
) -> AsyncIterator[None]:
    """As long as the block runs. What is under way at its end is sent after the next start."""
    if not settings.hooks:
        yield
        return
    gathering = Gathering(catalog, settings, outbox, view, log, now, station)
    senders = [Sender(hook, outbox, log, view.notifications, now) for hook in settings.hooks]
    task = asyncio.create_task(_all([gathering.look, *(one.deliver for one in senders)], log, every_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _all(works: list[Callable[[], Awaitable[object]]], log: Log, every_s: float) -> None:
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(_again(work, log, every_s))


async def _again(work: Callable[[], Awaitable[object]], log: Log, every_s: float) -> None:
    """For ever; one hook's trouble is its own. The same trouble is told once."""
    told = ""
    while True:
        trouble = ""
        try:
            await work()
        except IngestError as error:
            trouble = f"{error.id}: {error.detail}"
        except Exception as error:  # noqa: BLE001 - a supervisor; its text could hold anything
            trouble = type(error).__name__
        if trouble and trouble != told:
            log.error("notifications.failed", error=trouble)
        told = trouble
        await asyncio.sleep(every_s)
