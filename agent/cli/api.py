"""``ingest-agent api``: serve the job API, and say who may use it over the network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import click
from rich.table import Table

from agent.api.tokens import Token, tokens_of
from agent.cli.context import Context, console, json_option, operator, pass_context, print_json
from agent.cli.signals import Stopper
from agent.config import Settings
from agent.errors import ConfigInvalid
from agent.model.roles import Role
from agent.telemetry import Log, open_log

if TYPE_CHECKING:
    from agent.catalog import Catalog


@click.group()
def api() -> None:
    """Serve the job API, and make tokens for it."""


@asynccontextmanager
async def served(catalog: Catalog, settings: Settings, log: Log) -> AsyncIterator[None]:
    """The API at the places of the settings, if there are any. Raises ConfigInvalid."""
    if settings.api.socket is None and settings.api.tcp is None:
        yield
        return
    # A web server that only some commands need.
    from agent.api.serving import serving

    async with serving(catalog, settings.api, tokens_of(settings.state_dir), log):
        yield


@api.command()
@click.option("--json", "as_json", is_flag=True, help="Write the log as JSON lines.")
@pass_context
def serve(context: Context, as_json: bool) -> None:
    """Serve the API alone, on a machine without bays, until SIGTERM (then exit code 0).

    `run` serves it too. It is at `api.socket` for who may open that, and at `api.listen` over TLS for
    who has a token.
    """
    settings = context.settings.api
    if settings.socket is None and settings.tcp is None:
        raise ConfigInvalid("api.socket is empty and api.listen is not set: the API has no place")
    asyncio.run(_serve(context, as_json))


async def _serve(context: Context, as_json: bool) -> None:
    log = open_log(as_json=as_json)
    stopped = asyncio.Event()
    Stopper(stopped.set)
    async with context.catalog() as catalog, served(catalog, context.settings, log):
        await stopped.wait()


@api.group()
def token() -> None:
    """Make, revoke and list bearer tokens."""


@token.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="operator: everything; technician: handle drives, see neither keys nor content; reader: look.",
)
@click.option("--days", type=int, metavar="N", help="How long it is valid. [default: until it is revoked]")
@json_option
@pass_context
def create(context: Context, name: str, role: str, days: int | None, as_json: bool) -> None:
    """Make the token NAME and print it, once: only its hash is kept."""
    made, secret = tokens_of(context.settings.state_dir).create(name, Role(role), days)
    _audit(context, "api.token.created", made)
    if as_json:
        print_json({**_shown(made), "token": secret.reveal()})
    else:
        click.echo(secret.reveal())


@token.command()
@click.argument("name")
@json_option
@pass_context
def revoke(context: Context, name: str, as_json: bool) -> None:
    """Revoke the token NAME (or of that id); it is refused from the next request on."""
    revoked = tokens_of(context.settings.state_dir).revoke(name)
    _audit(context, "api.token.revoked", revoked)
    if as_json:
        print_json(_shown(revoked))
    else:
        click.echo(f"token {revoked.name} ({revoked.id}) is revoked")


@token.command(name="list")
@json_option
@pass_context
def list_tokens(context: Context, as_json: bool) -> None:
    """List all tokens, without their secrets, which nobody knows."""
    found = tokens_of(context.settings.state_dir).tokens()
    if as_json:
        print_json({"value": [_shown(one) for one in found]})
        return
    table = Table(box=None, pad_edge=False)
    for name in ("id", "name", "role", "created (UTC)", "expires", "revoked"):
        table.add_column(name, overflow="fold")
    for one in found:
        table.add_row(one.id, one.name, one.role, *(map(_day, (one.created, one.expires, one.revoked))))
    console().print(table if found else "no tokens yet; make one with `ingest-agent api token create`")


def _audit(context: Context, what: str, told: Token) -> None:
    detail = f"{told.name} ({told.id}), {told.role}"
    context.with_catalog(lambda catalog: catalog.record_event(what, who=operator(), detail=detail))


def _shown(told: Token) -> dict[str, str | None]:
    return {
        "id": told.id,
        "name": told.name,
        "role": told.role,
        "created": told.created.isoformat(),
        "expires": None if told.expires is None else told.expires.isoformat(),
        "revoked": None if told.revoked is None else told.revoked.isoformat(),
    }


def _day(at: datetime | None) -> str:
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M}"
