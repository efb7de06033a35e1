"""``ingest-agent bays``: where drives are put in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from agent.cli.context import Context, console, json_option, pass_context, print_json
from agent.cli.screen import moving
from agent.cli.sources import configured_source
from agent.devices.rules import bay_rules
from agent.errors import PolicyError, StateUnusable
from agent.model.identity import SerialNumber
from agent.model.job import Drive, Job
from agent.model.printable import printable
from agent.model.states import DriveState
from agent.station.intake import choose

if TYPE_CHECKING:
    from agent.catalog import Catalog
    from agent.config import Settings


@click.command()
@click.option("--rules", is_flag=True, help="Print udev rules that keep drives in the bays unwritten.")
@json_option
@pass_context
def bays(context: Context, rules: bool, as_json: bool) -> None:
    """Tell which bays are configured, which drives are attached where, and how they stand.

    A drive in a place that no bay is named for is shown with udev's ID_PATH, which can go into [bays]
    as it is. The rules belong into /etc/udev/rules.d/59-drive-ingest-bays.rules.
    """
    settings = context.settings
    labels = settings.bays
    if rules:
        click.echo(bay_rules(labels), nl=False)
        return
    rows = asyncio.run(_rows(settings))
    if settings.catalog.url is not None or (settings.state_dir / "catalog.sqlite").exists():
        with suppress(StateUnusable):
            context.with_catalog(lambda catalog: _say_what_they_do(catalog, rows))
    for row in _occupied(rows):
        row["note"] = row["note"] or _why_alone(SerialNumber.parse(row["serial"]), (), rows)
    if as_json:
        print_json({"value": rows})
        return
    out = console()
    if not rows:
        source = (
            "" if context.settings.devices.udev else "; devices.udev = true shows the drives of this machine"
        )
        out.print(f"no drive is attached, and no bay is configured{source}")
    for row in rows:
        out.print(printable("  ".join(str(row[name]) for name in ("bay", "serial", "note") if row[name])))


async def _say_what_they_do(catalog: Catalog, rows: list[dict[str, Any]]) -> None:
    """Where the drive in each bay stands; one that the station works is in use to this process."""
    from agent.station.sentences import sentence_of

    for row in _occupied(rows):
        serial = SerialNumber.parse(row["serial"])
        found = await catalog.find_drive(serial)
        if not row["note"]:
            row["note"] = _why_alone(serial, found, rows)
        for job, drive in found[:1]:
            if drive.state is DriveState.TRANSFERRING or not row["note"]:
                events = await catalog.drive_history(serial)
                said = moving(sentence_of(job, drive, events, is_in_bay=True), drive)
                row["note"] = f"{drive.state}, {drive.percent_complete} %: {said.line()}"
                row["since"] = said.since.isoformat() if said.since is not None else None


def _occupied(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (row for row in rows if row["serial"] is not None)


def _why_alone(serial: SerialNumber, found: Sequence[tuple[Job, Drive]], rows: list[dict[str, Any]]) -> str:
    """Of a drive that no job specifies, or that is here twice; what a job says of it is told otherwise."""
    count = sum(row["serial"] == serial.shown for row in rows)
    if found and count == 1:
        return ""
    try:
        choose(serial, found, count)
    except PolicyError as error:
        return error.line()
    return ""


async def _rows(settings: Settings) -> list[dict[str, Any]]:
    attached = await configured_source(settings).devices()
    rows: list[dict[str, Any]] = [
        {
            "bay": device.bay,
            "serial": device.serial.shown,
            "sizeBytes": device.size_bytes,
            "note": device.hindrance.line() if device.hindrance else "",
            "since": None,
        }
        for device in attached
    ]
    used = {device.bay for device in attached}
    empty = [label for label in settings.bays.values() if label not in used]
    rows += [
        {"bay": label, "serial": None, "sizeBytes": None, "note": "empty", "since": None} for label in empty
    ]
    return sorted(rows, key=lambda row: str(row["bay"]))
