"""Which drive is in which bay, and how it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agent.cli.context import Context
from agent.cli.screen import moving
from agent.cli.sources import configured_source
from agent.devices.hindrance import Hindrance
from agent.errors import IngestError, PolicyError
from agent.model.identity import SerialNumber
from agent.model.job import Drive, Job
from agent.model.states import DriveState
from agent.station.intake import choose

if TYPE_CHECKING:
    from agent.catalog import Catalog
    from agent.config import Settings


@dataclass(frozen=True, slots=True)
class BayRow:
    """A bay and what is in it. ``serial`` is None of an empty one.

    ``what`` and ``next_step`` are for the technician; ``state`` is None of a drive that is not to be worked.
    ``since`` is when a pause or a fault began.
    """

    bay: str
    serial: SerialNumber | None = None
    size_bytes: int | None = None
    job: str | None = None
    state: DriveState | None = None
    percent: int | None = None
    what: str = ""
    next_step: str = ""
    since: datetime | None = None

    @property
    def note(self) -> str:
        """All of it in a line; empty when nothing is to be said."""
        if self.serial is None:
            return "empty"
        stands = f"{self.state}, {self.percent} %: " if self.state is not None else ""
        since = f" (since {self.since:%Y-%m-%d %H:%M} UTC)" if self.since is not None else ""
        return f"{stands}{self.what}{since}. {self.next_step}".strip() if self.what else ""

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "bay": self.bay,
            "serial": self.serial.shown if self.serial is not None else None,
            "sizeBytes": self.size_bytes,
            "job": self.job,
            "state": self.state,
            "percentComplete": self.percent,
            "note": self.note,
            "next": self.next_step or None,
            "since": self.since.isoformat() if self.since is not None else None,
        }


def look(context: Context) -> list[BayRow]:
    """All bays as they are now, by their labels.

    Where the catalog cannot be read, each drive's row says so. Raises ConfigInvalid.
    """
    settings = context.settings
    rows = asyncio.run(_attached(settings))
    if _has_catalog(settings):
        try:
            rows = context.with_catalog(lambda catalog: _as_jobs_say(catalog, rows))
        except IngestError as error:
            return [row if row.what or row.serial is None else _hindered(row, error) for row in rows]
    return [row if row.what else _alone(row, (), rows) for row in rows]


def _has_catalog(settings: Settings) -> bool:
    try:
        return settings.catalog.url is not None or (settings.state_dir / "catalog.sqlite").exists()
    except PermissionError:
        return True  # to open it will fail as well, and tell why


async def _attached(settings: Settings) -> list[BayRow]:
    attached = await configured_source(settings).devices()
    rows = []
    for device in attached:
        row = BayRow(device.bay, device.serial, device.size_bytes)
        if (why := device.hindrance) is not None:
            row = _hindered(row, why)
        rows.append(row)
    used = {device.bay for device in attached}
    rows += [BayRow(label) for label in settings.bays.values() if label not in used]
    return sorted(rows, key=lambda row: row.bay)


async def _as_jobs_say(catalog: Catalog, rows: Sequence[BayRow]) -> list[BayRow]:
    return [await _as_job_says(catalog, row, rows) for row in rows]


async def _as_job_says(catalog: Catalog, row: BayRow, rows: Sequence[BayRow]) -> BayRow:
    """Where the drive stands; one that the station works is in use to this process."""
    from agent.station.sentences import sentence_of

    if (serial := row.serial) is None:
        return row
    found = await catalog.find_drive(serial)
    row = row if row.what else _alone(row, found, rows)
    for job, drive in found[:1]:
        if drive.state is DriveState.TRANSFERRING or not row.what:
            events = await catalog.drive_history(serial)
            said = moving(sentence_of(job, drive, events, is_in_bay=True), drive)
            return replace(
                row,
                job=str(job.name),
                state=drive.state,
                percent=drive.percent_complete,
                what=said.text,
                next_step=said.next_step,
                since=said.since,
            )
    return row


def _alone(row: BayRow, found: Sequence[tuple[Job, Drive]], rows: Sequence[BayRow]) -> BayRow:
    """A drive that no job specifies, or that is here twice; what a job says of it is told otherwise."""
    count = sum(other.serial == row.serial for other in rows)
    if row.serial is None or (found and count == 1):
        return row
    try:
        choose(row.serial, found, count)
    except PolicyError as error:
        return _hindered(row, error)
    return row


def _hindered(row: BayRow, why: Hindrance | IngestError) -> BayRow:
    return replace(row, what=f"{why.detail.rstrip('.')} [{why.side}: {why.id}]", next_step=why.next_step)
