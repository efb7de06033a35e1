"""``ingest-agent notify``: are others told, and what they could not be told."""

from __future__ import annotations

import asyncio
import platform
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from agent.cli.context import Context, console, json_option, pass_context, print_json
from agent.config.notify import Hook
from agent.errors import ConfigInvalid, MalformedInput

if TYPE_CHECKING:
    from agent.station.notices.outbox import Kept, Outbox

EXIT_NOT_DELIVERED = 6


@click.group()
def notify() -> None:
    """Look after the notifications that the settings ask for."""


@notify.command()
@click.argument("name", required=False)
@json_option
@pass_context
def test(context: Context, name: str | None, as_json: bool) -> None:
    """Send a test to the hook NAME, or to all, at once and once.

    Exit code 0: all have it. Exit code 6: one has not; the line says why.
    """
    hooks = [hook for hook in context.settings.notify.hooks if name in (None, hook.name)]
    if not hooks:
        raise ConfigInvalid(f"there is no hook {name}" if name else "no [[notify.hook]] is configured")
    told = asyncio.run(_test(hooks))
    if as_json:
        print_json({"value": [{"hook": hook, "delivered": not why, "why": why} for hook, why in told]})
    else:
        for hook, why in told:
            click.echo(f"{hook}: {why or 'delivered'}")
    if any(why for _, why in told):
        raise click.exceptions.Exit(EXIT_NOT_DELIVERED)


async def _test(hooks: list[Hook]) -> list[tuple[str, str]]:
    from agent.station.notices.letters import trial
    from agent.station.notices.sending import send

    async def one(hook: Hook) -> tuple[str, str]:
        now = datetime.now(UTC)
        letter = trial(hook, platform.node(), now, secrets.token_hex(8))
        outcome = await send(hook, letter.message, letter.body, now)
        return hook.name, outcome.why

    return list(await asyncio.gather(*map(one, hooks)))


@notify.command(name="list")
@click.option("--all", "waiting", is_flag=True, help="Also those that are still tried.")
@json_option
@pass_context
def list_letters(context: Context, waiting: bool, as_json: bool) -> None:
    """List the notifications that were given up."""
    found = _outbox(context).letters(waiting=waiting)
    if as_json:
        print_json({"value": [_shown(one) for one in found]})
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("id", "hook", "type", "since (UTC)", "tries", "state", "why"):
        table.add_column(name, overflow="fold")
    for one in found:
        state = "waits" if one.dead is None else "given up"
        since = f"{datetime.fromtimestamp(one.begun, UTC):%Y-%m-%d %H:%M}"
        table.add_row(str(one.id), one.hook, one.type, since, str(one.tries), state, one.why)
    console().print(table if found else "none")


@notify.command()
@click.argument("numbers", nargs=-1, type=int, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@json_option
@pass_context
def retry(context: Context, numbers: tuple[int, ...], everything: bool, as_json: bool) -> None:
    """Try notifications anew that were given up; a running station sends them within seconds."""
    chosen = _chosen(numbers, everything)
    done = _outbox(context).retry(chosen, datetime.now(UTC).timestamp())
    _tell(done, chosen, "tried anew", as_json)


@notify.command()
@click.argument("numbers", nargs=-1, type=int, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@json_option
@pass_context
def drop(context: Context, numbers: tuple[int, ...], everything: bool, as_json: bool) -> None:
    """Forget notifications that were given up."""
    chosen = _chosen(numbers, everything)
    _tell(_outbox(context).drop(chosen), chosen, "dropped", as_json)


def _outbox(context: Context) -> Outbox:
    from agent.station.notices.outbox import outbox_of

    return outbox_of(context.settings.state_dir)


def _chosen(numbers: tuple[int, ...], everything: bool) -> list[int] | None:
    if everything == bool(numbers):
        raise MalformedInput("say which by their ids, or --all")
    return None if everything else sorted(set(numbers))


def _tell(done: int, chosen: list[int] | None, what: str, as_json: bool) -> None:
    if chosen is not None and done < len(chosen):
        raise MalformedInput(f"{done} of {len(chosen)} {what}: the others are not among those given up")
    if as_json:
        print_json({"count": done})
    else:
        click.echo(f"{done} {what}")


def _shown(one: Kept) -> dict[str, object]:
    return {
        "id": one.id,
        "hook": one.hook,
        "messageId": one.message,
        "type": one.type,
        "since": datetime.fromtimestamp(one.begun, UTC).isoformat(),
        "tries": one.tries,
        "givenUp": None if one.dead is None else datetime.fromtimestamp(one.dead, UTC).isoformat(),
        "why": one.why,
    }
