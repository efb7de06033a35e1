"""By what right the station comes to its store, when that is neither a key nor a signature."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class IdentityKind(StrEnum):
    """How Entra ID knows this station."""

    MANAGED = "managed-identity"
    WORKLOAD = "workload-identity"


@dataclass(frozen=True, slots=True)
class Identity:
    """``client_id`` chooses one of several identities; None: the only one, or the environment's."""

    kind: IdentityKind
    client_id: str | None = None
