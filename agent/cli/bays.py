"""``ingest-agent bays``: where drives are put in."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from agent.cli.context import Context, console, json_option, pass_context, print_json
from agent.cli.sources import configured_source
from agent.devices.rules import bay_rules
from agent.model.printable import printable


@click.command()
@click.option("--rules", is_flag=True, help="Print udev rules that keep drives in the bays unwritten.")
@json_option
@pass_context
def bays(context: Context, rules: bool, as_json: bool) -> None:
    """Tell which bays are configured, and which drives are attached where.

    A drive in a place that no bay is named for is shown with udev's ID_PATH, which can go into [bays]
    as it is. The rules belong into /etc/udev/rules.d/59-drive-ingest-bays.rules.
    """
    labels = context.settings.bays
    if rules:
        click.echo(bay_rules(labels), nl=False)
        return
    rows = asyncio.run(_rows(context))
    if as_json:
        print_json(rows)
        return
    out = console()
    if not rows:
        source = (
            "" if context.settings.devices.udev else "; devices.udev = true shows the drives of this machine"
        )
        out.print(f"no drive is attached, and no bay is configured{source}")
    for row in rows:
        out.print(printable("  ".join(str(row[name]) for name in ("bay", "serial", "note") if row[name])))


async def _rows(context: Context) -> list[dict[str, Any]]:
    attached = await configured_source(context.settings).devices()
    rows: list[dict[str, Any]] = [
        {
            "bay": device.bay,
            "serial": device.serial.shown,
            "sizeBytes": device.size_bytes,
            "note": device.hindrance.line() if device.hindrance else "",
        }
        for device in attached
    ]
    used = {device.bay for device in attached}
    empty = [label for label in context.settings.bays.values() if label not in used]
    rows += [{"bay": label, "serial": None, "sizeBytes": None, "note": "empty"} for label in empty]
    return sorted(rows, key=lambda row: str(row["bay"]))
