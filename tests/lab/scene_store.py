"""The account of the scenes: Azurite on this host, that can be stopped and started, behind a relay."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, ContainerClient

from fixtures import azurite
from tests.lab.scene_relay import Asked, Relay

_API_VERSION = "2021-12-02"


class Store:
    """What is in ``folder`` outlives a stop. Raises AzuriteMissing where there is none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        self._service: BlobServiceClient | None = None
        self.relay = Relay()

    def start(self) -> None:
        """It answers when this returns, whether it did before or not."""
        if self.relay.target is not None:
            return
        found = self._running.enter_context(azurite.running(self._folder))
        port = urlsplit(found.endpoint).port
        assert port is not None
        self._service = BlobServiceClient(found.endpoint, credential=found.key, api_version=_API_VERSION)
        self._running.callback(self._service.close)
        self.relay.target = port

    def stop(self) -> None:
        """It is gone when this returns; so are its connections."""
        self.relay.target = None
        self._running.close()
        self.relay.cut()

    def close(self) -> None:
        """For good."""
        self.stop()
        self.relay.close()

    def digests(self, container: str) -> dict[str, str]:
        """SHA-256 of each blob by name, of bytes that were downloaded; nothing for no container."""
        found = {}
        client = self._container(container)
        try:
            for name in client.list_blob_names():
                digest = hashlib.sha256()
                for part in client.download_blob(name).chunks():
                    digest.update(part)
                found[str(name)] = digest.hexdigest()
        except ResourceNotFoundError:
            return {}
        return found

    def text(self, container: str, name: str) -> str:
        """What is in a blob."""
        return bytes(self._container(container).download_blob(name).readall()).decode()

    def names(self, container: str, prefix: str) -> list[str]:
        """Blobs whose names begin so."""
        return list(self._container(container).list_blob_names(name_starts_with=prefix))

    def stored(self, container: str) -> list[Asked]:
        """Blocks and blobs that were sent there and taken, each time they were."""
        return [one for one in self.relay.asked(container) if one.is_stored]

    def _container(self, name: str) -> ContainerClient:
        assert self._service is not None
        return self._service.get_container_client(name)
