"""One drive's stay in a bay: from the moment it is seen to the end of its transfer."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from agent.catalog.catalog import Catalog
from agent.config import Settings, read_credential
from agent.devices.source import Device, DeviceSource
from agent.errors import ConfigInvalid, IngestError, StateUnusable, StoreRefused, WorkerLost, from_name
from agent.model.codes import DriveStatus
from agent.model.job import Drive, Job
from agent.model.states import DriveEvent, DriveState
from agent.model.verification import VerifiedCounts
from agent.station.caps import CapKeeper
from agent.station.checkup import Checkup
from agent.station.mapfile import read_mapfile
from agent.station.places import board_of, journal_of, spool_of
from agent.telemetry import Log
from agent.transfer.board import Board
from agent.transfer.events import read_going, read_tally
from agent.transfer.orders import ReaderOrder, StoreOrder, UploadOrder
from agent.transfer.pair import Pair
from agent.transfer.room import check_free, forget_journal

PROGRESS_EVERY_S = 1.0
MAX_CRASHES = 3
RETRY_PAUSES_S = (5.0, 15.0, 60.0)
WHO = "station"

Watcher = Callable[[Mapping[str, Any]], None]
"""Told every event of the uploader, for a screen."""


class Paused(Exception):
    """The transfer keeps its place and waits; ``error`` says for what."""

    def __init__(self, error: IngestError) -> None:
        super().__init__(error.detail)
        self.error = error


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
    ) -> None:
        self._catalog, self._source, self._settings = catalog, source, settings
        self._device, self._job = device, job
        self.log = log.bind(drive=device.serial.shown, job=str(job.name), bay=device.bay)
        self._checkup = Checkup(catalog, source, device, job, self.log)
        self._patient, self._watch = patient, watch
        self._pair: Pair | None = None
        self.job_name, self.serial = job.name, device.serial
        self._stop = asyncio.Event()
        self._last_written = 0.0
        self._latest: Mapping[str, Any] | None = None
        """The last progress of the pair that runs."""
        self._is_written = True
        self._went = job.drive(device.serial).going
        """What the pairs before counted."""
        self._has_moved = False
        self.outcome: IngestError | None = None
        """Why the visit ended without a finished drive; None when it is finished or was stopped."""
        self.interrupted = False
        self._cancelled = False
        self._is_finished = False
        self._paused_for: str | None = None
        self._credential = settings.store.credential
        """The one in use, which a refusal or ``adopt`` may have renewed."""
        self._caps: CapKeeper | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Settle what is under way, keep the place, and end."""
        self._stop.set()
        if self._pair is not None:
            self._pair.tell("stop")

    def cancel(self) -> None:
        """The job was cancelled: account for what is left and finish."""
        self._cancelled = True
        if self._pair is not None:
            self._pair.tell("cancel")

    def adopt(self, settings: Settings) -> None:
        """Go on with these: caps and the credential count at once, all else from the next pause on."""
        self._settings = settings
        if settings.store.credential != self._credential:
            self._credential = settings.store.credential
            if self._pair is not None:
                self._pair.hand_over(self._credential)
        self._keep_caps()

    async def run(self) -> None:
        """To the end of the transfer, or until it is stopped."""
        drive = self._job.drive(self._device.serial)
        if not await self._has_room():
            return
        await self._begin(drive)
        if self._job.cancel_requested and drive.state is not DriveState.TRANSFERRING:
            await self._finish_cancelled()
            return
        await self._checkup.smart("before")
        crashes = tries = 0
        while not self._stop.is_set():
            try:
                await self._once()
                await self._forget()
                return
            except WorkerLost as error:
                crashes = 1 if self._has_moved else crashes + 1
                self._has_moved = False
                self.log.error("worker.lost", detail=error.detail, crashes=crashes)
                self._watch({"event": "worker.lost"})
                if crashes >= MAX_CRASHES:
                    await self._fault(error)
                    return
            except Paused as paused:
                await self._tell_of_pause(paused.error)
                if not self._patient:
                    self.outcome = paused.error
                    return
            await self._wait(RETRY_PAUSES_S[min(tries, len(RETRY_PAUSES_S) - 1)] if self._patient else 0.1)
            tries += 1
        self.interrupted = True

    async def _has_room(self) -> bool:
        """Waits until the state disk has room for a drive to begin; False when that was not to be.

        To cancel one takes none.
        """
        while not self._stop.is_set():
            if self._cancelled or self._job.cancel_requested:
                return True
            settings = self._settings
            try:
                await asyncio.to_thread(check_free, settings.state_dir, settings.transfer.keep_free_bytes)
            except StateUnusable as error:
                await self._tell_of_pause(error)
                self._watch({"event": "paused", "error": error.id, "detail": error.detail})
                if not self._patient:
                    self.outcome = error
                    return False
                await self._wait(RETRY_PAUSES_S[-1])
            else:
                return True
        self.interrupted = True
        return False

    async def _tell_of_pause(self, error: IngestError) -> None:
        """To the log each time; to the drive's history when it is news, if that can be written at all."""
        self.log.warning("drive.paused", **_told(error))
        if error.id == self._paused_for:
            return
        self._paused_for = error.id
        with suppress(StateUnusable):
            await self._catalog.record_event(
                "drive.paused", who=WHO, job=self._job.name, serial=self.serial, detail=error.detail
            )

    async def _forget(self) -> None:
        """The journal of a finished drive is of no more use: what is known stands in logs and catalog."""
        if self._is_finished:
            journal = journal_of(self._settings.state_dir, self._job.name, self.serial)
            await asyncio.to_thread(forget_journal, journal)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _begin(self, drive: Drive) -> None:
        for state, event in (
            ((DriveState.SPECIFIED, DriveState.NEVER_RECEIVED), DriveEvent.ARRIVE),
            ((DriveState.SPECIFIED, DriveState.NEVER_RECEIVED, DriveState.RECEIVED), DriveEvent.BEGIN),
        ):
            if drive.state in state:
                detail = f"bay {self._device.bay}"
                await self._catalog.move_drive(
                    self._job.name, self._device.serial, event, who=WHO, detail=detail
                )
                self.log.info(f"drive.{event.name.lower()}")

    async def _finish_cancelled(self) -> None:
        await self._catalog.move_drive(
            self._job.name,
            self._device.serial,
            DriveEvent.FINISH_WITH_FINDINGS,
            who=WHO,
            detail="the job was cancelled; nothing was copied",
            copy_status="Cancelled",
            percent_complete=0,
        )
        self.log.info("drive.cancelled")

    async def _once(self) -> None:
        """One pair of processes. Raises Paused and WorkerLost."""
        credential = await self._catalog.credential(self._job.name, self._device.serial)
        transfer = self._settings.transfer
        try:
            mapfile = await asyncio.to_thread(read_mapfile, self._device)
        except IngestError as error:
            raise Paused(error) from None
        reader = ReaderOrder(
            size_bytes=self._device.size_bytes,
            sector_size=self._device.sector_size,
            slot_count=transfer.slot_count,
            credential=credential,
            allow_unencrypted=self._job.allow_unencrypted,
            mapfile=mapfile,
        )
        try:
            board = Board(board_of(self._settings.state_dir))
        except IngestError as error:
            raise Paused(error) from None
        self._caps = CapKeeper(board, self._job.name)
        try:
            self._keep_caps()
            await self._work(reader)
        except StateUnusable as error:
            # The catalog cannot be written, as on a full disk: the drive keeps its place.
            raise Paused(error) from None
        finally:
            self._caps = None
            board.close()

    async def _work(self, reader: ReaderOrder) -> None:
        try:
            fd = await self._source.open(self._device)
        except IngestError as error:
            raise Paused(error) from None
        try:
            await self._checkup.prove_read_only(fd)
            self._pair = await Pair.start(fd, reader, self._upload_order())
        finally:
            os.close(fd)
        try:
            if self._stop.is_set():
                self._pair.tell("stop")
            elif self._cancelled or self._job.cancel_requested:
                self._pair.tell("cancel")
            async for event in self._pair.events():
                await self._take(event)
        finally:
            pair, self._pair = self._pair, None
            if self._latest is not None:
                self._went, self._latest = read_going(self._latest, self._went), None
            await pair.close()

    def _upload_order(self) -> UploadOrder:
        job, drive, settings = self._job, self._job.drive(self._device.serial), self._settings
        return UploadOrder(
            job=job.name,
            serial=drive.serial,
            manifest_file=drive.manifest_file,
            manifest_hash=drive.manifest_hash,
            destination=job.destination,
            disposition=job.disposition,
            diagnostics=job.diagnostics,
            log_level=job.log_level,
            backup_manifest=job.backup_manifest,
            upload_streams=job.upload_streams,
            store=StoreOrder(
                settings.store.kind, settings.store.address, self._credential, settings.store.identity
            ),
            board=board_of(settings.state_dir),
            journal=journal_of(settings.state_dir, job.name, drive.serial),
            spool=spool_of(settings.state_dir, job.name, drive.serial),
            slot_count=settings.transfer.slot_count,
            connections=settings.transfer.connections,
            block_bytes=settings.transfer.block_bytes,
            give_up_after_s=settings.transfer.give_up_after_s,
            keep_free_bytes=settings.transfer.keep_free_bytes,
            most_state_bytes=settings.transfer.drive_state_bytes,
            treatment=job.treatment,
        )

    async def _take(self, event: Mapping[str, Any]) -> None:
        self._watch(event)
        match event["event"]:
            case "progress":
                self._has_moved = self._has_moved or (
                    self._latest is not None and event["tally"] != self._latest["tally"]
                )
                if self._has_moved:
                    self._paused_for = None
                self._latest, self._is_written = event, False
                self._keep_caps()
                if time.monotonic() - self._last_written >= PROGRESS_EVERY_S:
                    await self._write_progress()
            case "inventory":
                pass
            case "credential.refused":
                await self._renew_credential()
            case "finished":
                await self._finish(event)
            case "paused":
                await self._write_progress(stands=True)
                raise await self._why_paused(event)
            case "interrupted":
                await self._write_progress(stands=True)
                self.log.info("drive.interrupted")
                self.interrupted = True
                self._stop.set()
            case name:
                self.log.info(name, **{key: value for key, value in event.items() if key != "event"})

    def _keep_caps(self) -> None:
        if self._caps is None:
            return
        try:
            caps = self._caps.keep(self._settings)
        except StateUnusable as error:
            self.log.error("bandwidth.unchanged", **_told(error))
            return
        if caps is not None:
            self.log.info("bandwidth.caps", **caps)

    async def _renew_credential(self) -> None:
        """The store refuses it: look once whether its file holds another by now."""
        found, path = self._credential, self._settings.store.credential_file
        if path is not None:
            try:
                found = await asyncio.to_thread(read_credential, path)
            except ConfigInvalid as error:
                self.log.error("credential.unreadable", **_told(error))
        if found == self._credential:
            self.log.warning("credential.refused", next=StoreRefused.next_step)
            found = None
        else:
            self._credential = found
            self.log.info("credential.renewed")
        if self._pair is not None:
            self._pair.hand_over(found)

    async def _why_paused(self, event: Mapping[str, Any]) -> Exception:
        error = from_name(event["error"], event["detail"])
        if not isinstance(error, WorkerLost) or self._pair is None:
            return Paused(error)
        last_words = await self._pair.reader_said()
        return WorkerLost(f"{event['detail']}: {last_words}" if last_words else event["detail"])

    async def _write_progress(self, *, stands: bool = False) -> None:
        event = self._latest
        if event is None or (self._is_written and not stands):
            return
        self._last_written, self._is_written = time.monotonic(), True
        waiting, going = event.get("waiting"), read_going(event, self._went)
        await self._catalog.record_progress(
            self._job.name,
            self._device.serial,
            read_tally(event),
            event["percent"],
            f"waiting: {waiting}" if waiting else "InProgress",
            going.standing if stands else going,
        )

    async def _finish(self, event: Mapping[str, Any]) -> None:
        status, logs = DriveStatus(event["status"]), event["logs"]
        clean = status is DriveStatus.COMPLETED and not event.get("overwritten")
        failed_early = "error" in event
        cancelled = event.get("cancelled", False)
        await self._catalog.move_drive(
            self._job.name,
            self._device.serial,
            DriveEvent.FINISH_CLEAN if clean else DriveEvent.FINISH_WITH_FINDINGS,
            who=WHO,
            detail=event.get("detail", ""),
            copy_status="Cancelled" if cancelled else status,
            tally=read_tally(event),
            percent_complete=100 if event["tally"]["discovered"][0] else 0,
            error_log_uri=logs.get("error"),
            verbose_log_uri=logs.get("verbose"),
            manifest_uri=logs.get("manifest"),
            verified=VerifiedCounts(**event["verified"]) if "verified" in event else None,
            going=read_going(event, self._went),
        )
        self._is_finished = True
        await self._checkup.smart("after")
        if failed_early:
            self.outcome = from_name(event["error"], event["detail"])
            self.log.error("drive.failed", status=status, **_told(self.outcome))
        else:
            tell = self.log.info if clean else self.log.warning
            tell("drive.finished", status=status, **_flat(event["tally"]))

    async def _fault(self, error: IngestError) -> None:
        await self._catalog.move_drive(
            self._job.name, self._device.serial, DriveEvent.FAULT, who=WHO, detail=error.detail
        )
        await self._checkup.smart("after")
        self.log.error("drive.faulted", detail=error.detail)
        self.outcome = error


def _flat(tally: Mapping[str, Any]) -> dict[str, int]:
    return {
        f"{part}_{unit}": tally[part][index]
        for part in tally
        for index, unit in enumerate(("files", "bytes"))
    }


def _told(error: IngestError) -> dict[str, str]:
    return {"error": error.id, "side": error.side, "detail": error.detail, "next": error.next_step}
