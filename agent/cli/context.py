"""What the verbs share: settings, the catalog, and how results are shown."""

from __future__ import annotations

import asyncio
import codecs
import getpass
import json
import platform
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agent.config import Settings
from agent.errors import MalformedInput
from agent.memory import keep_to_ourselves
from agent.model.keys import Credential, parse_credential

# Stores and the catalog bring an SDK and a database engine along, and a screen is not drawn by all: to load
# them takes longer than what the commands that need none of them do themselves.
if TYPE_CHECKING:
    from rich.console import Console

    from agent.catalog.catalog import Catalog
    from agent.catalog.server import Server

T = TypeVar("T")

MAX_KEY_BYTES = 4096

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


class Context:
    """Made once a command; settings are read when they are first asked for."""

    def __init__(self, load: Callable[[bool], Settings]) -> None:
        """``load`` reads the settings, with the store's credential or without."""
        self._load = load

    @cached_property
    def settings(self) -> Settings:
        """Without the store's credential, until ``check_store``. Raises ConfigInvalid."""
        return self._load(False)

    def reload(self) -> Settings:
        """Read them anew, with the credential, for a station that runs on. Raises ConfigInvalid."""
        return self._load(True)

    def check_store(self) -> None:
        """A store that cannot work is found before a drive is touched, and ``settings`` gets its credential.

        Raises ConfigInvalid.
        """
        from agent.blobs.opening import check_store

        keep_to_ourselves()
        self.settings = self.reload()
        store = self.settings.store
        check_store(store.kind, store.address, store.credential, store.identity)

    @asynccontextmanager
    async def catalog(self) -> AsyncIterator[Catalog]:
        """The catalog of this station."""
        from agent.catalog.catalog import open_catalog

        keep_to_ourselves()
        settings, origin = self.settings, f"command on {platform.node()}"
        async with open_catalog(place_of(settings), settings.catalog_key, origin=origin) as catalog:
            yield catalog

    def with_catalog(self, work: Callable[[Catalog], Coroutine[Any, Any, T]]) -> T:
        """Run one piece of work on the catalog."""

        async def go() -> T:
            async with self.catalog() as catalog:
                return await work(catalog)

        return asyncio.run(go())


def place_of(settings: Settings) -> Path | Server:
    """Where the catalog is. Raises ConfigInvalid, and StateUnusable."""
    shared = settings.catalog
    if shared.url is None:
        return settings.state_dir / "catalog.sqlite"
    from agent.catalog.server import Server, holder_of

    holder = holder_of(settings.state_dir)
    return Server(shared.url, shared.station, holder, float(shared.lease_s), shared.password())


pass_context = click.pass_obj


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def console() -> Console:
    """Standard output as a screen; plain and wide enough when it is none.

    Brackets and colons in what drives and people called things are no markup.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() else 160
    return Console(width=width, highlight=False, markup=False, emoji=False)


def read_key(source: Path) -> Credential:
    """A BitLocker key from a file, or from standard input with ``-``; at a terminal it is asked for.

    Text is UTF-8, or UTF-16 with a byte order mark. Raises MalformedInput.
    """
    keep_to_ourselves()
    data = _key_bytes(source)
    if len(data) > MAX_KEY_BYTES:
        raise MalformedInput(f"the key has more than {MAX_KEY_BYTES} bytes; it is no BitLocker key")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            data = data.decode("utf-16").encode("utf-8")
        except UnicodeError:
            raise MalformedInput("the key begins as UTF-16 text and is none") from None
    return parse_credential(data)


def _key_bytes(source: Path) -> bytes:
    if str(source) == "-":
        if sys.stdin is None:
            raise MalformedInput("the key is to come from standard input, which is closed")
        if sys.stdin.isatty():
            return getpass.getpass("BitLocker key: ").encode("utf-8", "surrogateescape")
        return sys.stdin.buffer.read(MAX_KEY_BYTES + 1)
    try:
        with source.open("rb") as file:
            return file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise MalformedInput(f"the key file {source} cannot be read: {error.strerror}") from None


def operator() -> str:
    """Who gives the command, for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"
