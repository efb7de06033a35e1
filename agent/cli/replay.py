"""``ingest-agent replay``: one image through the station's own code."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click

from agent.cli.context import Context, json_option, pass_context, print_json
from agent.cli.failures import object_of, told
from agent.cli.screen import show_drive, show_state
from agent.cli.signals import Stopper
from agent.cli.watching import Watching
from agent.devices.image import ImageEntry, ImageSource, open_read_only
from agent.devices.source import Device
from agent.errors import DeviceUnavailable, Side
from agent.formats.jobrequest import job_to_json
from agent.model.identity import SerialNumber
from agent.model.job import Job
from agent.model.states import DriveState
from agent.station.intake import choose
from agent.station.lease import take_lease
from agent.station.sentences import sentence_of
from agent.station.visit import Visit
from agent.telemetry import SilentLog

FINDINGS = 3


@click.command()
@click.argument("image", type=click.Path(path_type=Path, readable=False))
@click.option("--serial", required=True, metavar="SERIAL", help="The serial that the image stands for.")
@click.option(
    "--sector-size", type=click.Choice(["512", "4096"]), default="512", help="Of an image file, in bytes."
)
@click.option(
    "--mapfile",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The mapfile of an image by GNU ddrescue: its holes fail the files on them, and are no zeros.",
)
@json_option
@pass_context
def replay(
    context: Context, image: Path, serial: str, sector_size: str, mapfile: Path | None, as_json: bool
) -> None:
    """Run IMAGE (a disk image, a partition or a loop device) as if the drive SERIAL were plugged in.

    A job must specify the serial. Interrupted or cut off, run it again: it goes on where it stopped.
    """
    context.check_store()
    entry = ImageEntry(image, SerialNumber.parse(serial), "replay", int(sector_size), mapfile)
    code = asyncio.run(_replay(context, entry, as_json))
    sys.exit(code) if code else None


async def _replay(context: Context, entry: ImageEntry, as_json: bool) -> int:
    source = ImageSource([entry])
    device = await _device(source, entry)
    async with context.catalog() as catalog:
        job, _ = choose(device.serial, await catalog.find_drive(device.serial), 1)
        job, books, lease = await take_lease(
            catalog, context.settings.state_dir, job, device.serial, SilentLog()
        )
        with Watching(quiet=as_json) as screen:
            visit = Visit(
                books,
                source,
                context.settings,
                SilentLog(),
                device,
                job,
                patient=False,
                watch=screen.take,
                lease=lease,
            )
            stopper = Stopper(visit.stop)
            await visit.run()
        job = await catalog.job(job.name)
        drive, events = job.drive(device.serial), await catalog.drive_history(device.serial)
    if as_json:
        print_json(job_to_json(job))
    else:
        show_state(job)
        show_drive(job, drive, sentence_of(job, drive, events, is_in_bay=True))
    return _exit_code(job, device, visit, stopper, as_json)


async def _device(source: ImageSource, entry: ImageEntry) -> Device:
    attached = await source.devices()
    if attached:
        return attached[0]
    os.close(open_read_only(entry.path))
    raise DeviceUnavailable(f"{entry.path} is empty")


def _exit_code(job: Job, device: Device, visit: Visit, stopper: Stopper, as_json: bool) -> int:
    if visit.outcome is not None:
        error = visit.outcome
        click.echo(told(error) if as_json else f"error: {error.line()}", err=True)
        return error.exit_code
    if visit.interrupted:
        said, next_step = "interrupted; the place is kept", "run the same command again to go on"
        as_object = object_of("Interrupted", Side.STATION, said, next_step)
        click.echo(as_object if as_json else f"{said}: {next_step}", err=True)
        return stopper.exit_code or 1
    return 0 if job.drive(device.serial).state is DriveState.COMPLETED else FINDINGS
