"""Who may do what at the job API."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Role(StrEnum):
    """What a token, or whoever may open the socket, stands for."""

    OPERATOR = "operator"
    TECHNICIAN = "technician"
    READER = "reader"


class Right(StrEnum):
    """What a request needs, spelled as operations of the resource provider; the last three are our own."""

    READ_LOCATIONS = "Microsoft.ImportExport/locations/read"
    READ = "Microsoft.ImportExport/jobs/read"
    WRITE = "Microsoft.ImportExport/jobs/write"
    DELETE = "Microsoft.ImportExport/jobs/delete"
    LIST_KEYS = "Microsoft.ImportExport/jobs/listBitLockerKeys/action"
    READ_HISTORY = "Microsoft.ImportExport/jobs/history/read"
    HANDLE = "Microsoft.ImportExport/jobs/handle/action"
    DECIDE = "Microsoft.ImportExport/jobs/decide/action"


_LOOK = frozenset({Right.READ_LOCATIONS, Right.READ, Right.READ_HISTORY})

RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.OPERATOR: frozenset(Right),
    Role.TECHNICIAN: _LOOK | {Right.HANDLE},
    Role.READER: _LOOK,
}
"""HANDLE is what hands do: receive, miss, ship back. DECIDE: cancel, fault, resolve, extend."""


def sees_content(role: Role) -> bool:
    """Whether the role may see what leads to a customer's data: logs, manifests, destinations, details."""
    return role is not Role.TECHNICIAN
