"""Tokens of Entra ID for the store, by the library ``azure-identity``, which is an optional extra."""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import Any, Protocol

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, ClientAuthenticationError

from agent.errors import ConfigInvalid, IngestError, StoreRefused, StoreUnreachable
from agent.model.access import Identity, IdentityKind

SCOPE = "https://storage.azure.com/.default"
EXTRA = "drive-ingest-agent[entra]"
LEAVE_S = 300.0
"""A token is used no more so long before its end."""

TIMEOUT_S = 30.0


class TokenCredential(Protocol):
    """What ``azure.identity.aio`` has: it keeps and renews tokens by itself."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token that holds for a while."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Tokens:
    """The station's token: ``token()`` for requests of our own, ``get_token`` for the SDK.

    Errors are those of a store: StoreRefused when no token is given, StoreUnreachable when nobody
    answers. Prints no token.
    """

    def __init__(self, credential: TokenCredential, name: str = "the identity") -> None:
        self._credential = credential
        self._name = name
        self._kept: AccessToken | None = None
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        """For ``Authorization: Bearer``; nothing is awaited while the last one holds."""
        kept = self._kept
        return kept.token if kept is not None and _holds(kept) else (await self.get_token()).token

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """For the SDK; scopes other than the store's are not served."""
        async with self._asking:
            if self._kept is None or not _holds(self._kept):
                self._kept = await self._ask()
            return self._kept

    async def close(self) -> None:
        """Let go of connections."""
        await self._credential.close()

    async def __aenter__(self) -> Tokens:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self) -> AccessToken:
        error: IngestError
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._credential.get_token(SCOPE)
        except ClientAuthenticationError as refused:
            # The library's text may quote what the endpoint said; the kind is enough.
            error = StoreRefused(f"{self._name} gets no token ({type(refused).__name__})")
        except (AzureError, OSError, TimeoutError) as trouble:
            error = StoreUnreachable(f"no token for {self._name}: no answer ({type(trouble).__name__})")
        except ValueError as missing:
            error = StoreRefused(f"{self._name} is not set up on this machine ({type(missing).__name__})")
        raise error


def tokens_of(identity: Identity) -> Tokens:
    """Raises ConfigInvalid when the library is missing, or the machine lacks what the identity needs."""
    library = _library()
    options = {"client_id": identity.client_id} if identity.client_id else {}
    make = {
        IdentityKind.MANAGED: "ManagedIdentityCredential",
        IdentityKind.WORKLOAD: "WorkloadIdentityCredential",
    }[identity.kind]
    try:
        credential: TokenCredential = getattr(library, make)(**options)
    except (ValueError, AzureError):
        raise ConfigInvalid(
            f"store.credential is {identity.kind}, and its environment variables are missing on this machine"
        ) from None
    return Tokens(credential, str(identity.kind))


def check_identity(identity: Identity, endpoint: str) -> None:
    """Find what would fail at the first request. Raises ConfigInvalid."""
    if not endpoint.lower().startswith("https://"):
        raise ConfigInvalid(f"store.credential is {identity.kind}: a token goes over https:// only")
    _library()


def _library() -> Any:
    try:
        return importlib.import_module("azure.identity.aio")
    except ImportError:
        raise ConfigInvalid(
            f'store.credential asks for Entra ID: install the extra with pip install "{EXTRA}"'
        ) from None


def _holds(token: AccessToken) -> bool:
    return token.expires_on - LEAVE_S > time.time()
