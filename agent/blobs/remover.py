"""Removes blobs that a benchmark put. Nothing else in this program removes anything from a store.

So the port ``BlobStore`` has no way to do it, and a bug of a worker cannot find one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from agent.blobs.azure_account import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Account
from agent.blobs.directory import in_thread
from agent.blobs.directory_files import DirectoryFiles
from agent.blobs.directory_layout import Layout
from agent.blobs.wire.dial import tls_context
from agent.errors import BlobNotFound
from agent.model.access import Identity
from agent.model.blobs import BlobName
from agent.model.identity import ContainerName
from agent.model.secrets import Secret

if TYPE_CHECKING:
    from agent.blobs.entra import Tokens

CONNECTIONS = 16


class Remover(Protocol):
    """Of one store. What is not there is removed already. Errors are those of ``BlobStore``; none retries."""

    async def remove_blob(self, name: BlobName) -> None:
        """A committed blob."""
        ...

    async def remove_container(self, container: ContainerName) -> None:
        """With all that is in it."""
        ...

    async def close(self) -> None:
        """Let go of connections, and of folders that were not there when it was opened. Idempotent."""
        ...


def open_remover(
    kind: str, address: str, credential: Secret | None, *, identity: Identity | None = None
) -> Remover:
    """As ``agent.blobs.opening.open_store``, and to be opened before anything is put."""
    if kind != "azure":
        return _OfDirectory(Path(address))
    if identity is None:
        return _OfAzure(address, credential)
    from agent.blobs.entra import tokens_of

    return _OfAzure(address, tokens_of(identity))


class _OfDirectory:
    def __init__(self, root: Path) -> None:
        root = root.absolute()
        self._files = DirectoryFiles(root)
        self._not_there = [folder for folder in Layout(root).folders() if not folder.exists()]

    async def remove_blob(self, name: BlobName) -> None:
        await in_thread(str(name), self._files.remove, name)

    async def remove_container(self, container: ContainerName) -> None:
        await in_thread(str(container), self._files.remove_container, container)

    async def close(self) -> None:
        await asyncio.to_thread(self._forget_folders)

    def _forget_folders(self) -> None:
        """Only empty ones go, inner first."""
        with suppress(OSError):
            for folder in self._not_there:
                folder.rmdir()


class _OfAzure:
    """By the SDK. Made within a running event loop."""

    def __init__(self, endpoint: str, credential: Secret | Tokens | None) -> None:
        # The SDK takes half a second to load.
        from agent.blobs.azure_sdk import open_service, sdk_right
        from agent.blobs.entra import Tokens

        self._account = Account.of(endpoint)
        self._tokens = credential if isinstance(credential, Tokens) else None
        self._service = open_service(
            self._account,
            sdk_right(self._account, credential),
            tls_context(),
            connections=CONNECTIONS,
            connect_timeout_s=CONNECT_TIMEOUT_S,
            read_timeout_s=READ_TIMEOUT_S,
        )

    async def remove_blob(self, name: BlobName) -> None:
        from agent.blobs.azure_sdk_errors import asked

        client = self._service.get_blob_client(str(name.container), name.path)
        with suppress(BlobNotFound):
            await asked(client.delete_blob(), str(name), self._account.host)

    async def remove_container(self, container: ContainerName) -> None:
        from agent.blobs.azure_sdk_errors import asked

        removal = self._service.delete_container(str(container))
        with suppress(BlobNotFound):
            await asked(removal, str(container), self._account.host)

    async def close(self) -> None:
        await self._service.close()
        if self._tokens is not None:
            await self._tokens.close()
