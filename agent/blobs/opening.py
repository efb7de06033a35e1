"""From a kind and an address to a store."""

from __future__ import annotations

from pathlib import Path

from agent.blobs.store import BlobStore
from agent.errors import ConfigInvalid
from agent.model.secrets import Secret


def check_store(kind: str, address: str, credential: Secret | None) -> None:
    """Find what ``open_store`` would refuse, without opening anything. Raises ConfigInvalid."""
    if kind == "azure":
        from agent.blobs.azure_account import Account, sdk_credential

        sdk_credential(Account.of(address), credential)
    elif kind != "directory":
        raise ConfigInvalid(f"there is no store of kind {kind!r}; use azure or directory")


def open_store(
    kind: str, address: str, credential: Secret | None, *, connections: int | None = None
) -> BlobStore:
    """``azure`` with an endpoint (its credential an account key or a SAS), or ``directory`` with a path.

    ``connections`` bounds those to a service; None leaves it to the store. Raises ConfigInvalid for
    another kind or a malformed address.
    """
    check_store(kind, address, credential)
    if kind == "azure":
        from agent.blobs.azure import AzureBlobStore
        from agent.blobs.azure_sdk import CONNECTIONS

        return AzureBlobStore.connect(address, credential, connections=connections or CONNECTIONS)
    from agent.blobs.directory import DirectoryBlobStore

    return DirectoryBlobStore(Path(address))
