"""``ingest-agent doctor``: is this station fit to take a drive."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from agent.cli.context import Context, console, json_option, pass_context, print_json
from agent.errors import ConfigInvalid

if TYPE_CHECKING:
    from agent.config import Settings
    from agent.station.preflight.finding import Finding

COLOURS = {"Passed": "green", "Warning": "yellow", "Failed": "red", "Skipped": "dim"}
UNFIT = 5


@click.command()
@json_option
@pass_context
def doctor(context: Context, as_json: bool) -> None:
    """Check this station: devices, programs, clock, disk, credential, store, kernel.

    Each check says Passed, Warning, Failed or Skipped, and what to do. The exit code is 0 unless one
    failed, else 5. Nothing is changed, but for the container of the logs, which is made in the store.
    """
    found = asyncio.run(_findings(context))
    if as_json:
        rows = [
            {"check": one.check, "outcome": one.outcome, "detail": one.detail, "fix": one.fix}
            for one in found
        ]
        print_json({"value": rows})
    else:
        _show(found)
    if any(one.outcome == "Failed" for one in found):
        raise click.exceptions.Exit(UNFIT)


async def _findings(context: Context) -> list[Finding]:
    from agent.station.preflight import place, store
    from agent.station.preflight.finding import failed, passed, skipped
    from agent.station.preflight.machine import Machine

    try:
        settings: Settings | None = context.settings
    except ConfigInvalid as error:
        settings = None
        found = [failed("settings", error.detail, error.next_step)]
    else:
        found = [passed("settings", "they are read")]
    found += Machine().checks(uses_udev=settings is not None and settings.devices.udev)
    if settings is None:
        return [*found, skipped("store", "the settings do not tell where it is")]
    folder = settings.state_dir
    found += [place.state_folder(folder), place.state_space(folder), place.catalog_key(settings.catalog_key)]
    if settings.catalog.url is not None:
        from agent.station.preflight.shared import catalog_server

        found.append(await asyncio.to_thread(catalog_server, settings.catalog))
    try:
        settings = context.reload()
    except ConfigInvalid as error:
        return [*found, *_without_credential(error)]
    now = datetime.now(UTC)
    found += [place.credential_file(settings, os.environ), place.credential(settings, now)]
    return [*found, *[one async for one in store.checks(settings, now)]]


CREDENTIAL_OF_THE_SERVICE = Path("/etc/credstore/drive-ingest.store")


def _without_credential(error: ConfigInvalid) -> list[Finding]:
    """None can be read here; if the settings name none, the service manager may have one for the service."""
    from agent.config.store import NOT_NAMED
    from agent.station.preflight.finding import failed, skipped

    if error.detail != NOT_NAMED or os.access("/etc/credstore", os.R_OK):
        return [failed("credential", error.detail, error.next_step)]
    return [
        skipped(
            "credential",
            f"only the service is given it, if it is in {CREDENTIAL_OF_THE_SERVICE}",
            "as root: systemd-run --pipe --wait --uid=drive-ingest -p SupplementaryGroups=disk "
            "-p LoadCredential=store:drive-ingest.store ingest-agent doctor",
        )
    ]


def _show(found: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("check", "outcome", "what was found"):
        table.add_column(name, overflow="fold")
    for one in found:
        told = Text(one.detail)
        if one.fix and one.outcome != "Passed":
            told.append(f"\n→ {one.fix}", style="bold")
        table.add_row(Text(one.check), Text(one.outcome, style=COLOURS[one.outcome]), told)
    console().print(table)
    counts = Counter(str(one.outcome) for one in found)
    click.echo(", ".join(f"{counts[name]} {name}" for name in COLOURS))
