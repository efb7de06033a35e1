"""Who asks, and whether they may: the bearer token of a TCP request, the user behind a Unix socket."""

from __future__ import annotations

import asyncio
import pwd
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from agent.api.failures import Failures
from agent.api.problems import ArmError
from agent.api.tokens import TokenStore
from agent.catalog import Catalog
from agent.errors import IngestError
from agent.model.roles import RIGHTS, Right, Role
from agent.telemetry import Log

UNIX = "unix"
"""What the protocol puts in the place of an address; the port is the number of the user."""


@dataclass(frozen=True, slots=True)
class Caller:
    """``name`` is that of the token or of the user, ``origin`` where the request came from."""

    name: str
    role: Role
    origin: str

    def need(self, right: Right) -> None:
        """Raises ArmError."""
        if right not in RIGHTS[self.role]:
            told = (
                f"{self.name!r} is a {self.role}, who has no authorization to perform action {right.value!r}"
            )
            raise ArmError(403, "AuthorizationFailed", told)


class Gate:
    """Admits callers, and writes refusals into the history, a few for each address."""

    def __init__(
        self, tokens: TokenStore, socket_role: Role | None, catalog: Catalog, log: Log, failures: Failures
    ) -> None:
        """``socket_role`` is that of everybody who may open the Unix socket; None: a token is needed."""
        self._tokens, self._socket_role = tokens, socket_role
        self._catalog, self._log, self._failures = catalog, log, failures

    async def admit(self, scope: Scope) -> Caller:
        """Raises ArmError: 401, or 429 for an address that failed too often."""
        host, number = scope.get("client") or ("unknown", 0)
        if host == UNIX and self._socket_role is not None:
            return Caller(_user(number), self._socket_role, f"api {UNIX}")
        address = f"{UNIX} {_user(number)}" if host == UNIX else host
        text = _bearer(Headers(scope=scope))
        token = await asyncio.to_thread(self._tokens.find, text) if text else None
        if token is None:
            raise await self._refusal(address, "no token" if not text else "a token that is not valid")
        return Caller(token.name, token.role, f"api {address}")

    async def _refusal(self, address: str, why: str) -> ArmError:
        """Others at the same address, as behind one proxy, are not locked out: their tokens are good."""
        if wait := self._failures.wait_s(address):
            told = f"too many requests without a valid token; try again in {wait} s"
            return ArmError(429, "TooManyRequests", told, headers={"Retry-After": str(wait)})
        if self._failures.add(address):
            await self._record(address, why)
        return ArmError(
            401,
            "AuthenticationFailed",
            "a valid bearer token is needed: Authorization: Bearer TOKEN (ingest-agent api token create)",
            headers={"WWW-Authenticate": 'Bearer realm="drive-ingest-agent"'},
        )

    async def _record(self, address: str, why: str) -> None:
        self._log.warning("api.refused", peer=address, why=why)
        try:
            await self._catalog.seen_from(f"api {address}").record_event(
                "api.refused", who="unknown", detail=why
            )
        except IngestError as error:
            self._log.error("api.unrecorded", error=error.id, detail=error.detail)


def _bearer(headers: Headers) -> str:
    scheme, _, text = headers.get("authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OverflowError):
        return f"uid {number}"
