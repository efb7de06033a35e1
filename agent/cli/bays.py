"""``ingest-agent bays``: where drives are put in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.context import Context, console, json_option, pass_context, print_json
from agent.cli.occupancy import look
from agent.devices.rules import bay_rules
from agent.errors import ConfigInvalid, MalformedInput
from agent.model.printable import printable

if TYPE_CHECKING:
    from agent.config import Settings


@click.command()
@click.option("--rules", is_flag=True, help="Print udev rules that keep drives in the bays unwritten.")
@click.option("--watch", is_flag=True, help="Fill the screen with a tile a bay, and keep it up to date.")
@json_option
@pass_context
def bays(context: Context, rules: bool, watch: bool, as_json: bool) -> None:
    """Tell which bays are configured, which drives are attached where, and how they stand.

    A drive in a place that no bay is named for is shown with udev's ID_PATH, which can go into [bays]
    as it is. The rules belong into /etc/udev/rules.d/59-drive-ingest-bays.rules.
    """
    if rules:
        _check_unused(context.settings)
        click.echo(bay_rules(context.settings.bays), nl=False)
        return
    if watch:
        from agent.cli.wall import wall

        if as_json:
            raise MalformedInput("--watch is for people: --json tells the same once")
        wall(lambda: look(context))
        return
    rows = look(context)
    if as_json:
        print_json({"value": [row.to_json() for row in rows]})
        return
    out = console()
    if not rows:
        source = (
            "" if context.settings.devices.udev else "; devices.udev = true shows the drives of this machine"
        )
        out.print(f"no drive is attached, and no bay is configured{source}")
    for row in rows:
        told = (row.bay, row.serial.shown if row.serial is not None else "", row.note)
        out.print(printable("  ".join(text for text in told if text)))


def _check_unused(settings: Settings) -> None:
    """Who uses a disk could not write to it any more, under the rules. Raises ConfigInvalid."""
    try:
        # Loads libudev, which a machine that the rules are not for need not have.
        from agent.devices import udevdb, usage
    except ImportError:
        return
    for facts in udevdb.disks():
        path = next((path for path in (facts.id_path, facts.id_path_ata) if path in settings.bays), None)
        if path is not None and (user := usage.user_of(Path(facts.path))) is not None:
            raise ConfigInvalid(
                f"bay {settings.bays[path]} ({path}): {user}, and under the rules nobody could write to it; "
                "take a disk of this station out of [bays], or unmount the drive"
            )
