"""Reconciles what is attached with what the catalog expects, again and again."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from agent.blobs.opening import check_store
from agent.catalog.catalog import Catalog
from agent.config import Settings, read_credential
from agent.devices.hindrance import Hindrance
from agent.devices.source import Device, DeviceSource
from agent.errors import (
    ConfigInvalid,
    DriveBusy,
    IngestError,
    JobNotFound,
    MoveRefused,
    PolicyError,
    SerialNotSpecified,
    StateUnusable,
    WorkerLost,
)
from agent.station.attempt import Watcher
from agent.station.clock import Clock, LoopClock
from agent.station.expiry import ExpiryWatch
from agent.station.intake import choose
from agent.station.lease import take_lease
from agent.station.leftovers import remove_leftovers
from agent.station.notify import Notifier
from agent.station.reload import adopt
from agent.station.retries import MAX_CRASHES, Retries
from agent.station.timers import Timers
from agent.station.turns import Turns
from agent.station.view import View
from agent.station.visit import Visit
from agent.telemetry import Log, raised_at

RECONCILE_EVERY_S = 2.0
LOOKS_ANYWAY = f"drives are looked for every {RECONCILE_EVERY_S:g} s; look into systemd-udevd, and restart"
LOOK_AT_CREDENTIAL_EVERY_S = 60.0

DRAIN_LOOK_EVERY_S = 5.0
DRAIN_EXTENSION_S = 30.0
DRAIN_AT_MOST_S = 300.0
"""Longer than the visits' own deadlines together; a drain that hangs is left to the service manager."""


