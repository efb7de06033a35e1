"""Everything that goes wrong as the error bodies of Azure Resource Manager: a status, a code, a reason.

Microsoft publishes no codes for this provider (formats: "no list of code values was found"). What the
resource manager itself would answer has its code; every other code is the name of an error in
``docs/errors.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.errors import (
    IngestError,
    JobExists,
    JobNotFound,
    MalformedInput,
    MoveRefused,
    PolicyError,
    SerialConflict,
    SerialNotSpecified,
    StationError,
)
from agent.model.printable import printable

RETRY_AFTER_S = 5
_FIELD = re.compile(r"([A-Za-z$][A-Za-z0-9_.$\[\]-]*): (.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Detail:
    """One thing that is wrong: with which field, and why."""

    code: str
    target: str
    message: str

    def to_json(self) -> dict[str, Any]:
        """On the wire."""
        return {"code": self.code, "target": self.target, "message": self.message}


@dataclass(slots=True, eq=False)
class ArmError(Exception):
    """An answer that is a refusal."""

    status: int
    code: str
    message: str
    target: str | None = None
    details: Sequence[Detail] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The body: ``ErrorResponse`` of the provider."""
        error: dict[str, Any] = {"code": self.code, "message": printable(self.message)}
        if self.target is not None:
            error["target"] = self.target
        if self.details:
            error["details"] = [one.to_json() for one in self.details]
        return {"error": error}


def malformed(found: Sequence[MalformedInput]) -> ArmError:
    """Everything that is wrong with one request, the first thing in the message."""
    details = [_detail(error) for error in found]
    first = details[0]
    more = f" (and {len(details) - 1} more; see details)" if len(details) > 1 else ""
    told = f"{first.target}: {first.message}" if first.target else first.message
    return ArmError(400, "InvalidRequestContent", told + more, first.target or None, details)


def refused(error: IngestError) -> ArmError:
    """What the books, or the station, say."""
    match error:
        case MalformedInput():
            return malformed([error])
        case JobNotFound() | SerialNotSpecified():
            return ArmError(404, "ResourceNotFound", error.detail)
        case JobExists() | SerialConflict() | MoveRefused():
            return ArmError(409, error.id, error.detail)
        case PolicyError():
            return ArmError(400, error.id, error.detail)
        case StationError():
            # What is told of a file is for the log of the station, not for who asks from outside.
            told = "the station cannot read or write its catalog now; try again"
            return ArmError(503, "ServiceUnavailable", told, headers={"Retry-After": str(RETRY_AFTER_S)})
    return internal()


def internal() -> ArmError:
    """A bug of ours."""
    return ArmError(500, "InternalServerError", "this is a bug of the station; its log has the request's id")


def not_found(what: str, name: str) -> ArmError:
    """No such resource."""
    return ArmError(404, "ResourceNotFound", f"there is no {what} {name[:90]!r} here")


def _detail(error: MalformedInput) -> Detail:
    found = _FIELD.match(error.detail)
    target, message = (found[1], found[2]) if found is not None else ("", error.detail)
    code = "MissingProperty" if message.startswith("is missing") else "InvalidProperty"
    return Detail(code, target, printable(message))
