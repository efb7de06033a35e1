"""Makes letters of the history, and puts into it what nobody else does: long pauses, broken links, ends.

What is put there begins with ``notice.``, so that the log and the metrics tell of it as well.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agent.catalog.catalog import Catalog
from agent.catalog.events import Event
from agent.catalog.turn import NOTICE
from agent.config.notify import NotifySettings
from agent.model.identity import JobName, SerialNumber
from agent.model.waiting import Notice
from agent.station.expiry import WARNINGS
from agent.station.notices.letters import Letter, letter
from agent.station.notices.outbox import Outbox, Standing
from agent.station.notices.sending import Clock
from agent.station.pauses import OVER, STANDING
from agent.station.view import View
from agent.telemetry import Log
from agent.threads import in_thread

WHO = "station"
PAGE_EVENTS = 500
CHECK_EVERY = timedelta(days=1)
LONG, BROKEN = f"{NOTICE}{Notice.PAUSED}", f"{NOTICE}{Notice.HISTORY}"


class Gathering:
    """Of one station. ``look`` may raise StateUnusable; what it did not do is done the next time."""

    def __init__(
        self,
        catalog: Catalog,
        settings: NotifySettings,
        outbox: Outbox,
        view: View,
        log: Log,
        now: Clock,
        station: str,
    ) -> None:
        self._catalog, self._settings, self._outbox = catalog, settings, outbox
        self._view, self._log, self._now, self._station = view, log, now, station
        self._is_swept = False
        self._notes: dict[str, str] = {}
        """As in the box, and known here even when that takes nothing: what was told is told once."""

    async def look(self) -> None:
        """Once."""
        await self._sweep()
        await self._gather()
        await self._tell_pauses()
        await self._tell_credential()
        await self._check_history()
        await self._gather()

    async def begin(self) -> int:
        """Where letters are written from: where they ended, or what happens from now on."""
        cursor, last = await in_thread(self._outbox.cursor), await self._catalog.last_event_id()
        if cursor is not None and cursor <= last:
            return cursor
        if cursor is not None:
            self._log.warning("notifications.begin_anew", was=cursor, last=last)
        await in_thread(lambda: self._outbox.put(last, [], [], 0.0))
        return last

    async def _sweep(self) -> None:
        """Settings hold for as long as this runs, so once is enough."""
        if self._is_swept:
            return
        hooks, now = [hook.name for hook in self._settings.hooks], self._now().timestamp()
        if gone := await in_thread(lambda: self._outbox.abandon(hooks, now)):
            self._log.error("notifications.orphaned", given_up=gone, next="see `ingest-agent notify list`")
        self._is_swept = True

    async def _gather(self) -> None:
        cursor = await self.begin()
        while events := await self._catalog.events_after(cursor, limit=PAGE_EVENTS):
            cursor, page = events[-1].id, events
            over = await in_thread(lambda: self._put(cursor, page))  # noqa: B023 - awaited
            # In a fleet another station may have found it first.
            for event in (one for one in page if one.what == BROKEN):
                self._notes["broken"] = event.detail
            if over:
                self._log.error("notifications.too_many", given_up=over)

    def _put(self, cursor: int, page: list[Event]) -> int:
        letters = [made for event in page for made in self._letters(event)]
        standing = [one for event in page if (one := _standing(event)) is not None]
        return self._outbox.put(cursor, letters, standing, self._now().timestamp())

    def _letters(self, event: Event) -> list[Letter]:
        made = (letter(hook, event, self._station) for hook in self._settings.hooks)
        return [one for one in made if one is not None]

    async def _tell_pauses(self) -> None:
        before = self._now().timestamp() - self._settings.paused_after_s
        for drive in await in_thread(lambda: self._outbox.long_standing(before)):
            since = datetime.fromtimestamp(drive.since, UTC)
            detail = f"since {since:%Y-%m-%d %H:%M} UTC: {drive.what}"
            await self._notice(
                Notice.PAUSED, detail, JobName.parse(drive.job), SerialNumber.parse(drive.serial)
            )

    async def _tell_credential(self) -> None:
        ends, now = self._view.credential_ends, self._now()
        if ends is None:
            return
        left = ends - now
        stage = sum(left <= warning for warning in WARNINGS) + (left <= timedelta())
        told = await self._noted("credential")
        key = f"{ends.isoformat()} {stage}"
        is_told = told.startswith(f"{ends.isoformat()} ") and told >= key
        if not stage or is_told:
            return
        verb = "ended" if left <= timedelta() else "ends"
        await self._notice(Notice.CREDENTIAL, f"the store's credential {verb} at {ends:%Y-%m-%d %H:%M} UTC")
        await self._note(credential=key)

    async def _check_history(self) -> None:
        now = self._now()
        checked = await self._noted("checked")
        if checked and now - CHECK_EVERY < datetime.fromisoformat(checked) <= now:
            return
        broken = (await self._catalog.verify_history()).broken or ""
        if broken and broken != await self._noted("broken"):
            self._log.error("history.broken", detail=broken, next="see `ingest-agent history verify`")
            await self._notice(Notice.HISTORY, broken)
        await self._note(broken=broken, checked=now.isoformat())

    async def _noted(self, key: str) -> str:
        if key not in self._notes:
            kept: str | None = await in_thread(lambda: self._outbox.noted(key))
            self._notes[key] = kept or ""
        return self._notes[key]

    async def _note(self, **notes: str) -> None:
        self._notes |= notes
        await in_thread(lambda: self._outbox.note(notes))

    async def _notice(
        self, notice: Notice, detail: str, job: JobName | None = None, serial: SerialNumber | None = None
    ) -> None:
        what = f"{NOTICE}{notice.value}"
        await self._catalog.record_event(what, who=WHO, job=job, serial=serial, detail=detail)


def _standing(event: Event) -> Standing | None:
    if event.job is None or event.serial is None:
        return None
    if event.what in OVER:
        return Standing(event.job, event.serial, event.at.timestamp(), None)
    if event.what in STANDING or event.what == LONG:
        return Standing(event.job, event.serial, event.at.timestamp(), event.what, event.what == LONG)
    return None
