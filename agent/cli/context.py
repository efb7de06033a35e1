"""What the verbs share: settings, the catalog, and how results are shown."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from agent.blobs.opening import check_store
from agent.catalog.catalog import Catalog, open_catalog
from agent.config import Settings
from agent.errors import MalformedInput
from agent.model.keys import Credential, parse_credential

T = TypeVar("T")

MAX_KEY_BYTES = 4096

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


class Context:
    """Made once a command; settings are read when they are first asked for."""

    def __init__(self, load: Callable[[], Settings]) -> None:
        self._load = load

    @cached_property
    def settings(self) -> Settings:
        """Raises ConfigInvalid."""
        return self._load()

    def check_store(self) -> None:
        """A store that cannot work is found before a drive is touched. Raises ConfigInvalid."""
        store = self.settings.store
        check_store(store.kind, store.address, store.credential)

    @asynccontextmanager
    async def catalog(self) -> AsyncIterator[Catalog]:
        """The catalog of this station."""
        folder = self.settings.state_dir
        async with open_catalog(folder / "catalog.sqlite", folder / "catalog.key") as catalog:
            yield catalog

    def with_catalog(self, work: Callable[[Catalog], Coroutine[Any, Any, T]]) -> T:
        """Run one piece of work on the catalog."""

        async def go() -> T:
            async with self.catalog() as catalog:
                return await work(catalog)

        return asyncio.run(go())


pass_context = click.pass_obj


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def console() -> Console:
    """Standard output as a screen; plain and wide enough when it is none."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def read_key(source: Path) -> Credential:
    """A BitLocker key from a file, or from standard input with ``-``. Raises MalformedInput."""
    if str(source) == "-":
        return parse_credential(sys.stdin.buffer.read(MAX_KEY_BYTES))
    try:
        with source.open("rb") as file:
            return parse_credential(file.read(MAX_KEY_BYTES))
    except OSError as error:
        raise MalformedInput(f"the key file {source} cannot be read: {error.strerror}") from None


def operator() -> str:
    """Who gives the command, for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"
