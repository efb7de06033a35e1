"""``ingest-agent history``: is it what was written?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli.context import Context, json_option, pass_context, print_json
from agent.cli.failures import object_of
from agent.errors import Side

if TYPE_CHECKING:
    from agent.catalog import HistoryCheck

EXIT_BROKEN = 5
NEXT_STEP = "Keep the state directory as it is, and compare it with a backup and with heads noted in the log."


@click.group()
def history() -> None:
    """Check the history of all jobs and drives."""


@history.command()
@click.option(
    "--head",
    "noted",
    metavar="N:HASH",
    help="A head that this command printed earlier: the history must still hold it.",
)
@json_option
@pass_context
def verify(context: Context, noted: str | None, as_json: bool) -> None:
    """Follow the chain of the history from its first event to its last.

    Every event carries the hash of the one before it, and the last one is signed with the key of the catalog.
    Exit code 0: nothing was changed, removed, inserted or put elsewhere. Exit code 5: the first link that
    does not hold is named.

    Who has the catalog and its key can write another history. So note the head that is printed elsewhere (the
    station's log has one a day), and check with --head that the history still holds it.
    """
    from agent.catalog import Head

    expected = Head.parse(noted) if noted is not None else None
    check = context.with_catalog(lambda catalog: catalog.verify_history(expected))
    if as_json:
        print_json(_to_json(check))
    elif check.broken is None:
        click.echo(f"{check.events} events, unbroken")
        if check.chained_later:
            click.echo(
                f"the first {check.chained_later} are of an older version: what was done to them before they "
                "were chained cannot be told"
            )
        click.echo(f"head {check.head}")
    if check.broken is not None:
        said = f"the history is broken: {check.broken}"
        as_object = object_of("HistoryBroken", Side.STATION, said, NEXT_STEP)
        click.echo(as_object if as_json else f"error: {said} [station]. {NEXT_STEP}", err=True)
        raise click.exceptions.Exit(EXIT_BROKEN)


def _to_json(check: HistoryCheck) -> dict[str, object]:
    return {
        "events": check.events,
        "head": str(check.head),
        "broken": check.broken,
        "chainedLater": check.chained_later,
    }
