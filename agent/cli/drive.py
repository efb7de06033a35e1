"""``ingest-agent drive``: the drives of all jobs, and what is attached besides."""

from __future__ import annotations

from typing import Any

import click

from agent.catalog.catalog import Catalog
from agent.cli.context import Context, json_option, pass_context, print_json
from agent.cli.screen import event_to_json, show_drives, show_events
from agent.cli.sources import configured_source
from agent.errors import PolicyError
from agent.model.identity import SerialNumber
from agent.model.job import Drive, Job
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


@drive.command()
@click.argument("serial")
@json_option
@pass_context
def history(context: Context, serial: str, as_json: bool) -> None:
    """Tell what happened to a drive in any job and in none, oldest first."""
    events = context.with_catalog(lambda catalog: catalog.drive_history(SerialNumber.parse(serial)))
    if as_json:
        print_json({"value": [event_to_json(event) for event in events]})
    else:
        show_events(events)


async def _rows(context: Context, catalog: Catalog) -> list[dict[str, Any]]:
    attached = await configured_source(context.settings).devices()
    bays = {device.serial: device.bay for device in attached}
    counts = {serial: sum(device.serial == serial for device in attached) for serial in bays}
    listed = await catalog.list_drives()
    rows = [_row(job, drive, bays.get(drive.serial)) for job, drive in listed]
    known = {drive.serial for _, drive in listed}
    for device in attached:
        if device.serial in known and counts[device.serial] == 1:
            continue
        try:
            choose(device.serial, await catalog.find_drive(device.serial), counts[device.serial])
        except PolicyError as error:
            rows.append(
                {
                    "serial": device.serial.shown,
                    "bay": device.bay,
                    "job": None,
                    "state": None,
                    "percentComplete": None,
                    "note": error.line(),
                }
            )
    return rows


def _row(job: Job, drive: Drive, bay: str | None) -> dict[str, Any]:
    return {
        "serial": drive.serial.shown,
        "bay": bay,
        "job": str(job.name),
        "state": drive.state,
        "percentComplete": drive.percent_complete,
        "note": drive.copy_status or "",
    }
