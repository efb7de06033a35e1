"""A store that comes by tokens: the emulator checks their claims, over TLS, on both ways to it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from agent.blobs.azure import AzureBlobStore
from agent.blobs.crc64 import crc64
from agent.blobs.entra import Tokens
from agent.blobs.store import NO_ATTRIBUTES
from agent.errors import StoreRefused
from agent.model.blobs import BlobName
from fixtures import certificates
from fixtures.azurite import Azurite, AzuriteMissing, running
from tests.kit.tokens import AUDIENCE, token

BODY = b"by the right of an identity"


class Issuer:
    """Gives tokens as Entra ID makes them, for an audience, with a signature that nobody checks."""

    def __init__(self, audience: str = AUDIENCE) -> None:
        self.audience = audience

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return AccessToken(token(audience=self.audience), int(time.time()) + 3600)

    async def close(self) -> None:
        pass


@pytest.fixture
async def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Azurite]:
    made = certificates.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    try:
        with running(certificates=made) as emulator:
            yield emulator
    except AzuriteMissing as reason:
        pytest.skip(str(reason))


async def test_blobs_are_written_and_read_by_the_right_of_a_token(emulator: Azurite) -> None:
    store = AzureBlobStore.connect(emulator.endpoint, Tokens(Issuer()))
    name = BlobName.parse("box/a.txt")
    try:
        await store.ensure_container(name.container)
        await store.put_blob(name, [memoryview(BODY)], crc64([BODY]), NO_ATTRIBUTES, replace=False)
        await store.put_block(name, "AAAA", [memoryview(BODY)], crc64([BODY]))
        await store.put_block_list(name, ["AAAA", "AAAA"], NO_ATTRIBUTES, replace=True)
        assert b"".join([piece async for piece in store.read(name)]) == BODY * 2
    finally:
        await store.close()


async def test_a_token_for_somebody_else_is_refused_and_not_shown(emulator: Azurite) -> None:
    tokens = Tokens(Issuer("https://elsewhere.example"))
    store = AzureBlobStore.connect(emulator.endpoint, tokens)
    name = BlobName.parse("box/a.txt")
    try:
        with pytest.raises(StoreRefused) as caught:
            await store.put_blob(name, [memoryview(BODY)], crc64([BODY]), NO_ATTRIBUTES, replace=False)
        assert (await tokens.token())[:20] not in caught.value.detail
    finally:
        await store.close()