class Station:
    """Works the drives of one source until it is stopped.

    Every attached drive that a job waits for gets a visit; every other one is left alone, and the
    reason is logged once. A drive whose visit ended is looked at again only after it was pulled,
    or when another job waits for it.
    """

    def __init__(
        self,
        catalog: Catalog,
        source: DeviceSource,
        settings: Settings,
        log: Log,
        *,
        watch: Watcher = lambda event: None,
        reload: Callable[[], Settings] | None = None,
        notifier: Notifier | None = None,
        view: View | None = None,
        clock: Clock | None = None,
    ) -> None:
        """``reload`` reads the settings anew, in a thread; without it they stay as they are.

        ``notifier`` is told how the station is, and ``view`` is kept for others to look at.
        """
        self._catalog, self._source, self._settings = catalog, source, settings
        self._log, self._watch, self._clock = log, watch, clock or LoopClock()
        self._notifier, self._view = notifier or Notifier(None), view or View()
        self._visits: dict[str, tuple[Visit, asyncio.Task[None]]] = {}
        self._told: dict[str, str] = {}
        self._written: dict[str, str] = {}
        self._stopping = asyncio.Event()
        self._hint = asyncio.Event()
        self._reload = reload
        self._has_news = False
        self._expiry = ExpiryWatch(log)
        self._next_look = 0.0
        self._turns = Turns(settings.concurrency)
        self._crashes: dict[str, Retries] = {}
        self._timers = Timers(catalog, log, self._view)

    def stop(self) -> None:
        """Drain: no new visits, running ones keep their place and end."""
        self._stopping.set()

    def reload(self) -> None:
        """Read the settings anew, soon; what is wrong with them is logged, and the old ones stay."""
        self._has_news = True
        self._hint.set()

    async def run(self) -> None:
        """Until ``stop``; then until all visits have ended. SIGHUP means ``reload``."""
        if self._reload is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reload)
        await self._tidy()
        with suppress(IngestError):
            # Where the catalog is away, the timers begin when it is back.
            await self._timers.begin()
        hints = asyncio.create_task(self._follow_hints())
        async with asyncio.TaskGroup() as group:
            while not self._stopping.is_set():
                await self._round(group)
                await self._pause()
            await self._drain()
        hints.cancel()
        with suppress(asyncio.CancelledError):
            await hints

    async def _tidy(self) -> None:
        """What a killed run left behind."""
        try:
            await remove_leftovers(self._catalog, self._settings.state_dir)
        except IngestError as error:
            self._log.error("leftovers.kept", error=error.id, detail=error.detail)

    @property
    def settings(self) -> Settings:
        """Those that count now."""
        return self._settings

    async def _round(self, group: asyncio.TaskGroup) -> None:
        """Look at everything once. Whatever comes of it, the station is alive afterwards."""
        trouble: Exception | None = None
        try:
            await self._read_news()
            await self._look_at_credential()
            # Drives first: that one was pulled is seen here, also while the catalog is away.
            await self._reconcile(group)
            await self._timers.look()
        except (IngestError, OSError) as error:
            self._log.error("reconcile.failed", error=type(error).__name__, detail=str(error))
            trouble = error
        except Exception as error:  # noqa: BLE001 - a supervisor
            self._log.error("reconcile.failed", error=type(error).__name__, at=raised_at(error))
            trouble = error
        is_first = self._view.round_at is None
        self._view.round_ended(trouble)
        self._notifier.status(self._view.status())
        self._notifier.beat()
        if is_first:
            self._notifier.ready()

    async def _drain(self) -> None:
        """Visits end; as long as they may, the service manager is asked for time."""
        self._view.is_draining = True
        self._notifier.stopping()
        self._log.info("station.draining", drives=len(self._visits))
        for visit, _ in self._visits.values():
            visit.stop()
        waits = {task for _, task in self._visits.values()}
        begun = self._view.seconds()
        while waits and self._view.seconds() - begun < DRAIN_AT_MOST_S:
            self._notifier.extend(DRAIN_EXTENSION_S)
            self._notifier.status(self._view.status())
            self._notifier.beat()
            _, waits = await asyncio.wait(waits, timeout=self._look_every(DRAIN_LOOK_EVERY_S))

    def _look_every(self, seconds: float) -> float:
        return min(seconds, self._notifier.beat_every_s or seconds)

    async def _read_news(self) -> None:
        if not self._has_news or self._reload is None:
            return
        self._has_news = False
        self._notifier.reloading()
        try:
            await self._adopt_news(self._reload)
        finally:
            self._notifier.ready()

    async def _adopt_news(self, reload: Callable[[], Settings]) -> None:
        try:
            new = await asyncio.to_thread(reload)
            store = new.store
            await asyncio.to_thread(check_store, store.kind, store.address, store.credential, store.identity)
        except IngestError as error:
            self._log.error("settings.kept", error=error.id, detail=error.detail, next=error.next_step)
            return
        adopted = adopt(self._settings, new)
        self._settings = adopted.settings
        self._log.info("settings.reloaded", changed=", ".join(adopted.changed) or "nothing")
        if adopted.held:
            self._log.warning("settings.need_restart", settings=", ".join(adopted.held))
        self._next_look = 0.0
        self._turns.adopt(self._settings.concurrency)
        for visit, _ in self._visits.values():
            visit.adopt(self._settings)

    async def _look_at_credential(self) -> None:
        """What the file holds: a refusal makes the drives take that over."""
        now, store = asyncio.get_running_loop().time(), self._settings.store
        if now < self._next_look:
            return
        self._next_look = now + LOOK_AT_CREDENTIAL_EVERY_S
        credential = store.credential
        if store.credential_file is not None:
            with suppress(ConfigInvalid):
                credential = await asyncio.to_thread(read_credential, store.credential_file)
        self._view.credential_ends = self._expiry.look(credential, datetime.now(UTC))

    async def _follow_hints(self) -> None:
        try:
            async for _ in self._source.changes():
                self._hint.set()
        except Exception as error:  # noqa: BLE001 - hints are all that is lost
            self._log.warning(
                "events.lost", error=type(error).__name__, at=raised_at(error), next=LOOKS_ANYWAY
            )

    async def _pause(self) -> None:
        waits = [asyncio.create_task(self._stopping.wait()), asyncio.create_task(self._hint.wait())]
        timeout = self._look_every(RECONCILE_EVERY_S)
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        self._hint.clear()
        for wait in waits:
            wait.cancel()

    async def _reconcile(self, group: asyncio.TaskGroup) -> None:
        attached = await self._source.devices()
        keys = {device.key for device in attached}
        self._forget(self._told.keys() - keys)
        for key in self._visits.keys() - keys:
            self._leave(key)
        counts = Counter(device.serial for device in attached)
        for device in attached:
            if device.key in self._visits:
                await self._look_after(device)
            elif not self._is_leaving(device):
                await self._consider(group, device, counts[device.serial])

    def _forget(self, gone: Set[str]) -> None:
        for key in gone:
            del self._told[key]
            self._written.pop(key, None)
            self._view.left_alone.pop(key, None)

    def _leave(self, key: str) -> None:
        """The drive was pulled: its visit keeps the place, and ends."""
        visit, task = self._visits[key]
        if task.done():
            del self._visits[key]
        elif not visit.is_stopping:
            visit.pulled()

    def _is_leaving(self, device: Device) -> bool:
        """Whether the same drive is still being put down in another bay, from which it was pulled."""
        return any(visit.serial == device.serial and visit.is_stopping for visit, _ in self._visits.values())

    async def _look_after(self, device: Device) -> None:
        visit, task = self._visits[device.key]
        if task.done():
            del self._visits[device.key]
            return
        try:
            job = await self._catalog.job(visit.job_name)
        except JobNotFound:
            # It finds out by itself; the other drives are looked after.
            return
        if job.cancel_requested:
            visit.cancel()

    async def _consider(self, group: asyncio.TaskGroup, device: Device, count: int) -> None:
        if device.hindrance is not None:
            await self._leave_alone(device, device.hindrance, is_news=device.hindrance.is_news)
            return
        try:
            job, drive = choose(device.serial, await self._catalog.find_drive(device.serial), count)
            place = self._settings.state_dir
            job, catalog, lease = await take_lease(self._catalog, place, job, device.serial, self._log)
        except (PolicyError, DriveBusy) as error:
            # A drive that waits in its bay after its transfer is no news.
            is_news = not isinstance(error, MoveRefused)
            await self._leave_alone(device, error, is_news=is_news)
            return
        key = device.key
        self._view.left_alone.pop(key, None)
        self._view.begin(key, device.bay, device.serial, drive.tally, drive.percent_complete)
        visit = Visit(
            catalog,
            self._source,
            self._settings,
            self._log,
            device,
            job,
            patient=True,
            watch=partial(self._take, key),
            turns=self._turns,
            clock=self._clock,
            lease=lease,
        )
        self._visits[key] = (visit, group.create_task(self._visit(key, visit)))

    def _take(self, key: str, event: Mapping[str, Any]) -> None:
        self._view.take(key, event)
        self._watch(event)

    async def _visit(self, key: str, visit: Visit) -> None:
        try:
            await self._supervise(visit)
        finally:
            self._view.end(key)

    async def _supervise(self, visit: Visit) -> None:
        """One drive's trouble is one drive's event, whatever it is."""
        try:
            await visit.run()
        except IngestError as error:
            visit.log.error("visit.failed", error=error.id, detail=error.detail, next=error.next_step)
        except Exception as error:  # noqa: BLE001 - a supervisor
            self._view.crashed()
            kind, place = type(error).__name__, raised_at(error)
            visit.log.error("visit.crashed", error=kind, at=place)
            if self._retries(visit).crashed() is None:
                await self._give_up(visit, f"the station failed at it {MAX_CRASHES} times: {kind} at {place}")
                return
        else:
            self._crashes.pop(visit.serial.normal, None)
            return
        await self._clock.wait(self._stopping, self._retries(visit).paused())

    def _retries(self, visit: Visit) -> Retries:
        """Of a drive whose visits end as they should not."""
        return self._crashes.setdefault(visit.serial.normal, Retries())

    async def _give_up(self, visit: Visit, why: str) -> None:
        del self._crashes[visit.serial.normal]
        try:
            await visit.fault(WorkerLost(why))
        except IngestError as error:
            visit.log.error("visit.failed", error=error.id, detail=error.detail, next=error.next_step)

    async def _leave_alone(
        self, device: Device, why: Hindrance | PolicyError | DriveBusy, *, is_news: bool = True
    ) -> None:
        key = device.key
        self._view.left_alone[key] = why.id
        if self._told.get(key) != why.detail:
            self._told[key] = why.detail
            log = self._log.bind(drive=device.serial.shown, bay=device.bay)
            tell = log.warning if is_news else log.info
            tell("drive.left_alone", error=why.id, side=why.side, detail=why.detail, next=why.next_step)
        if self._written.get(key) == why.detail:
            return
        self._written[key] = why.detail
        try:
            await self._write_down(device, why)
        except StateUnusable:
            # In the next round again; what the catalog cannot take at all is tried once.
            del self._written[key]
            raise

    async def _write_down(self, device: Device, why: Hindrance | PolicyError | DriveBusy) -> None:
        """Why the drive is left alone. Its event comes last: tried again, it stands there once."""
        if isinstance(why, SerialNotSpecified | MoveRefused):
            note = f"bay {device.bay}"
            await self._catalog.note_idle_drive(device.serial, who="station", note=note)
        await self._catalog.record_event(
            "drive.left_alone", who="station", serial=device.serial, detail=why.detail
        )
