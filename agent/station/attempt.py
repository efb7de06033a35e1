"""One pair of processes at a drive, from its start to the last that it tells."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.blobs.sas import is_for_one_container
from agent.catalog.catalog import Catalog
from agent.config import Settings
from agent.devices.source import Device, DeviceSource
from agent.errors import IngestError, StateUnusable, WorkerLost, from_name
from agent.formats.lognames import log_place
from agent.model.identity import ContainerName
from agent.model.job import Job
from agent.model.keys import Credential
from agent.station.caps import CapKeeper
from agent.station.checkup import Checkup
from agent.station.mapfile import read_mapfile
from agent.station.pauses import Pauses
from agent.station.places import board_of, journal_of, spool_of
from agent.station.progress import Progress
from agent.station.retries import Retries
from agent.station.storekey import StoreKey
from agent.station.toldlog import told_fields
from agent.telemetry import Log
from agent.transfer.board import Board
from agent.transfer.orders import StoreOrder, UploadOrder
from agent.transfer.pair import Pair
from agent.transfer.reader_order import ReaderOrder

Watcher = Callable[[Mapping[str, Any]], None]
"""Told every event of the uploader, and what the station does about them, for a screen."""
WARNINGS = frozenset({"drive.changed", "drive.unreadable", "log.kept", "manifest.warning"})
"""Events of the uploader that somebody should know of; what else it tells is the life of the drive."""


class Paused(Exception):
    """The transfer keeps its place and waits; ``error`` says for what.

    ``was_running``: a pair was at work, and what it met may have another cause than it could see.
    """

    def __init__(self, error: IngestError, *, was_running: bool = False) -> None:
        super().__init__(error.detail)
        self.error, self.was_running = error, was_running


@dataclass(frozen=True, slots=True)
class Errand:
    """Which drive is worked for which job, and with what."""

    catalog: Catalog
    source: DeviceSource
    device: Device
    job: Job
    log: Log
    watch: Watcher
    checkup: Checkup
    progress: Progress
    pauses: Pauses
    retries: Retries
    key: StoreKey


class Attempt:
    """Made once a pair. ``gently``: the drive is failing, and is read with care."""

    def __init__(self, errand: Errand, settings: Settings, *, gently: bool) -> None:
        self._errand, self._settings, self._gently = errand, settings, gently
        self._pair: Pair | None = None
        self._caps: CapKeeper | None = None
        self._word: str | None = None

    def tell(self, word: str) -> None:
        """``stop`` or ``cancel``, once the pair runs; a stop counts before all else."""
        if self._word != "stop":
            self._word = word
        if self._pair is not None:
            self._pair.tell(word)

    def adopt(self, settings: Settings, *, is_other_key: bool) -> None:
        """Caps and the credential of these settings count at once."""
        self._settings = settings
        if is_other_key and self._pair is not None:
            self._pair.hand_over(self._errand.key.current)
        self._keep_caps()

    async def run(self) -> Mapping[str, Any] | None:
        """Its ``finished`` event; None when it was interrupted. Raises Paused and WorkerLost."""
        errand = self._errand
        credential = await errand.catalog.credential(errand.job.name, errand.device.serial)
        try:
            mapfile = await asyncio.to_thread(read_mapfile, errand.device)
            board = Board(board_of(self._settings.state_dir))
        except IngestError as error:
            raise Paused(error) from None
        reader = self._reader_order(credential, mapfile)
        self._caps = CapKeeper(board, errand.job.name)
        try:
            self._keep_caps()
            return await self._work(reader)
        except StateUnusable as error:
            # The catalog cannot be written, as on a full disk: the drive keeps its place.
            raise Paused(error) from None
        finally:
            self._caps = None
            board.close()

    async def _work(self, reader: ReaderOrder) -> Mapping[str, Any] | None:
        errand = self._errand
        try:
            fd = await errand.source.open(errand.device)
        except IngestError as error:
            raise Paused(error) from None
        try:
            await errand.checkup.prove_read_only(fd)
            upload = self._upload_order()
            self._pair = await Pair.start(fd, reader, upload)
        finally:
            os.close(fd)
        try:
            # What was told meanwhile.
            if errand.key.current != upload.store.credential:
                self._pair.hand_over(errand.key.current)
            if self._word is not None:
                self._pair.tell(self._word)
            async for event in self._pair.events():
                errand.watch(event)
                match event["event"]:
                    case "finished":
                        return event
                    case "interrupted":
                        await errand.progress.write(stands=True)
                        errand.log.info("drive.interrupted")
                        return None
                await self._take(event)
            raise AssertionError("a pair ends with an event, or with an error")
        finally:
            pair, self._pair = self._pair, None
            errand.progress.uploader_ended()
            await pair.close()

    async def _take(self, event: Mapping[str, Any]) -> None:
        errand = self._errand
        match event["event"]:
            case "progress":
                self._keep_caps()
                if await errand.progress.take(event):
                    errand.retries.moved()
                    await errand.pauses.moved(errand.device.bay)
            case "inventory":
                pass
            case "credential.refused":
                found = await errand.key.refused()
                if self._pair is not None:
                    self._pair.hand_over(found)
            case "paused":
                await errand.progress.write(stands=True)
                raise await self._why_paused(event)
            case name:
                if name == "opened":
                    await errand.pauses.opened(errand.device.bay)
                tell = errand.log.warning if name in WARNINGS else errand.log.info
                tell(name, **{key: value for key, value in event.items() if key != "event"})

    def _reader_order(self, credential: Credential | None, mapfile: str | None) -> ReaderOrder:
        device = self._errand.device
        return ReaderOrder(
            size_bytes=device.size_bytes,
            sector_size=device.sector_size,
            slot_count=self._settings.transfer.slot_count,
            credential=credential,
            allow_unencrypted=self._errand.job.allow_unencrypted,
            mapfile=mapfile,
            gently=self._gently,
        )

    def _upload_order(self) -> UploadOrder:
        job, settings = self._errand.job, self._settings
        drive = job.drive(self._errand.device.serial)
        place = log_place(job.diagnostics, self._only_container())
        return UploadOrder(
            job=job.name,
            filed=job.created.isoformat(),
            serial=drive.serial,
            manifest_file=drive.manifest_file,
            manifest_hash=drive.manifest_hash,
            destination=job.destination,
            disposition=job.disposition,
            diagnostics=place.container,
            log_folder=place.folder,
            log_level=job.log_level,
            backup_manifest=job.backup_manifest,
            upload_streams=job.upload_streams,
            store=StoreOrder(
                settings.store.kind, settings.store.address, self._errand.key.current, settings.store.identity
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
            gently=self._gently,
        )

    def _only_container(self) -> ContainerName | None:
        """The one that the store's SAS is for, if it is for one and the job tells which."""
        key, destination = self._errand.key.current, self._errand.job.destination
        if key is None or destination is None or not is_for_one_container(key.reveal()):
            return None
        return destination.container

    def _keep_caps(self) -> None:
        if self._caps is None:
            return
        try:
            caps = self._caps.keep(self._settings)
        except StateUnusable as error:
            self._errand.log.error("bandwidth.unchanged", **told_fields(error))
            return
        if caps is not None:
            self._errand.log.info("bandwidth.caps", **caps)

    async def _why_paused(self, event: Mapping[str, Any]) -> Exception:
        error = from_name(event["error"], event["detail"])
        if not isinstance(error, WorkerLost) or self._pair is None:
            return Paused(error, was_running=True)
        last_words = await self._pair.reader_said()
        return WorkerLost(f"{event['detail']}: {last_words}" if last_words else event["detail"])
