"""Around every request: its id, who asks, the headers of the answer, and a body for what goes wrong."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.api.gate import Gate
from agent.api.problems import ArmError, internal, refused
from agent.errors import IngestError, PolicyError
from agent.telemetry import Log, raised_at

_ID = re.compile(r"[A-Za-z0-9-]{1,64}\Z", re.ASCII)
_WORDS = {
    word.lower(): word
    for word in (
        "subscriptions",
        "resourceGroups",
        "providers",
        "Microsoft.ImportExport",
        "jobs",
        "drives",
        "locations",
        "operations",
        "listBitLockerKeys",
        "history",
        "receive",
        "markNeverReceived",
        "shipBack",
        "cancel",
        "fault",
        "resolve",
        "extendWaiting",
    )
}
"""Names in paths are compared without case, as the resource manager does."""

_ALWAYS = {
    "Cache-Control": "no-cache, no-store",
    "Pragma": "no-cache",
    "Expires": "-1",
    "X-Content-Type-Options": "nosniff",
}
_OVER_TLS = {"Strict-Transport-Security": "max-age=31536000"}


class Envelope:
    """The outermost layer. Nothing gets past it but an answer."""

    def __init__(
        self, app: ASGIApp, gate: Gate, log: Log, *, is_full: Callable[[], bool] = lambda: False
    ) -> None:
        """``is_full``: there are more connections than this server takes."""
        self._app, self._gate, self._log, self._is_full = app, gate, log, is_full

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        letter = _Letter(scope, send)
        scope["path"] = canonical_path(scope["path"])
        try:
            if self._is_full():
                raise ArmError(
                    503, "ServerBusy", "too many connections; try again", headers={"Retry-After": "5"}
                )
            scope["state"] = {**scope.get("state", {}), "caller": await self._gate.admit(scope)}
            await self._app(scope, receive, letter.send)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - a supervisor
            problem = self._problem(error, letter.request_id)
            if letter.status is None:
                await response_of(problem)(scope, receive, letter.send)
        self._tell(scope, letter)

    def _problem(self, error: Exception, request_id: str) -> ArmError:
        if isinstance(error, ArmError):
            return error
        if isinstance(error, IngestError) and not isinstance(error, PolicyError):
            self._log.error("api.station", request=request_id, error=error.id, detail=error.detail)
        if isinstance(error, IngestError):
            return refused(error)
        self._log.error("api.crashed", request=request_id, error=type(error).__name__, at=raised_at(error))
        return internal()

    def _tell(self, scope: Scope, letter: _Letter) -> None:
        """What changes something, and what somebody should know."""
        caller = scope["state"].get("caller") if "state" in scope else None
        if caller is None or (scope["method"] in ("GET", "HEAD") and (letter.status or 0) < 500):
            return
        self._log.info(
            "api.request",
            method=scope["method"],
            path=scope["path"][:300],
            status=letter.status,
            who=caller.name,
            role=caller.role,
            origin=caller.origin,
            request=letter.request_id,
            milliseconds=letter.milliseconds,
        )


class _Letter:
    """The answer to one request, and its ids."""

    def __init__(self, scope: Scope, send: Send) -> None:
        headers = Headers(scope=scope)
        self.request_id = str(uuid.uuid4())
        self.status: int | None = None
        self._send = send
        self._begun = time.monotonic()
        self._headers = {
            **_ALWAYS,
            **(_OVER_TLS if scope.get("scheme") == "https" else {}),
            "x-ms-request-id": self.request_id,
            "x-ms-correlation-request-id": _given(headers, "x-ms-correlation-request-id", self.request_id),
            "x-ms-routing-request-id": f"STATION:{self.request_id}",
        }
        if headers.get("x-ms-return-client-request-id", "").lower() == "true":
            self._headers["x-ms-client-request-id"] = _given(
                headers, "x-ms-client-request-id", self.request_id
            )

    @property
    def milliseconds(self) -> int:
        """Since the request came."""
        return int((time.monotonic() - self._begun) * 1000)

    async def send(self, message: Message) -> None:
        """With the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers[name] = value
        await self._send(message)


def response_of(problem: ArmError) -> Response:
    """A refusal as an answer."""
    return JSONResponse(problem.to_json(), problem.status, headers=dict(problem.headers))


def canonical_path(path: str) -> str:
    """The words of the provider in their usual spelling; names are left as they are."""
    trimmed = path[:-1] if len(path) > 1 and path.endswith("/") else path
    return "/".join(_WORDS.get(segment.lower(), segment) for segment in trimmed.split("/"))


def _given(headers: Mapping[str, str], name: str, otherwise: str) -> str:
    text = headers.get(name, "")
    return text if _ID.match(text) else otherwise
