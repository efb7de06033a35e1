"""Tokens of Entra ID: kept while they hold, asked for once, and never shown."""

from __future__ import annotations

import asyncio
import builtins
import sys
import time
import types
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from agent.blobs.entra import LEAVE_S, SCOPE, Tokens, tokens_of
from agent.blobs.opening import check_store
from agent.errors import ConfigInvalid, IngestError, StoreRefused, StoreUnreachable
from agent.model.access import Identity, IdentityKind

ME = Identity(IdentityKind.MANAGED, "me")


class FakeCredential:
    """Gives token after token, each for ``lives_s``; or fails."""

    def __init__(self, lives_s: float = 3600, error: Exception | None = None, **options: str) -> None:
        self.lives_s, self.error, self.options = lives_s, error, options
        self.scopes: list[str] = []
        self.is_closed = False

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        await asyncio.sleep(0)
        self.scopes.extend(scopes)
        if self.error is not None:
            raise self.error
        return AccessToken(f"token-{len(self.scopes)}", int(time.time() + self.lives_s))

    async def close(self) -> None:
        self.is_closed = True


async def test_a_token_is_asked_for_once_by_all_who_need_it() -> None:
    credential = FakeCredential()
    tokens = Tokens(credential)
    assert set(await asyncio.gather(*(tokens.token() for _ in range(20)))) == {"token-1"}
    assert (await tokens.get_token("https://elsewhere/.default")).token == "token-1"
    assert credential.scopes == [SCOPE]


async def test_a_token_near_its_end_is_used_no_more() -> None:
    tokens = Tokens(FakeCredential(lives_s=LEAVE_S - 1))
    assert [await tokens.token(), await tokens.token()] == ["token-1", "token-2"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ClientAuthenticationError("secret-body"), StoreRefused),
        (ServiceRequestError("secret-body"), StoreUnreachable),
        (OSError("secret-body"), StoreUnreachable),
        (ValueError("secret-body"), StoreRefused),
    ],
)
async def test_why_there_is_no_token_is_told_in_our_words(error: Exception, kind: type[IngestError]) -> None:
    with pytest.raises(kind) as caught:
        await Tokens(FakeCredential(error=error), "managed-identity").token()
    assert "managed-identity" in caught.value.detail
    assert "secret-body" not in caught.value.detail
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_tokens_are_shown_nowhere_and_connections_are_let_go() -> None:
    credential = FakeCredential()
    async with Tokens(credential) as tokens:
        await tokens.token()
        assert "token-1" not in repr(tokens)
    assert credential.is_closed


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity.aio", None)
    with pytest.raises(ConfigInvalid, match=r"pip install \"drive-ingest-agent\[entra\]\""):
        check_store("azure", "https://a.blob.example", None, ME)


def test_a_token_goes_over_tls_only() -> None:
    with pytest.raises(ConfigInvalid, match="https:// only"):
        check_store("azure", "http://127.0.0.1:10000/devstoreaccount1", None, ME)


def _library(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> list[FakeCredential]:
    made: list[FakeCredential] = []

    def make(**options: str) -> FakeCredential:
        if error is not None:
            raise error
        made.append(FakeCredential(**options))  # type: ignore[arg-type]
        return made[-1]

    library = types.ModuleType("azure.identity.aio")
    vars(library).update(ManagedIdentityCredential=make, WorkloadIdentityCredential=make)
    monkeypatch.setitem(sys.modules, "azure.identity.aio", library)
    return made


@pytest.mark.parametrize("kind", IdentityKind)
async def test_the_library_is_asked_for_the_identity_that_was_chosen(
    kind: IdentityKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _library(monkeypatch)
    check_store("azure", "https://a.blob.example", None, Identity(kind, "me"))
    assert await tokens_of(Identity(kind, "me")).token() == "token-1"
    assert made[0].options == {"client_id": "me"}


def test_a_machine_without_the_identity_is_the_stations_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    _library(monkeypatch, builtins.ValueError("secret"))
    with pytest.raises(ConfigInvalid, match="environment variables are missing") as caught:
        tokens_of(ME)
    assert "secret" not in caught.value.detail
