"""``ingest-agent drive``: the drives of all jobs, and what is attached besides."""

from __future__ import annotations

import os
from typing import Any

import click

from agent.catalog.catalog import Catalog
from agent.cli.context import Context, json_option, operator, pass_context, print_json
from agent.cli.screen import show_drives, show_events
from agent.cli.sources import configured_source
from agent.config import ImageSettings
from agent.devices.image import open_read_only
from agent.devices.source import Device
from agent.errors import DeviceUnavailable, PolicyError, SerialNotSpecified
from agent.model.identity import SerialNumber
from agent.model.job import Drive, Job
from agent.model.states import DriveEvent, DriveState
from agent.station.intake import choose


@click.group()
def drive() -> None:
    """Look at drives."""


@drive.command(name="list")
@json_option
@pass_context
def list_drives(context: Context, as_json: bool) -> None:
    """List specified drives and attached ones, each with what it is waiting for."""
    rows = context.with_catalog(lambda catalog: _rows(context, catalog))
    if as_json:
        print_json({"value": rows})
    else:
        show_drives(rows)


def _move_command(name: str, event: DriveEvent, told: str) -> None:
    @drive.command(name=name, help=told)
    @click.argument("serial")
    @click.option("--job", "job_name", metavar="JOB", help="Needed if several jobs specify the drive.")
    @click.option("--note", default="", help="Why; it stands in the history.")
    @pass_context
    def move(context: Context, /, serial: str, job_name: str | None, note: str) -> None:
        parsed = SerialNumber.parse(serial)

        async def go(catalog: Catalog) -> Job:
            found = await catalog.find_drive(parsed)
            names = [job.name for job, _ in found if job_name in (None, str(job.name))]
            if len(names) != 1:
                told = ", ".join(map(str, names)) or "none"
                raise SerialNotSpecified(f"drive {parsed} is to be in one job; found: {told}")
            return await catalog.move_drive(names[0], parsed, event, who=operator(), detail=note)

        job = context.with_catalog(go)
        click.echo(f"drive {parsed} is {job.drive(parsed).state}; job {job.name} is {job.state}")


_move_command("resolve", DriveEvent.RESOLVE, "Release a Faulted drive, after its cause was mended.")
_move_command("never-received", DriveEvent.MISS, "Record that a specified drive was not in the box.")
_move_command("ship-back", DriveEvent.SHIP_BACK, "Record that a processed drive was shipped back.")


@drive.command()
@click.argument("serial")
@json_option
@pass_context
def history(context: Context, serial: str, as_json: bool) -> None:
    """Tell what happened to a drive in any job and in none, oldest first."""
    events = context.with_catalog(lambda catalog: catalog.drive_history(SerialNumber.parse(serial)))
    show_events(events, as_json)


async def _rows(context: Context, catalog: Catalog) -> list[dict[str, Any]]:
    attached = await configured_source(context.settings).devices()
    bays = {device.serial: device.bay for device in attached}
    counts = {serial: sum(device.serial == serial for device in attached) for serial in bays}
    listed = await catalog.list_drives()
    rows = [_row(job, drive, bays.get(drive.serial)) for job, drive in listed]
    seen = {device.serial for device in attached}
    rows += [_missing(image) for image in context.settings.images if image.serial not in seen and image.bay]
    known = {drive.serial for _, drive in listed}
    # The station that works a drive has claimed it: to this process it is in use.
    worked = {drive.serial for _, drive in listed if drive.state is DriveState.TRANSFERRING}
    for device in attached:
        count = counts[device.serial]
        if count == 1 and device.serial in worked:
            continue
        note = await _why_alone(catalog, device, count, device.serial in known)
        if note is not None:
            rows.append(_alone(device, note))
    return rows


async def _why_alone(catalog: Catalog, device: Device, count: int, is_known: bool) -> str | None:
    """What is to be said of an attached drive besides the row of its job; None: nothing."""
    if device.hindrance is not None:
        return device.hindrance.line()
    if is_known and count == 1:
        return None
    try:
        choose(device.serial, await catalog.find_drive(device.serial), count)
    except PolicyError as error:
        return error.line()
    return None


def _alone(device: Device, note: str) -> dict[str, Any]:
    return {
        "serial": device.serial.shown,
        "bay": device.bay,
        "job": None,
        "state": None,
        "percentComplete": None,
        "note": note,
    }


def _missing(image: ImageSettings) -> dict[str, Any]:
    """A configured source that is not there, and why."""
    try:
        os.close(open_read_only(image.path))
    except DeviceUnavailable as error:
        why = error.detail
    else:
        why = f"{image.path} is empty"
    return {
        "serial": image.serial.shown,
        "bay": image.bay,
        "job": None,
        "state": "not attached",
        "percentComplete": None,
        "note": why,
    }


def _row(job: Job, drive: Drive, bay: str | None) -> dict[str, Any]:
    return {
        "serial": drive.serial.shown,
        "bay": bay,
        "job": str(job.name),
        "state": drive.state,
        "percentComplete": drive.percent_complete,
        "note": drive.copy_status or "",
    }
