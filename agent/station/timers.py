"""The clocks of jobs, looked at by the station, and what operators are to be told, told.

Operators are told by a line of the log and a count in the metrics. Both come from the history, in which
each notice stands as an event of its own, so that it does not matter which process wrote it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from agent.catalog.catalog import Catalog
from agent.catalog.clocks import AT_ONCE
from agent.catalog.turn import NOTICE
from agent.station.view import View
from agent.telemetry import Log

LOOK_EVERY = timedelta(seconds=10)
NOTE_HEAD_EVERY = timedelta(days=1)
MAX_ROUNDS = 10
"""Of one look. What is due then still has its turn in the next one."""
MAX_EVENTS = 500


def utc_now() -> datetime:
    """The clock of timers that are given none."""
    return datetime.now(UTC)


class Timers:
    """Of one station. ``look`` is called in each of its rounds and mostly does nothing."""

    def __init__(self, catalog: Catalog, log: Log, view: View, now: Callable[[], datetime] = utc_now) -> None:
        self._catalog, self._log, self._view, self._now = catalog, log, view, now
        self._looked: datetime | None = None
        self._noted_head: datetime | None = None
        self._last_event: int | None = None

    async def begin(self) -> None:
        """What happens from now on is told; ``look`` begins by itself otherwise. Raises StateUnusable."""
        if self._last_event is None:
            self._last_event = await self._catalog.last_event_id()

    async def look(self) -> None:
        """Do what is due, and tell what is to be told. Raises StateUnusable."""
        now = self._now()
        # A clock that was set back must not silence the timers until it is where it was.
        if self._looked is not None and self._looked <= now < self._looked + LOOK_EVERY:
            return
        await self.begin()
        for _ in range(MAX_ROUNDS):
            if await self._catalog.look_at_clocks() < AT_ONCE:
                break
        await self._tell()
        await self._note_head(now)
        self._looked = now

    async def _tell(self) -> None:
        """What operators are to be told of since the last look, whoever wrote it down."""
        assert self._last_event is not None
        while events := await self._catalog.events_after(self._last_event, limit=MAX_EVENTS):
            for event in events:
                self._last_event = event.id
                if not event.what.startswith(NOTICE):
                    continue
                reason = event.what.removeprefix(NOTICE)
                self._view.notices[reason] += 1
                self._log.warning(
                    "operators.notified",
                    reason=reason,
                    job=event.job or "-",
                    drive=event.serial or "-",
                    detail=event.detail,
                )

    async def _note_head(self, now: datetime) -> None:
        """Where the history ends, put where nobody can write it anew with the catalog."""
        if self._noted_head is not None and self._noted_head <= now < self._noted_head + NOTE_HEAD_EVERY:
            return
        self._log.info("history.head", head=str(await self._catalog.history_head()))
        self._noted_head = now
