"""One drive's stay in a bay: it waits for room and for its turn, and is tried until there is an end to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from agent.catalog.catalog import Catalog
from agent.config import Settings
from agent.devices.source import Device, DeviceSource
from agent.errors import DeviceUnavailable, IngestError, MoveRefused, Side, StateUnusable, WorkerLost
from agent.model.concurrency import Place
from agent.model.job import Job
from agent.model.states import DriveState
from agent.station.attempt import Attempt, Errand, Paused, Watcher
from agent.station.checkup import Checkup
from agent.station.clock import Clock, LoopClock
from agent.station.lease import Lease
from agent.station.ledger import Ledger
from agent.station.pauses import LOST, PULLED, STOPPED, WAITS, Pauses, told
from agent.station.places import journal_of
from agent.station.progress import Progress
from agent.station.retries import MAX_CRASHES, Retries
from agent.station.storekey import StoreKey
from agent.station.toldlog import told_fields
from agent.station.turns import Turn, Turns
from agent.telemetry import Log
from agent.transfer.room import check_free, forget_journal

GONE_WITHIN_S = 20.0
"""A drive that stops answering is taken for one that is being pulled: so long may the kernel need for it."""
LOOK_FOR_ROOM_S = LOOK_FOR_TURN_S = 60.0
LOOK_FOR_LEASE_S = REPORT_AGAIN_S = 5.0
LEASE_OVER = "waits for the catalog: this station's claim on the drive may have run out"
IMPATIENT_S = 0.1


class Visit:
    """Works one drive for one job. ``patient``: after a pause it is tried again until it is stopped."""

    def __init__(
        self,
        catalog: Catalog,
        source: DeviceSource,
        settings: Settings,
        log: Log,
        device: Device,
        job: Job,
        *,
        patient: bool,
        watch: Watcher = lambda event: None,
        turns: Turns | None = None,
        clock: Clock | None = None,
        lease: Lease | None = None,
    ) -> None:
        """``turns`` are those of the station; without them there are no limits.

        ``lease`` is that on the drive in a fleet, whose catalog this one is then.
        """
        self._settings, self._device, self._job = settings, device, job
        self._patient, self._watch = patient, watch
        self._turns, self._clock = turns or Turns(), clock or LoopClock()
        self.job_name, self.serial = job.name, device.serial
        self.log = log.bind(drive=device.serial.shown, job=str(job.name), bay=device.bay)
        self._ledger = Ledger(catalog, device, job, self.log)
        self._errand = Errand(
            catalog,
            source,
            device,
            job,
            self.log,
            watch,
            checkup=Checkup(catalog, source, device, job, self.log),
            progress=Progress(catalog, job.name, device.serial, job.drive(device.serial).going),
            pauses=Pauses(catalog, job.name, device.serial, self._clock, self.log),
            retries=Retries(),
            key=StoreKey(settings.store, self.log),
        )
        self._lease = lease
        self._attempt: Attempt | None = None
        self._turn: Turn | None = None
        self._stop = asyncio.Event()
        self._nudge = asyncio.Event()
        """Something happened that ends a wait."""
        self._is_cancelled, self._is_pulled = job.cancel_requested, False
        self._gently: bool | None = None
        self.outcome: IngestError | None = None
        """Why the visit ended without a finished drive; None when it is finished or was stopped."""
        self.interrupted = False

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Settle what is under way, keep the place, and end."""
        self._stop.set()
        self._nudge.set()
        if self._attempt is not None:
            self._attempt.tell("stop")

    def let_go(self) -> None:
        """The lease may run out: nothing new is begun on the drive until it is renewed."""
        self._nudge.set()
        if self._attempt is not None:
            self._attempt.tell("stop")

    def pulled(self) -> None:
        """The drive is not in its bay any more: as ``stop``."""
        self._is_pulled = True
        self.log.warning("drive.pulled", next="put it into any bay, and it goes on")
        self.stop()

    def cancel(self) -> None:
        """The job was cancelled: account for what is left and finish."""
        if not self._is_cancelled:
            self._is_cancelled = True
            self._nudge.set()
            if self._attempt is not None:
                self._attempt.tell("cancel")

    def adopt(self, settings: Settings) -> None:
        """Go on with these: caps and the credential count at once, all else from the next pause on."""
        self._settings = settings
        is_other_key = self._errand.key.adopt(settings.store)
        if self._attempt is not None:
            self._attempt.adopt(settings, is_other_key=is_other_key)

    async def run(self) -> None:
        """To the end of the transfer, or until it is stopped. Raises DriveBusy when its lease is lost."""
        if self._lease is None:
            await self._run()
            return
        async with self._lease.kept(self.let_go):
            await self._run()

    async def _run(self) -> None:
        try:
            await self._errand.pauses.load()
            if await self._has_room() and await self._is_worked():
                return
            self.interrupted = self.outcome is None
            await self._tell_of_stop()
        finally:
            self._give_turn_back()

    async def fault(self, error: IngestError) -> None:
        """Give the drive up, when no visit of it comes to an end. Raises MoveRefused and StateUnusable."""
        await self._ledger.fault(error)
        self.outcome = error

    async def _is_worked(self) -> bool:
        """Whether there is an end to it; False when it was stopped, or when it pauses and is not patient."""
        await self._ledger.arrive()
        while await self._has_turn() and await self._has_lease():
            if self._is_cancelled and self._ledger.state is not DriveState.TRANSFERRING:
                await self._ledger.finish_cancelled()
                return True
            try:
                if await self._is_finished():
                    return True
                if self._stop.is_set() or not self._patient:
                    return False
                wait_s = self._errand.retries.paused()
            except WorkerLost as error:
                wait_s = await self._after_crash(error)
                if self.outcome is not None:
                    return True
            except Paused as paused:
                wait_s = await self._after_pause(paused)
                if self.outcome is not None:
                    return False
            await self._wait(wait_s if self._patient else IMPATIENT_S)
        return False

    async def _is_finished(self) -> bool:
        """One pair of processes, to its end. Raises Paused and WorkerLost."""
        if self._gently is None:
            self._gently = await self._errand.checkup.is_failing()
        self._attempt = Attempt(self._errand, self._settings, gently=self._gently)
        if self._is_cancelled:
            self._attempt.tell("cancel")
        try:
            await self._ledger.begin()
            try:
                event = await self._attempt.run()
            except MoveRefused as error:
                # Operators moved the drive meanwhile, such as to Faulted.
                self.log.warning("drive.taken_away", **told_fields(error))
                self.outcome = error
                return True
            if event is None:
                return False
            await self._finish(event)
        except StateUnusable as error:
            raise Paused(error) from None
        finally:
            self._attempt = None
        return True

    async def _finish(self, event: Mapping[str, Any]) -> None:
        self.outcome = await self._reported(event)
        await self._errand.checkup.smart("after")
        # What is known of a finished drive stands in logs and catalog; its journal is of no more use.
        journal = journal_of(self._settings.state_dir, self.job_name, self.serial)
        await asyncio.to_thread(forget_journal, journal)

    async def _reported(self, event: Mapping[str, Any]) -> IngestError | None:
        """As ``Ledger.finish``. In a fleet it waits for a server that is away."""
        is_again = False
        while True:
            try:
                if is_again and await self._ledger.has_ended():
                    # What was written before the answer was lost.
                    return self._ledger.tell_finish(event)
                return await self._ledger.finish(event, self._errand.progress.went)
            except StateUnusable as error:
                if self._lease is None or (self._stop.is_set() and not self._is_pulled):
                    raise
                self.log.warning("drive.report_waits", **told_fields(error))
            is_again = True
            self._give_turn_back()
            self._nudge.clear()
            await self._clock.wait(self._nudge, REPORT_AGAIN_S)

    async def _after_crash(self, error: WorkerLost) -> float:
        """Seconds to wait. ``outcome`` is set when the drive is given up."""
        retries = self._errand.retries
        wait_s = retries.crashed()
        again = f"it is started again in {wait_s:g} s" if wait_s is not None else "it is not started again"
        self.log.error("worker.lost", detail=error.detail, crashes=retries.crashes, next=again)
        detail = f"{error.detail} ({retries.crashes} of {MAX_CRASHES} in a row); {again}"
        await self._errand.pauses.always(LOST, told(detail, error.side, error.id, error.next_step))
        self._watch({"event": "worker.lost", "detail": detail})
        self._give_turn_back()
        if wait_s is None:
            await self.fault(error)
            await self._errand.checkup.smart("after")
        return wait_s or 0.0

    async def _after_pause(self, paused: Paused) -> float:
        """Seconds to wait. ``outcome`` is set when nobody waits."""
        error = paused.error
        if isinstance(error, DeviceUnavailable) and paused.was_running and self._patient:
            # Most probably it was pulled, and that is soon known.
            await self._clock.wait(self._stop, GONE_WITHIN_S)
        if self._stop.is_set():
            return 0.0
        await self._tell_of_pause(error)
        if not self._patient:
            self.outcome = error
        if not (error.retriable and error.side in (Side.NETWORK, Side.SERVICE)):
            # In bad weather for all, the others would get no further.
            self._give_turn_back()
        return self._errand.retries.paused()

    async def _has_room(self) -> bool:
        """Waits until the state disk has room for a drive to begin; False when that was not to be.

        To cancel one takes none.
        """
        while not self._stop.is_set() and not self._is_cancelled:
            settings = self._settings
            try:
                await asyncio.to_thread(check_free, settings.state_dir, settings.transfer.keep_free_bytes)
            except StateUnusable as error:
                await self._tell_of_pause(error)
                self._watch({"event": "paused", "error": error.id, "detail": error.detail})
                if not self._patient:
                    self.outcome = error
                    return False
                await self._wait(LOOK_FOR_ROOM_S)
            else:
                return True
        return not self._stop.is_set()

    async def _has_turn(self) -> bool:
        """Waits for this drive's turn to be worked; False when it was stopped first."""
        if self._stop.is_set():
            return False
        if self._turn is None:
            place = Place(self._device.bay, self._device.controller)
            self._turn = self._turns.ask(place, self._settings.store.address, self._nudge.set)
        is_told = False
        while not (self._turn.is_granted or self._is_cancelled or self._stop.is_set()):
            await self._tell_of_wait(self._turns.why(self._turn), is_news=not is_told)
            is_told = True
            await self._wait(LOOK_FOR_TURN_S)
        # Its coming is known; it is to end no later wait.
        self._nudge.clear()
        return not self._stop.is_set()

    async def _has_lease(self) -> bool:
        """Waits until the lease is good; False when the visit was stopped first. Raises DriveBusy."""
        is_told = False
        while self._lease is not None and not self._stop.is_set():
            self._lease.check()
            if self._lease.is_good:
                break
            await self._tell_of_wait(LEASE_OVER, is_news=not is_told)
            is_told = True
            await self._wait(LOOK_FOR_LEASE_S)
        return not self._stop.is_set()

    def _give_turn_back(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            self._turns.give_back(turn)

    async def _wait(self, seconds: float) -> None:
        """Until it is time, or something has happened since the last wait."""
        if not self._stop.is_set():
            await self._clock.wait(self._nudge, seconds)
        self._nudge.clear()

    async def _tell_of_pause(self, error: IngestError) -> None:
        """To the log each time; to the drive's history when it is news."""
        self.log.warning("drive.paused", **told_fields(error))
        await self._errand.pauses.error(error)

    async def _tell_of_wait(self, why: str, *, is_news: bool) -> None:
        self._watch({"event": "waits", "detail": why})
        if not is_news:
            return
        self.log.info("drive.waits", detail=why)
        next_step = "Nothing to do: it begins by itself."
        await self._errand.pauses.begin(WAITS, told(why, Side.STATION, "Waits", next_step))

    async def _tell_of_stop(self) -> None:
        """In the history, what the drive stands still for."""
        if not self._patient:
            return
        pauses, bay = self._errand.pauses, self._device.bay
        if self._is_pulled and not pauses.is_for(DeviceUnavailable.__name__):
            detail = f"the drive was pulled from bay {bay}; its place is kept"
            await pauses.begin(PULLED, told(detail, Side.DRIVE, "Pulled", "Put it into any bay: it goes on."))
        elif not self._is_pulled and self._ledger.state is DriveState.TRANSFERRING:
            detail = "the station was stopped; the drive's place is kept"
            next_step = "It goes on when the station runs again."
            await pauses.begin(STOPPED, told(detail, Side.STATION, "Stopped", next_step))
