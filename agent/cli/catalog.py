"""``ingest-agent catalog``: copies of the catalog, and putting one back."""

from __future__ import annotations

import asyncio
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.context import Context, json_option, operator, pass_context, place_of, print_json
from agent.config import Settings
from agent.errors import ConfigInvalid
from agent.memory import keep_to_ourselves

if TYPE_CHECKING:
    from agent.catalog.backup import Backup
    from agent.catalog.rotation import Author

FINDINGS = 3


@click.group()
def catalog() -> None:
    """Back up the catalog of jobs, and restore it."""
    keep_to_ourselves()


@catalog.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@pass_context
def backup(context: Context, file: Path, as_json: bool) -> None:
    """Copy the catalog to FILE, also while the station runs.

    BitLocker keys in it are sealed: it is of use with the key file of this station only, which is not in it
    and is best kept elsewhere. What is printed tells which key that is (`keys show`). The copy is checked
    before it gets its name; a file that is there is never replaced. Exit code 3: it is made, and its history
    is broken.
    """
    from agent.catalog.backup import back_up

    settings = context.settings
    found = asyncio.run(back_up(_file(settings), settings.catalog_key, file.absolute()))
    if as_json:
        print_json({"file": str(file), **_to_json(found)})
    else:
        click.echo(f"{file}: {_line(found)}")
        click.echo(f"it needs key {found.key_id}, now in {settings.catalog_key}")
    if found.check.broken is not None:
        if not as_json:
            click.echo(f"its history is broken: {found.check.broken}", err=True)
        raise click.exceptions.Exit(FINDINGS)


@catalog.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="The key that FILE needs, if it is not the station's: what is in it is sealed anew with that.",
)
@json_option
@pass_context
def restore(context: Context, file: Path, key_file: Path | None, as_json: bool) -> None:
    """Put the backup FILE in the place of the catalog; no station and no command may use it meanwhile.

    First FILE is checked: its pages, its schema (an older one is brought up to date), its key, and its
    history up to the signed head. The catalog of before is kept beside the new one. That it was restored
    stands in the history, which goes on from where the backup was made: heads noted later are not in it.
    """
    from agent.catalog.backup import restore as put_back

    settings, when = context.settings, author()
    done = asyncio.run(
        put_back(_file(settings), settings.catalog_key, file.absolute(), when, key_of_backup=key_file)
    )
    aside = str(done.aside) if done.aside is not None else None
    if as_json:
        print_json({"file": str(file), **_to_json(done.backup), "aside": aside})
        return
    click.echo(f"restored: {_line(done.backup)}")
    if aside is not None:
        click.echo(f"the catalog of before is {aside}")


def author() -> Author:
    """Of what this command does."""
    from agent.catalog.rotation import Author

    return Author(operator(), f"command on {platform.node()}", datetime.now(UTC))


def _file(settings: Settings) -> Path:
    place = place_of(settings)
    if not isinstance(place, Path):
        raise ConfigInvalid(
            f"the catalog is a database of PostgreSQL, {place.shown}: use its own pg_dump and pg_restore"
        )
    return place


def _line(found: Backup) -> str:
    return f"{found.jobs} jobs, {found.drives} drives, {found.check.events} events, head {found.check.head}"


def _to_json(found: Backup) -> dict[str, object]:
    return {
        "jobs": found.jobs,
        "drives": found.drives,
        "events": found.check.events,
        "head": str(found.check.head),
        "broken": found.check.broken,
        "keyId": found.key_id,
    }
