"""One drive's stay in a bay: it waits for room and for its turn, and is tried until there is an end to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from agent.catalog.catalog import Catalog
from agent.config import Settings
from agent.devices.source import Device, DeviceSource
from agent.errors import DeviceUnavailable, IngestError, MoveRefused, Side, StateUnusable, WorkerLost
from agent.model.job import Job
from agent.model.states import DriveState
from agent.station.attempt import Attempt, Errand, Paused, Watcher
from agent.station.checkup import Checkup
from agent.station.clock import Clock, LoopClock
from agent.station.commands import Commands
from agent.station.lease import Lease
from agent.station.ledger import Ledger
from agent.station.lineup import Lineup
from agent.station.pauses import LOST, Pauses, told
from agent.station.places import journal_of
from agent.station.progress import Progress
from agent.station.retries import MAX_CRASHES, Retries
from agent.station.storekey import StoreKey
from agent.station.toldlog import told_fields
from agent.station.turns import Turns
from agent.telemetry import Log
from agent.transfer.room import forget_journal

GONE_WITHIN_S = 20.0
"""A drive that stops answering is taken for one that is being pulled: so long may the kernel need for it."""
REPORT_AGAIN_S = 5.0
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
        clock = clock or LoopClock()
        self._commands = Commands(clock, is_cancelled=job.cancel_requested)
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
            pauses=Pauses(catalog, job.name, device.serial, clock, self.log),
            retries=Retries(),
            key=StoreKey(settings.store, self.log),
        )
        self._lease = lease
        self._lineup = Lineup(self._errand, self._commands, turns or Turns(), lease)
        self._attempt: Attempt | None = None
        self._is_pulled = False
        self._gently: bool | None = None
        self.outcome: IngestError | None = None
        """Why the visit ended without a finished drive; None when it is finished or was stopped."""
        self.interrupted = False

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._commands.is_stopping

    def stop(self) -> None:
        """Settle what is under way, keep the place, and end."""
        self._commands.stop()
        if self._attempt is not None:
            self._attempt.tell("stop")

    def let_go(self) -> None:
        """The lease may run out: nothing new is begun on the drive until it is renewed."""
        self._commands.nudge()
        if self._attempt is not None:
            self._attempt.tell("stop")

    def pulled(self) -> None:
        """The drive is not in its bay any more: as ``stop``."""
        self._is_pulled = True
        self.log.warning("drive.pulled", next="put it into any bay, and it goes on")
        self.stop()

    def cancel(self) -> None:
        """The job was cancelled: account for what is left and finish."""
        if not self._commands.is_cancelled:
            self._commands.cancel()
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
            self.outcome = await self._lineup.lack_of_room(lambda: self._settings, patient=self._patient)
            if self.outcome is None and not self.is_stopping and await self._is_worked():
                return
            self.interrupted = self.outcome is None
            await self._tell_of_stop()
        finally:
            self._lineup.give_turn_back()

    async def fault(self, error: IngestError) -> None:
        """Give the drive up, when no visit of it comes to an end. Raises MoveRefused and StateUnusable."""
        await self._ledger.fault(error)
        self.outcome = error

    async def _is_worked(self) -> bool:
        """Whether there is an end to it; False when it was stopped, or when it pauses and is not patient."""
        await self._ledger.arrive()
        while await self._lineup.has_turn(self._settings.store.address) and await self._lineup.has_lease():
            if self._commands.is_cancelled and self._ledger.state is not DriveState.TRANSFERRING:
                await self._ledger.finish_cancelled()
                return True
            try:
                if await self._is_finished():
                    return True
                if self.is_stopping or not self._patient:
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
            await self._commands.wait(wait_s if self._patient else IMPATIENT_S)
        return False

    async def _is_finished(self) -> bool:
        """One pair of processes, to its end. Raises Paused and WorkerLost."""
        if self._gently is None:
            self._gently = await self._errand.checkup.is_failing()
            if self.is_stopping or not await self._lineup.has_lease():
                # A drive may take long to answer.
                return False
        self._attempt = Attempt(self._errand, self._settings, gently=self._gently)
        if self._commands.is_cancelled:
            self._attempt.tell("cancel")
        try:
            await self._ledger.begin()
            try:
                event = await self._attempt.run()
            except MoveRefused as error:
                self._taken_away(error)
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
        try:
            self.outcome = await self._reported(event)
        except MoveRefused as error:
            await self._end_refused(error)
            return
        try:
            await self._errand.checkup.smart("after")
        except StateUnusable as error:
            # The drive is finished all the same, and is not to be transferred again.
            self.log.error("drive.unrecorded", **told_fields(error))
        # What is known of a finished drive stands in logs and catalog; its journal is of no more use.
        journal = journal_of(self._settings.state_dir, self.job_name, self.serial)
        await asyncio.to_thread(forget_journal, journal)

    async def _end_refused(self, error: MoveRefused) -> None:
        """The catalog does not take the end: one more attempt would come to the same."""
        try:
            await self.fault(WorkerLost(f"the end of its transfer was refused: {error.detail}"))
        except MoveRefused as refusal:
            self._taken_away(refusal)

    def _taken_away(self, error: MoveRefused) -> None:
        """Operators moved the drive meanwhile, such as to Faulted."""
        self.log.warning("drive.taken_away", **told_fields(error))
        self.outcome = error

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
                if self._lease is None or (self.is_stopping and not self._is_pulled):
                    raise
                self.log.warning("drive.report_waits", **told_fields(error))
            is_again = True
            self._lineup.give_turn_back()
            await self._commands.wait_for_news(REPORT_AGAIN_S)

    async def _after_crash(self, error: WorkerLost) -> float:
        """Seconds to wait. ``outcome`` is set when the drive is given up."""
        retries = self._errand.retries
        wait_s = retries.crashed()
        again = f"it is started again in {wait_s:g} s" if wait_s is not None else "it is not started again"
        self.log.error("worker.lost", detail=error.detail, crashes=retries.crashes, next=again)
        detail = f"{error.detail} ({retries.crashes} of {MAX_CRASHES} in a row); {again}"
        await self._errand.pauses.always(LOST, told(detail, error.side, error.id, error.next_step))
        self._watch({"event": "worker.lost", "detail": detail})
        self._lineup.give_turn_back()
        if wait_s is None:
            await self.fault(error)
            await self._errand.checkup.smart("after")
        return wait_s or 0.0

    async def _after_pause(self, paused: Paused) -> float:
        """Seconds to wait. ``outcome`` is set when nobody waits."""
        error = paused.error
        if isinstance(error, DeviceUnavailable) and paused.was_running and self._patient:
            # Most probably it was pulled, and that is soon known.
            await self._commands.wait_for_stop(GONE_WITHIN_S)
        if self.is_stopping:
            return 0.0
        await self._errand.pauses.error(error)
        if not self._patient:
            self.outcome = error
        if not (error.retriable and error.side in (Side.NETWORK, Side.SERVICE)):
            # In bad weather for all, the others would get no further.
            self._lineup.give_turn_back()
        return self._errand.retries.paused()

    async def _tell_of_stop(self) -> None:
        """In the history, what the drive stands still for."""
        pauses = self._errand.pauses
        if not self._patient:
            return
        if self._is_pulled and not pauses.is_for(DeviceUnavailable.__name__):
            await pauses.pulled(self._device.bay)
        elif not self._is_pulled and self._ledger.state is DriveState.TRANSFERRING:
            await pauses.stopped()
