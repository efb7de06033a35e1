"""What a request says, read with limits: its body, its query, where it asks, and who does."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from agent.api.desk import Place
from agent.api.gate import Caller
from agent.api.problems import ArmError
from agent.formats.json_fields import MAX_REQUEST_BYTES

BODY_WITHIN_S = 30.0


async def body_of(request: Request) -> bytes:
    """Raises ArmError for one that is too long, too slow, or of another kind than JSON."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind not in ("application/json", "text/json", "application/merge-patch+json", ""):
        raise ArmError(415, "UnsupportedMediaType", f"the body must be application/json, not {kind[:60]!r}")
    if request.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
        raise ArmError(415, "UnsupportedMediaType", "the body must not be compressed")
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > MAX_REQUEST_BYTES:
                    raise ArmError(
                        413, "RequestContentTooLarge", f"the body has more than {MAX_REQUEST_BYTES} bytes"
                    )
    except TimeoutError:
        raise ArmError(408, "RequestTimeout", f"the body did not come within {BODY_WITHIN_S:g} s") from None
    return b"".join(parts)


def caller_of(request: Request) -> Caller:
    """Whom the gate admitted."""
    caller = request.scope["state"]["caller"]
    assert isinstance(caller, Caller)
    return caller


def query_of(request: Request) -> dict[str, str]:
    """By names in lower case."""
    return {name.lower(): value for name, value in request.query_params.items()}


def place_of(request: Request) -> Place:
    """Raises ArmError."""
    found = request.path_params
    return Place(found["subscription"], found.get("group"))


def job_of(request: Request) -> str:
    """The name in the path."""
    named: str = request.path_params["job"]
    return named


def listens_after(request: Request) -> int | None:
    """Where a listener that comes again left off."""
    text = request.headers.get("last-event-id", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ArmError(400, "InvalidHeader", "Last-Event-ID is the number of no event", "Last-Event-ID")
    return int(text)
