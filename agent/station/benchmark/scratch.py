"""A place in the store for what a benchmark puts, which is gone when the benchmark ends."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from agent.blobs.crc64 import crc64
from agent.blobs.remover import Remover
from agent.blobs.store import NO_ATTRIBUTES, BlobStore
from agent.errors import IngestError, ServiceError, StoreUnreachable
from agent.model.blobs import BlobName
from agent.model.identity import ContainerName
from agent.transfer.patience import Patience

NAME = "ingest-agent-bench"
REMOVE_WITHIN_S = 120.0
AT_ONCE = 16
PERSIST_S = 20.0
"""Weather is waited for so long when something is to be removed."""


class Scratch:
    """A container of its own, or a folder of one that is there. Names are noted before they are put."""

    def __init__(
        self, store: BlobStore, remover: Remover, container: ContainerName | None, give_up_after_s: float
    ) -> None:
        """``give_up_after_s``: how long a store that does not answer is waited for before anything is put."""
        token = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
        self._store, self._remover = store, remover
        self._is_own = container is None
        self.container = container or ContainerName.parse(f"{NAME}-{token}")
        self._prefix = "" if self._is_own else f"{NAME}/{token}/"
        self._names: dict[BlobName, bool] = {}
        """Names that may be in the store, each with whether blocks may be staged and not committed."""
        self._may_be_there = False
        self._opening = Patience(give_up_after_s, asyncio.Event())
        self._patience = self._opening

    @property
    def where(self) -> str:
        """For people: the container, and the folder in it where it is not our own."""
        return f"{self.container}/{self._prefix}" if self._prefix else str(self.container)

    @property
    def is_own(self) -> bool:
        """Whether the container goes as well."""
        return self._is_own

    def name(self, path: str, *, staged: bool = False) -> BlobName:
        """The name of a blob that is about to be put, or staged in blocks."""
        name = BlobName.of(self.container, f"{self._prefix}{path}")
        self._names[name] = staged
        return name

    def committed(self, name: BlobName) -> None:
        """Its blocks are those of a blob now."""
        self._names[name] = False

    async def open(self) -> None:
        """Make the container, and show that a blob which is put there can be removed. Raises as a store."""
        self._may_be_there = True
        try:
            if self._is_own:
                await self._opening.call(lambda: self._store.ensure_container(self.container))
            first = self.name("first")
            await self._opening.call(
                lambda: self._store.put_blob(first, [], crc64([]), NO_ATTRIBUTES, replace=True)
            )
        except ServiceError:
            # The answer is no: where not even a name could be given, nothing was made.
            self._may_be_there = bool(self._is_own and self._names)
            raise
        self._patience = Patience(PERSIST_S, asyncio.Event())
        await self._remove(first)

    async def close(self) -> tuple[str, IngestError | None]:
        """Remove everything. What is left, in words, and why; empty when nothing is."""
        if not self._may_be_there:
            return "", None
        try:
            async with asyncio.timeout(REMOVE_WITHIN_S):
                if self._is_own:
                    await self._remove_container()
                else:
                    await self._remove_blobs()
        except TimeoutError:
            return self._left, StoreUnreachable(f"removing took more than {REMOVE_WITHIN_S:.0f} s")
        except IngestError as error:
            return self._left, error
        return "", None

    @property
    def _left(self) -> str:
        perhaps = "perhaps " if self._patience is self._opening else ""
        count = len(self._names)
        blobs = f"{count} blob{'' if count == 1 else 's'} below " if count else ""
        return f"{perhaps}{blobs}{'container ' if self._is_own else ''}{self.where}"

    async def _remove_container(self) -> None:
        """Who may not remove the container may still remove what is in it."""
        try:
            await self._patience.call(lambda: self._remover.remove_container(self.container))
        except IngestError:
            await self._remove_blobs()
            raise
        self._names.clear()

    async def _remove_blobs(self) -> None:
        """All that can be removed are, whatever hinders some. Raises the first trouble."""
        room = asyncio.Semaphore(AT_ONCE)

        async def remove(name: BlobName) -> None:
            async with room:
                await self._remove(name)

        found = await asyncio.gather(*map(remove, list(self._names)), return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException):
                raise each

    async def _remove(self, name: BlobName) -> None:
        """Staged blocks go when another blob takes their name; they would be kept for a week."""
        steps: list[Callable[[], Awaitable[None]]] = [lambda: self._remover.remove_blob(name)]
        if self._names[name]:
            steps.insert(0, lambda: self._store.put_blob(name, [], crc64([]), NO_ATTRIBUTES, replace=True))
        for step in steps:
            await self._patience.call(step)
        del self._names[name]
