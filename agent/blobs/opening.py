"""From a kind and an address to a store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from agent.blobs.store import BlobStore
from agent.errors import ConfigInvalid
from agent.model.access import Identity
from agent.model.secrets import Secret


def check_store(kind: str, address: str, credential: Secret | None, identity: Identity | None = None) -> None:
    """Find what ``open_store`` or its first requests would refuse, without opening anything.

    A SAS is checked for its dates and permissions, as of now. Raises ConfigInvalid.
    """
    _check_form(kind, address, credential, identity)
    if kind == "azure" and credential is not None:
        from agent.blobs.sas import Signature, is_signature

        if is_signature(credential.reveal()):
            Signature.parse(credential.reveal()).check(datetime.now(UTC))


def _check_form(kind: str, address: str, credential: Secret | None, identity: Identity | None) -> None:
    if kind == "azure":
        from agent.blobs.azure_account import Account, right_of

        account = Account.of(address)
        right_of(account, credential)
        if identity is not None:
            from agent.blobs.entra import check_identity

            check_identity(identity, account.endpoint)
    elif kind != "directory":
        raise ConfigInvalid(f"there is no store of kind {kind!r}; use azure or directory")


def open_store(
    kind: str,
    address: str,
    credential: Secret | None,
    *,
    identity: Identity | None = None,
    connections: int | None = None,
) -> BlobStore:
    """``azure`` with an endpoint (its credential an account key, a SAS or an identity), or ``directory``.

    The address of a directory is its path. ``connections`` bounds those to a service; None leaves it
    to the store. Raises ConfigInvalid for another kind or a malformed address.
    """
    _check_form(kind, address, credential, identity)
    if kind == "azure":
        from agent.blobs.azure import AzureBlobStore
        from agent.blobs.azure_account import CONNECTIONS

        if identity is not None:
            from agent.blobs.entra import tokens_of

            return AzureBlobStore.connect(
                address, tokens_of(identity), connections=connections or CONNECTIONS
            )
        return AzureBlobStore.connect(address, credential, connections=connections or CONNECTIONS)
    from agent.blobs.directory import DirectoryBlobStore

    return DirectoryBlobStore(Path(address))
