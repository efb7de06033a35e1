"""What the station hands to the reader, through a descriptor, never through argv."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from agent.model.keys import ClearKey, Credential, Password, RecoveryPassword, StartupKey
from agent.model.secrets import Secret

_CREDENTIALS: dict[str, type[RecoveryPassword] | type[Password] | type[StartupKey]] = {
    "recovery": RecoveryPassword,
    "password": Password,
    "startup": StartupKey,
}


@dataclass(frozen=True, slots=True)
class ReaderOrder:
    """For the reader: how big the device is, and the key to its volume.

    ``mapfile`` is the text of GNU ddrescue's, for an image with holes; None for a drive. ``gently``: the
    drive is failing (see ``agent.volume.manner``).
    """

    size_bytes: int
    sector_size: int
    slot_count: int
    credential: Credential | None
    allow_unencrypted: bool
    mapfile: str | None = None
    gently: bool = False

    def to_json(self) -> dict[str, Any]:
        """Holds the key in the clear: for memory that only the two share."""
        return {
            "size_bytes": self.size_bytes,
            "sector_size": self.sector_size,
            "slot_count": self.slot_count,
            "credential": _credential_to_json(self.credential),
            "allow_unencrypted": self.allow_unencrypted,
            "mapfile": self.mapfile,
            "gently": self.gently,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What ``to_json`` gave."""
        return cls(**{**value, "credential": _credential_from_json(value["credential"])})


def _credential_to_json(credential: Credential | None) -> dict[str, str] | None:
    if credential is None:
        return None
    if isinstance(credential, ClearKey):
        return {"kind": "clear"}
    kind = next(kind for kind, cls in _CREDENTIALS.items() if isinstance(credential, cls))
    return {"kind": kind, "text": credential.secret.reveal()}


def _credential_from_json(value: dict[str, str] | None) -> Credential | None:
    if value is None:
        return None
    if value["kind"] == "clear":
        return ClearKey()
    return _CREDENTIALS[value["kind"]](Secret(value["text"]))
