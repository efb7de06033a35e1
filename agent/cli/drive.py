"""``ingest-agent drive``: the drives of all jobs, and what is attached besides."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any

import click

from agent.catalog import Catalog, Extra
from agent.cli.context import Context, json_option, operator, pass_context, print_json
from agent.cli.job_verbs import note_option, reason_option
from agent.cli.screen import moving, show_drives, show_events
from agent.cli.sources import configured_source
from agent.config import ImageSettings
from agent.devices.image import open_read_only
from agent.devices.source import Device
from agent.errors import DeviceUnavailable, PolicyError, SerialNotSpecified
from agent.formats.jobrequest import job_to_json
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Drive, Job
from agent.model.states import FINISHED_JOBS, DriveState
from agent.station.intake import choose
from agent.station.sentences import sentence_of

Work = Callable[[Catalog, JobName, SerialNumber], Coroutine[Any, Any, Job]]

job_option = click.option(
    "--job", "job_name", metavar="JOB", help="Needed if several jobs specify the drive."
)


@click.group()
def drive() -> None:
    """Look at drives, and record what became of them."""


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


@drive.command()
@click.argument("serial")
@job_option
@note_option
@json_option
@pass_context
def receive(context: Context, serial: str, job_name: str | None, note: str, as_json: bool) -> None:
    """Record that a drive arrived.

    One that the job of its box (--job) does not specify is an extra drive: it is written down with the job it
    came with, and goes back with it.
    """
    parsed = SerialNumber.parse(serial)
    came_with = JobName.parse(job_name) if job_name is not None else None

    async def go(catalog: Catalog) -> Job | None:
        found = [
            job for job, _ in await catalog.find_drive(parsed) if job.name == came_with or came_with is None
        ]
        if came_with is not None and not found:
            await catalog.note_extra(parsed, came_with=came_with, who=operator(), note=note)
            return None
        job = await _only_job(catalog, parsed, came_with)
        return await catalog.receive_drive(job, parsed, who=operator(), note=note)

    job = context.with_catalog(go)
    if job is None:
        said = f"drive {parsed} is an extra drive: it came with job {came_with}, and goes back with it"
        _say_of_extra(parsed, said, as_json)
    else:
        _say(job, parsed, as_json)


@drive.command(name="never-received")
@click.argument("serial")
@job_option
@note_option
@json_option
@pass_context
def never_received(context: Context, serial: str, job_name: str | None, note: str, as_json: bool) -> None:
    """Record that a specified drive was not in the box: its job goes on without it."""

    async def go(catalog: Catalog, job: JobName, drive: SerialNumber) -> Job:
        return await catalog.miss_drive(job, drive, who=operator(), note=note)

    _move(context, serial, job_name, go, as_json)


@drive.command(name="ship-back")
@click.argument("serial")
@job_option
@note_option
@json_option
@pass_context
def ship_back(context: Context, serial: str, job_name: str | None, note: str, as_json: bool) -> None:
    """Record that a processed drive, or an extra one, was shipped back."""
    parsed = SerialNumber.parse(serial)

    async def returned(catalog: Catalog) -> bool:
        here = [extra for extra in await catalog.extras() if extra.returned is None]
        if job_name is not None or all(extra.serial != parsed for extra in here):
            return False
        await catalog.return_extra(parsed, who=operator(), note=note)
        return True

    async def go(catalog: Catalog, job: JobName, drive: SerialNumber) -> Job:
        return await catalog.ship_back_drive(job, drive, who=operator(), note=note)

    if context.with_catalog(returned):
        _say_of_extra(parsed, f"extra drive {parsed} is given back", as_json)
    else:
        _move(context, serial, job_name, go, as_json)


@drive.command()
@click.argument("serial")
@job_option
@reason_option
@json_option
@pass_context
def fault(context: Context, serial: str, job_name: str | None, note: str, as_json: bool) -> None:
    """Mark a drive Faulted: a transfer of it ends, and it is left alone until `drive resolve`."""

    async def go(catalog: Catalog, job: JobName, drive: SerialNumber) -> Job:
        return await catalog.fault_drive(job, drive, who=operator(), note=note)

    _move(context, serial, job_name, go, as_json)


@drive.command()
@click.argument("serial")
@job_option
@click.option("--give-up", is_flag=True, help="End it without a copy instead: it cannot be mended.")
@reason_option
@json_option
@pass_context
def resolve(
    context: Context, serial: str, job_name: str | None, give_up: bool, note: str, as_json: bool
) -> None:
    """Release a Faulted drive, after its cause was mended."""

    async def go(catalog: Catalog, job: JobName, drive: SerialNumber) -> Job:
        return await catalog.resolve_drive(job, drive, who=operator(), note=note, give_up=give_up)

    _move(context, serial, job_name, go, as_json)


def _move(context: Context, serial: str, job_name: str | None, work: Work, as_json: bool) -> None:
    parsed = SerialNumber.parse(serial)
    asked = JobName.parse(job_name) if job_name is not None else None

    async def go(catalog: Catalog) -> Job:
        return await work(catalog, await _only_job(catalog, parsed, asked), parsed)

    _say(context.with_catalog(go), parsed, as_json)


async def _only_job(catalog: Catalog, serial: SerialNumber, asked: JobName | None) -> JobName:
    """Raises SerialNotSpecified when it is not clear which one is meant."""
    found = [job for job, _ in await catalog.find_drive(serial) if asked in (None, job.name)]
    names = [job.name for job in found if job.state not in FINISHED_JOBS] or [job.name for job in found]
    if len(names) != 1:
        told = ", ".join(map(str, names)) or "none"
        raise SerialNotSpecified(f"drive {serial} is to be in one job; found: {told}")
    return names[0]


def _say(job: Job, serial: SerialNumber, as_json: bool) -> None:
    if as_json:
        print_json(job_to_json(job))
    else:
        click.echo(f"drive {serial} is {job.drive(serial).state}; job {job.name} is {job.state}")


def _say_of_extra(serial: SerialNumber, said: str, as_json: bool) -> None:
    if as_json:
        print_json({"serial": serial.shown, "extra": True, "note": said})
    else:
        click.echo(said)


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
    rows = [await _row(catalog, job, drive, bays.get(drive.serial)) for job, drive in listed]
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
    return rows + [_extra(extra) for extra in await catalog.extras() if _is_put_aside(extra, seen)]


def _is_put_aside(extra: Extra, attached: set[SerialNumber]) -> bool:
    """It is here and in no bay."""
    return extra.returned is None and extra.serial not in attached


def _extra(extra: Extra) -> dict[str, Any]:
    came_with = f"came with job {extra.came_with}; " if extra.came_with is not None else ""
    return {
        "serial": extra.serial.shown,
        "bay": None,
        "job": None,
        "state": None,
        "percentComplete": None,
        "note": f"{came_with}here since {extra.seen:%Y-%m-%d}, to be returned",
    }


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
        why = error.line()
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


async def _row(catalog: Catalog, job: Job, drive: Drive, bay: str | None) -> dict[str, Any]:
    events = await catalog.drive_history(drive.serial)
    said = moving(sentence_of(job, drive, events, is_in_bay=bay is not None), drive)
    return {
        "serial": drive.serial.shown,
        "bay": bay,
        "job": str(job.name),
        "state": drive.state,
        "percentComplete": drive.percent_complete,
        "copyStatus": drive.copy_status,
        "note": said.line(),
        "since": said.since.isoformat() if said.since is not None else None,
    }
