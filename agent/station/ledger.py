"""Writes into the catalog how a drive's visit moves it: that it came, began, ended or was given up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.catalog.catalog import Catalog
from agent.devices.source import Device
from agent.errors import IngestError, from_name
from agent.model.codes import DriveStatus
from agent.model.going import Going
from agent.model.job import Job
from agent.model.states import OPEN_DRIVES, DriveEvent, DriveState
from agent.model.verification import VerifiedCounts
from agent.station.toldlog import told_fields
from agent.telemetry import Log
from agent.transfer.events import read_going, read_tally

WHO = "station"
NOT_HERE = frozenset({DriveState.SPECIFIED, DriveState.NEVER_RECEIVED})
NOT_BEGUN = NOT_HERE | {DriveState.RECEIVED}


class Ledger:
    """Of one drive's visit. Every method may raise StateUnusable."""

    def __init__(self, catalog: Catalog, device: Device, job: Job, log: Log) -> None:
        self._catalog, self._device, self._job, self._log = catalog, device, job, log
        self.state = job.drive(device.serial).state
        """That of the drive, as far as this visit knows."""

    async def arrive(self) -> None:
        """The drive is in a bay."""
        if self.state in NOT_HERE:
            await self._move(DriveEvent.ARRIVE, DriveState.RECEIVED)

    async def begin(self) -> None:
        """Its transfer begins, unless it did before."""
        await self.arrive()
        if self.state in NOT_BEGUN:
            await self._move(DriveEvent.BEGIN, DriveState.TRANSFERRING)

    async def finish_cancelled(self) -> None:
        """Its job was cancelled before anything was copied; the catalog may have ended it by itself."""
        if await self.has_ended():
            self._log.info("drive.cancelled")
            return
        await self.begin()
        await self._record(
            DriveEvent.FINISH_WITH_FINDINGS,
            "the job was cancelled; nothing was copied",
            copy_status="Cancelled",
            percent_complete=0,
        )
        self._log.info("drive.cancelled")

    async def finish(self, event: Mapping[str, Any], went: Going) -> IngestError | None:
        """By an uploader's ``finished``; the error that ended the drive, if one did."""
        status, logs = DriveStatus(event["status"]), event["logs"]
        await self._record(
            DriveEvent.FINISH_CLEAN if _is_clean(event) else DriveEvent.FINISH_WITH_FINDINGS,
            event.get("detail", ""),
            copy_status="Cancelled" if event.get("cancelled", False) else status,
            tally=read_tally(event),
            percent_complete=100 if event["tally"]["discovered"][0] else 0,
            error_log_uri=logs.get("error"),
            verbose_log_uri=logs.get("verbose"),
            manifest_uri=logs.get("manifest"),
            verified=VerifiedCounts(**event["verified"]) if "verified" in event else None,
            going=read_going(event, went),
        )
        return self.tell_finish(event)

    async def has_ended(self) -> bool:
        """Whether the catalog says that the copy is over."""
        found = await self._catalog.job(self._job.name)
        return found.drive(self._device.serial).state not in OPEN_DRIVES

    def tell_finish(self, event: Mapping[str, Any]) -> IngestError | None:
        """To the log; the error that ended the drive, if one did."""
        status = DriveStatus(event["status"])
        if "error" in event:
            error = from_name(event["error"], event["detail"])
            self._log.error("drive.failed", status=status, **told_fields(error))
            return error
        tell = self._log.info if _is_clean(event) else self._log.warning
        tell("drive.finished", status=status, **_flat(event["tally"]))
        return None

    async def fault(self, error: IngestError) -> None:
        """It makes no progress, and waits for operators."""
        await self._record(DriveEvent.FAULT, error.detail)
        self.state = DriveState.FAULTED
        self._log.error("drive.faulted", **told_fields(error))

    async def _move(self, event: DriveEvent, state: DriveState) -> None:
        await self._record(event, f"bay {self._device.bay}")
        self.state = state
        self._log.info(f"drive.{event.name.lower()}")

    async def _record(self, event: DriveEvent, detail: str, **values: Any) -> None:
        await self._catalog.move_drive(
            self._job.name, self._device.serial, event, who=WHO, detail=detail, **values
        )


def _is_clean(event: Mapping[str, Any]) -> bool:
    return DriveStatus(event["status"]) is DriveStatus.COMPLETED and not event.get("overwritten")


def _flat(tally: Mapping[str, Any]) -> dict[str, int]:
    return {
        f"{part}_{unit}": tally[part][index]
        for part in tally
        for index, unit in enumerate(("files", "bytes"))
    }
