"""``ingest-agent fleet``: which station holds which drive, where stations share a catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from agent.cli.context import Context, console, json_option, operator, pass_context, print_json
from agent.cli.job_verbs import reason_option
from agent.errors import ConfigInvalid
from agent.model.identity import SerialNumber

if TYPE_CHECKING:
    from agent.catalog.claims import ClaimShown

NO_FLEET = "catalog.url is not set: this station shares its catalog with no other"


@click.group()
@pass_context
def fleet(context: Context) -> None:
    """Look at the drives that stations hold, and release those of a dead one."""
    if context.settings.catalog.url is None:
        raise ConfigInvalid(NO_FLEET)


@fleet.command()
@json_option
@pass_context
def claims(context: Context, as_json: bool) -> None:
    """List the claims in force: drive, job, station, since when, and until when unless it is renewed."""
    rows = [_row(one) for one in context.with_catalog(lambda catalog: catalog.claims())]
    if as_json:
        print_json({"value": rows})
        return
    for row in rows:
        text = f"{row['serial']}  {row['job']}  {row['station']}  since {row['taken']}  until {row['until']}"
        console().print(text)
    if not rows:
        click.echo("no station holds a drive")


@fleet.command()
@click.argument("serial")
@reason_option
@json_option
@pass_context
def release(context: Context, serial: str, note: str, as_json: bool) -> None:
    """End the claim on a drive whose station is dead, so that another one need not wait until it runs out.

    Make sure that the station is off, or that the drive is not in it any more: one that is only cut off may
    still be writing.
    """
    parsed = SerialNumber.parse(serial)
    released = context.with_catalog(lambda catalog: catalog.release_claim(parsed, who=operator(), note=note))
    if as_json:
        print_json(_row(released))
    else:
        click.echo(f"drive {parsed} is released: station {released.station} held it for job {released.job}")


def _row(claim: ClaimShown) -> dict[str, Any]:
    return {
        "serial": claim.serial,
        "job": claim.job,
        "station": claim.station,
        "taken": claim.taken.isoformat(timespec="seconds"),
        "until": claim.until.isoformat(timespec="seconds"),
    }
