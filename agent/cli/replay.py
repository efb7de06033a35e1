"""``ingest-agent replay``: one image through the station's own code."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from agent.cli.context import Context, console, json_option, pass_context, print_json
from agent.cli.screen import drive_table
from agent.cli.signals import Stopper
from agent.devices.image import ImageEntry, ImageSource, open_read_only
from agent.devices.source import Device
from agent.errors import DeviceUnavailable, IngestError
from agent.formats.jobrequest import job_to_json
from agent.model.identity import SerialNumber
from agent.model.job import Job
from agent.model.states import DriveState
from agent.station.intake import choose
from agent.station.visit import Visit
from agent.telemetry import silent_log

FINDINGS = 3
TOLD_EVERY_PERCENT = 10


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
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
        with _Screen(quiet=as_json) as screen:
            visit = Visit(
                catalog,
                source,
                context.settings,
                silent_log(),
                device,
                job,
                patient=False,
                watch=screen.take,
            )
            stopper = Stopper(visit.stop)
            await visit.run()
        job = await catalog.job(job.name)
    _show(job, device, as_json)
    return _exit_code(job, device, visit, stopper)


async def _device(source: ImageSource, entry: ImageEntry) -> Device:
    attached = await source.devices()
    if attached:
        return attached[0]
    os.close(open_read_only(entry.path))
    raise DeviceUnavailable(f"{entry.path} is empty")


def _show(job: Job, device: Device, as_json: bool) -> None:
    if as_json:
        print_json(job_to_json(job))
        return
    out = console()
    out.print(f"job {job.name}: [bold]{job.state}[/bold], {job.percent_complete} %")
    out.print(drive_table(job.drive(device.serial)))


def _exit_code(job: Job, device: Device, visit: Visit, stopper: Stopper) -> int:
    if visit.outcome is not None:
        return _tell(visit.outcome)
    if visit.interrupted:
        _say("interrupted; the place is kept: run the same command again to go on")
        return stopper.exit_code or 1
    return 0 if job.drive(device.serial).state is DriveState.COMPLETED else FINDINGS


def _tell(error: IngestError) -> int:
    _say(f"error: {error.line()}")
    return error.exit_code


def _say(line: str) -> None:
    click.echo(line, err=True)


_STATES = {
    "dirty": "the volume is dirty: Windows did not finish writing to it; it is read as it lies",
    "hibernated": "Windows is hibernated on this volume: what it had not written yet is not on the drive",
}


class _Screen:
    """Progress on standard error: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._told = -TOLD_EVERY_PERCENT
        self._bar: Progress | None = None
        if sys.stderr.isatty() and not quiet:
            from rich.console import Console

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:3.0f} %"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("opening", total=100)

    def __enter__(self) -> _Screen:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def take(self, event: Mapping[str, Any]) -> None:
        """An event of the uploader."""
        if self._quiet:
            return
        match event["event"]:
            case "opened":
                self._line(f"opened: {event['choice']}; {event['protection']}; volume {event['volume']}")
                self._line(f"reader: {event['confinement']}")
                for state in ("dirty", "hibernated"):
                    if event[state]:
                        self._line(f"warning: {_STATES[state]}")
            case "manifest.warning" | "log.kept" | "waiting" | "drive.unreadable":
                self._line(f"{event['event']}: {event['detail']}")
            case "progress":
                self._progress(event)

    def _progress(self, event: Mapping[str, Any]) -> None:
        tally = event["tally"]
        accounted = sum(tally[part][0] for part in ("done", "failed", "skipped"))
        text = f"{accounted} of {tally['discovered'][0]} files"
        if event.get("waiting"):
            text += f", waiting: {event['waiting']}"
        if self._bar is not None:
            self._bar.update(self._task, completed=event["percent"], description=text)
        elif event["percent"] >= self._told + TOLD_EVERY_PERCENT:
            self._told = event["percent"]
            self._line(f"{event['percent']:3d} %  {text}")

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            _say(text)
