"""A drive that stands still, as its history tells it: one event for as long as the reason stays the same."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from agent.catalog.catalog import Catalog
from agent.catalog.events import Event
from agent.errors import IngestError, Side, StateUnusable
from agent.model.identity import JobName, SerialNumber
from agent.model.states import DriveEvent
from agent.station.clock import Clock
from agent.station.toldlog import told_fields
from agent.telemetry import Log

WHO = "station"
WAITS, PAUSED, PULLED, STOPPED, LOST = (
    "drive.waits",
    "drive.paused",
    "drive.pulled",
    "drive.stopped",
    "worker.lost",
)
STANDING = frozenset({WAITS, PAUSED, PULLED, STOPPED, LOST})
"""Events after which a drive stands still."""
RESUMED = "drive.resumed"
OVER = frozenset({RESUMED, *(f"drive.{event.name.lower()}" for event in DriveEvent)})
"""Events after which it does not, or for another reason than a pause."""
AT_ONCE = frozenset({WAITS, PULLED, STOPPED})
"""What is over as soon as the drive is opened."""

CALM_S = 60.0
"""So long has a drive to move on until a pause is over; one that comes sooner is the same one."""


def told(detail: str, side: Side, name: str, next_step: str) -> str:
    """One line, as errors have one: what, whose side, what next."""
    return f"{detail} [{side}: {name}]. {next_step}"


async def standing(catalog: Catalog, job: JobName, serial: SerialNumber) -> Event | None:
    """What a drive of a job waits for and since when; None when it does not. Raises StateUnusable."""
    events = await catalog.drive_history(serial)
    return newest_pause([event for event in events if event.job == job.text])


def newest_pause(events: Sequence[Event]) -> Event | None:
    """Of a drive's history, oldest first: the pause that is not over."""
    newest = next((event for event in reversed(events) if event.what in STANDING | OVER), None)
    return newest if newest is not None and newest.what in STANDING else None


class Pauses:
    """Of one drive's visit, which goes on with what earlier ones wrote.

    A history that cannot be written hinders nobody: what it would have told stands in the log.
    """

    def __init__(self, catalog: Catalog, job: JobName, serial: SerialNumber, clock: Clock, log: Log) -> None:
        self._catalog, self._job, self._serial = catalog, job, serial
        self._clock, self._log = clock, log
        self._what = self._detail = ""
        self._moves_since: float | None = None

    async def load(self) -> None:
        """What stands in the history. Raises StateUnusable."""
        found = await standing(self._catalog, self._job, self._serial)
        if found is not None:
            self._what, self._detail = found.what, found.detail

    def is_for(self, name: str) -> bool:
        """Whether the drive stands still for an error of this name already."""
        return f": {name}]" in self._detail

    async def error(self, error: IngestError) -> None:
        """The transfer waits for something, or for somebody to mend it: the log is told each time."""
        self._log.warning(PAUSED, **told_fields(error))
        await self.begin(PAUSED, error.line(), error.id)

    async def pulled(self, bay: str) -> None:
        """The drive is not in its bay any more."""
        detail = f"the drive was pulled from bay {bay}; its place is kept"
        await self.begin(PULLED, told(detail, Side.DRIVE, "Pulled", "Put it into any bay: it goes on."))

    async def stopped(self) -> None:
        """The station ends."""
        detail = "the station was stopped; the drive's place is kept"
        await self.begin(
            STOPPED, told(detail, Side.STATION, "Stopped", "It goes on when the station runs again.")
        )

    async def begin(self, what: str, detail: str, name: str = "") -> None:
        """``name`` tells reasons of one kind apart; the same one again is no news."""
        self._moves_since = None
        if what == self._what and (not name or self.is_for(name)):
            return
        await self._write(what, detail)

    async def always(self, what: str, detail: str) -> None:
        """As ``begin``, for what is news each time."""
        self._moves_since = None
        await self._write(what, detail)

    async def opened(self, bay: str) -> None:
        """The drive was opened in a bay."""
        if self._what in AT_ONCE:
            await self._resume(bay)

    async def moved(self, bay: str) -> None:
        """Bytes went through."""
        if self._what not in STANDING:
            return
        now = self._clock.seconds()
        if self._moves_since is None:
            self._moves_since = now
        if now - self._moves_since >= CALM_S:
            await self._resume(bay)

    async def _resume(self, bay: str) -> None:
        self._log.info(RESUMED, after=self._what)
        await self._write(RESUMED, f"bay {bay}")

    async def _write(self, what: str, detail: str) -> None:
        self._what, self._detail = what, detail
        with suppress(StateUnusable):
            await self._catalog.record_event(what, who=WHO, job=self._job, serial=self._serial, detail=detail)
