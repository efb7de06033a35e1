"""Where the transfer benchmark sends to: the null sink in the clear, over TLS, and Azurite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.storage.blob import (
    AccountSasPermissions,
    ContainerClient,
    ResourceTypes,
    generate_account_sas,
)

from benchmarks.sink import ACCOUNT, Sink
from benchmarks.sink import running as sink_running
from benchmarks.transfer_own import CONTAINER
from fixtures import azurite
from fixtures.certificates import make

# Not a secret: the sink takes anything.
SINK_KEY = "bm90LWEtc2VjcmV0LWF0LWFsbC1hbmQtMzItYnl0ZXM="
_LASTS = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Target:
    """A Blob service on loopback. ``authority`` signs its certificate, if it speaks TLS.

    ``sink`` is None for Azurite, which tells no span.
    """

    name: str
    endpoint: str
    account: str
    key: str = field(repr=False)
    authority: Path | None
    sink: Sink | None

    @property
    def sas(self) -> str:
        """For all of the account, until tomorrow."""
        now = datetime.now(UTC)
        return generate_account_sas(
            account_name=self.account,
            account_key=self.key,
            resource_types=ResourceTypes(service=True, container=True, object=True),
            permission=AccountSasPermissions(
                read=True, write=True, delete=True, list=True, add=True, create=True
            ),
            start=now - timedelta(hours=1),
            expiry=now + _LASTS,
        )

    @property
    def trust(self) -> dict[str, str]:
        """Of the environment of a client."""
        return {"SSL_CERT_FILE": str(self.authority)} if self.authority else {}

    def clear(self) -> None:
        """No blob of an earlier run is there, and the container is."""
        if self.sink is not None:
            self.sink.figures(CONTAINER)
            return
        with self._container() as container:
            if not container.exists():
                container.create_container()
            for name in container.list_blob_names():
                container.delete_blob(name)

    def found(self) -> tuple[int, int]:
        """Blobs of the container and their bytes; of a sink ask its figures."""
        with self._container() as container:
            sizes = [blob.size for blob in container.list_blobs()]
        return len(sizes), sum(sizes)

    def _container(self) -> ContainerClient:
        # The emulator knows this version, and not the newest that the SDK speaks.
        return ContainerClient(self.endpoint, CONTAINER, credential=self.key, api_version="2025-11-05")


@contextmanager
def sink_target(folder: Path, *, is_tls: bool) -> Iterator[Target]:
    """The null sink. Raises SinkMissing."""
    certificates = make(folder) if is_tls else None
    with sink_running(certificates) as sink:
        yield Target(
            "TLS sink" if is_tls else "plain sink",
            sink.endpoint,
            ACCOUNT,
            SINK_KEY,
            certificates.authority if certificates else None,
            sink,
        )


@contextmanager
def azurite_target() -> Iterator[Target]:
    """The emulator, in memory, in the clear; rclone is newer than it. Raises AzuriteMissing."""
    with azurite.running(is_strict=False) as service:
        yield Target("Azurite", service.endpoint, service.account, service.key, None, None)
