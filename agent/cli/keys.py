"""``ingest-agent keys``: the key of the catalog, with which BitLocker keys are sealed."""

from __future__ import annotations

import asyncio

import click

from agent.cli.catalog import FINDINGS, author
from agent.cli.context import Context, json_option, pass_context, place_of, print_json
from agent.memory import keep_to_ourselves


@click.group()
def keys() -> None:
    """Look after the key with which BitLocker keys are sealed."""
    keep_to_ourselves()


@keys.command()
@json_option
@pass_context
def show(context: Context, as_json: bool) -> None:
    """Tell which key the key file holds: its id, of which the key cannot be had."""
    from agent.catalog.keybox import KeyBox

    path = context.settings.catalog_key
    key_id = KeyBox.from_file(path).key_id
    if as_json:
        print_json({"keyId": key_id, "file": str(path)})
    else:
        click.echo(f"key {key_id} in {path}")


@keys.command()
@click.option(
    "--drop-old", is_flag=True, help="Keep no copy of the old key: backups of before cannot be opened."
)
@json_option
@pass_context
def rotate(context: Context, drop_old: bool, as_json: bool) -> None:
    """Make a new key, and seal all BitLocker keys of the catalog with it.

    No station and no command may use the catalog meanwhile. Cut off at any moment, nothing is lost: the
    station finds the right one of both keys, and the same command ends what was begun. The old key is kept
    beside the new one under its id, for backups of before; remove it when none of them is left. In a fleet,
    copy the new key to the other stations before they start again.

    Exit code 3: it is done, and some keys opened with neither; they are as they were.
    """
    from agent.catalog.rotation import rotate as renew

    settings = context.settings
    done = asyncio.run(renew(place_of(settings), settings.catalog_key, author(), keep_old=not drop_old))
    kept = str(done.kept) if done.kept is not None else None
    if as_json:
        print_json(
            {
                "keyId": done.new_id,
                "file": str(settings.catalog_key),
                "oldKeyId": done.old_id,
                "oldFile": kept,
                "resealed": done.resealed,
                "damaged": done.damaged,
            }
        )
    else:
        click.echo(f"key {done.new_id} in {settings.catalog_key}: {done.resealed} drive keys sealed anew")
        click.echo(f"the old key {done.old_id} is " + (f"kept in {kept}" if kept else "gone"))
    if done.damaged:
        if not as_json:
            click.echo(f"{done.damaged} drive keys open with neither key, and are as they were", err=True)
        raise click.exceptions.Exit(FINDINGS)
