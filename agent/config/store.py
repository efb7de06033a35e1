"""The settings of the store: the table ``[store]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config.reading import read_in_time
from agent.config.tables import known, path
from agent.errors import ConfigInvalid
from agent.model.access import Identity, IdentityKind
from agent.model.secrets import Secret

MAX_CREDENTIAL_BYTES = 64 * 1024
NOT_NAMED = "store.credential_file is missing: a file with an account key or a SAS"
_NAMES = ("kind", "address", "credential_file", "credential", "client_id")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where blobs go: ``azure`` (an endpoint) or ``directory`` (a folder, the embedded default).

    An ``azure`` store has a credential, which stands in ``credential_file``, or an identity.
    """

    kind: str
    address: str
    credential: Secret | None = None
    credential_file: Path | None = None
    identity: Identity | None = None


def read_store(
    table: Any, state_dir: Path, environment: Mapping[str, str], *, with_credential: bool
) -> StoreSettings:
    """From the table ``[store]``. Raises ConfigInvalid naming the setting."""
    known(table, "store", _NAMES)
    kind = environment.get("INGEST_AGENT_STORE_KIND") or table.get("kind", "directory")
    if kind not in ("azure", "directory"):
        raise ConfigInvalid(f"store.kind is {kind!r}; it must be azure or directory")
    address = environment.get("INGEST_AGENT_STORE_ADDRESS") or table.get("address")
    if address is None:
        if kind == "azure":
            raise ConfigInvalid("store.address is missing: the blob endpoint of the storage account")
        address = str(state_dir.absolute() / "blobs")
    if not isinstance(address, str) or not address or "\0" in address:
        raise ConfigInvalid("store.address must be a blob endpoint, or the path of a folder")
    if kind == "directory":
        return StoreSettings(kind, address)
    identity = _identity(table)
    if identity is not None:
        return StoreSettings(kind, address, identity=identity)
    if not with_credential:
        return StoreSettings(kind, address)
    file = _credential_file(table, environment)
    return StoreSettings(kind, address, read_credential(file), file)


def _identity(table: Mapping[str, Any]) -> Identity | None:
    """A credential that is no secret: the name of a way to get tokens."""
    named, client_id = table.get("credential"), table.get("client_id")
    if named is None:
        if client_id is not None:
            raise ConfigInvalid("store.client_id goes with store.credential only")
        return None
    if table.get("credential_file") is not None:
        raise ConfigInvalid("store.credential and store.credential_file exclude each other")
    kinds = [str(kind) for kind in IdentityKind]
    if named not in kinds:
        raise ConfigInvalid(
            f"store.credential must be {' or '.join(kinds)}; a key or a SAS goes into a file: "
            "store.credential_file"
        )
    if client_id is not None and not isinstance(client_id, str):
        raise ConfigInvalid("store.client_id must be a text")
    return Identity(IdentityKind(named), client_id)


def _credential_file(table: Mapping[str, Any], environment: Mapping[str, str]) -> Path:
    chosen = environment.get("INGEST_AGENT_STORE_CREDENTIAL_FILE")
    named = Path(chosen) if chosen else path(table, "store", "credential_file")
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if named:
        return named
    if folder:
        return Path(folder) / "store"
    raise ConfigInvalid(NOT_NAMED)


def read_credential(path: Path) -> Secret:
    """An account key or a SAS, from a file: it never stands in the settings themselves.

    Raises ConfigInvalid.
    """
    try:
        data = read_in_time(path, MAX_CREDENTIAL_BYTES)
        text = data.decode("utf-8").strip()
    except OSError as error:
        raise ConfigInvalid(f"store.credential_file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigInvalid(f"store.credential_file {path} is no text") from None
    if not text or len(data) > MAX_CREDENTIAL_BYTES:
        raise ConfigInvalid(f"store.credential_file {path} is {'too long' if text else 'empty'}")
    return Secret(text)
