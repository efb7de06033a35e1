"""Writes into a drive's history what was proven and measured of it around a transfer."""

from __future__ import annotations

import asyncio

from agent.catalog.catalog import Catalog
from agent.devices.health import Health, Verdict
from agent.devices.readonly import look
from agent.devices.source import Device, DeviceSource
from agent.model.job import Job
from agent.telemetry import Log
from agent.volume.manner import GENTLY

WHO = "station"
NEXT_OF_FAILING = (
    "Leave it in its bay until it is finished: each start is hard on it. "
    "Have the customer keep the source, and ship what the error log lists again."
)


class Checkup:
    """Of one drive's visit."""

    def __init__(self, catalog: Catalog, source: DeviceSource, device: Device, job: Job, log: Log) -> None:
        self._catalog, self._source = catalog, source
        self._device, self._job, self._log = device, job, log
        self._told: dict[str, str] = {}

    async def prove_read_only(self, fd: int) -> None:
        """What can be shown of the descriptor that the reader gets; said once."""
        found = await asyncio.to_thread(look, fd)
        if found is None or found.detail == self._told.get("read_only"):
            return
        self._told["read_only"] = found.detail
        tell = self._log.info if found.is_proven else self._log.warning
        tell("drive.read_only", proven=found.is_proven, detail=found.detail)
        await self._record("drive.read_only", found.detail)

    async def is_failing(self) -> bool:
        """Whether to read the drive with care, by what it says before its transfer."""
        health = await self.smart("before")
        if not (self._device.is_failing or (health is not None and health.is_failing)):
            return False
        why = f": {', '.join(health.reasons)}" if health is not None and health.is_failing else ""
        detail = f"SMART says that the drive is failing{why}; {GENTLY.sentence}"
        self._log.warning("drive.gently", detail=detail, next=NEXT_OF_FAILING)
        await self._record("drive.gently", f"{detail}. {NEXT_OF_FAILING}")
        return True

    async def smart(self, when: str) -> Health | None:
        """A snapshot of the drive's condition, ``before`` or ``after`` its transfer; silence is said once."""
        health = await self._source.health(self._device)
        if health is None:
            return None
        line = health.line()
        if health.verdict is Verdict.UNKNOWN and self._told.get("smart") == line:
            return health
        self._told["smart"] = line
        tell = self._log.info if health.verdict in (Verdict.HEALTHY, Verdict.UNKNOWN) else self._log.warning
        tell("drive.smart", when=when, verdict=health.verdict, detail=line)
        await self._record("drive.smart", f"{when}: {line}")
        return health

    async def _record(self, what: str, detail: str) -> None:
        await self._catalog.record_event(
            what, who=WHO, job=self._job.name, serial=self._device.serial, detail=detail
        )
