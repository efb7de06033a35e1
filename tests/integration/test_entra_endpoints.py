"""An identity all the way: its endpoint, the library ``azure-identity``, our store, the emulator over TLS."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.blobs import entra
from agent.blobs.azure import AzureBlobStore
from agent.blobs.crc64 import crc64
from agent.blobs.entra import Tokens, tokens_of
from agent.blobs.store import NO_ATTRIBUTES
from agent.errors import IngestError, StoreRefused, StoreUnreachable
from agent.model.access import Identity, IdentityKind
from agent.model.blobs import BlobName
from agent.model.secrets import Secret
from fixtures import certificates, demo_disk
from fixtures.azurite import Azurite, AzuriteMissing, running
from fixtures.certificates import Certificates
from tests.kit import images
from tests.kit.tokens import AUDIENCE, Asked, TokenEndpoint, token, token_endpoint

pytest.importorskip("azure.identity", reason="the extra [entra] is not installed: pip install azure-identity")

AGENT = Path(sys.executable).with_name("ingest-agent")
NAME = BlobName.parse("box/a.txt")
BODY = b"by the right of an identity"
ME = Identity(IdentityKind.MANAGED, "11111111-2222-3333-4444-555555555555")
WAYS = ["IMDS", "App Service", "workload"]
FACTS = images.facts()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def emulator(made: Certificates) -> Iterator[Azurite]:
    try:
        with running(certificates=made) as emulator:
            yield emulator
    except AzuriteMissing as reason:
        pytest.skip(str(reason))


@pytest.fixture
def trusting(made: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


def _environment(way: str, endpoint: TokenEndpoint, folder: Path) -> dict[str, str]:
    """What the platform sets."""
    if way == "IMDS":
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": endpoint.address}
    if way == "App Service":
        return {"IDENTITY_ENDPOINT": f"{endpoint.address}/msi/token", "IDENTITY_HEADER": "canary-header"}
    (folder / "token").write_text("canary-of-the-cluster")
    return {
        "AZURE_AUTHORITY_HOST": endpoint.address,
        "AZURE_TENANT_ID": "00000000-1111-2222-3333-444444444444",
        "AZURE_CLIENT_ID": str(ME.client_id),
        "AZURE_FEDERATED_TOKEN_FILE": str(folder / "token"),
    }


def _is_as_documented(way: str, asked: Asked) -> bool:
    fields, headers = asked.fields, asked.headers
    if way == "IMDS":
        told = {"api-version": "2018-02-01", "resource": AUDIENCE, "client_id": ME.client_id}
        return (asked.path, fields, headers["metadata"]) == ("/metadata/identity/oauth2/token", told, "true")
    if way == "App Service":
        told = {"api-version": "2019-08-01", "resource": AUDIENCE, "client_id": ME.client_id}
        return (asked.path, fields, headers["x-identity-header"]) == ("/msi/token", told, "canary-header")
    return (
        asked.path == "/00000000-1111-2222-3333-444444444444/oauth2/v2.0/token"
        and fields["client_assertion"] == "canary-of-the-cluster"
        and (fields["client_id"], fields["scope"]) == (ME.client_id, f"{AUDIENCE}/.default")
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_drive_goes_to_a_store_that_comes_by_an_identity_and_nothing_else(
    way: str, emulator: Azurite, made: Certificates, tmp_path: Path
) -> None:
    """The command, as a person uses it: only its environment says who it is."""
    image, key, settings = tmp_path / "disk.img", tmp_path / "key.txt", tmp_path / "agent.toml"
    demo_disk(image, key_out=key)
    job = f"by-{way.lower().replace(' ', '-')}"
    kind = IdentityKind.WORKLOAD if way == "workload" else IdentityKind.MANAGED
    settings.write_text(
        f'state_dir = "{tmp_path / "state"}"\n[store]\nkind = "azure"\naddress = "{emulator.endpoint}"\n'
        f'credential = "{kind}"\nclient_id = "{ME.client_id}"\n'
    )
    with token_endpoint(made if way == "workload" else None) as endpoint:
        environment = {
            **os.environ,
            **_environment(way, endpoint, tmp_path),
            "SSL_CERT_FILE": str(made.authority),
        }

        def run(*arguments: str) -> str:
            done = subprocess.run(
                [AGENT, "--config", str(settings), *arguments],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr
            assert "canary" not in done.stdout + done.stderr
            return done.stdout

        run("job", "create", job, "--drive", FACTS["serial"], "--key-file", str(key), "--to", f"{job}/")
        run("replay", str(image), "--serial", FACTS["serial"])
        drive: dict[str, Any] = json.loads(run("job", "show", job, "--json"))["properties"]["driveList"][0]
    assert drive["copyStatus"] == "Completed"
    assert drive["tally"]["done"] == drive["tally"]["discovered"]
    assert len(endpoint.asked) == 1
    assert _is_as_documented(way, endpoint.asked[0]), endpoint.asked
    found = asyncio.run(_content(emulator, made, f"{job}/session-1/video/harbour.mp4"))
    assert hashlib.sha256(found).hexdigest() == images.hashes("demo")["session-1/video/harbour.mp4"][0]
    assert all(
        b"canary" not in path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()
    )


async def _content(emulator: Azurite, made: Certificates, name: str) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(made.authority))
        store = AzureBlobStore.connect(emulator.endpoint, Secret(emulator.key))
    try:
        return b"".join([piece async for piece in store.read(BlobName.parse(name))])
    finally:
        await store.close()


async def _put(store: AzureBlobStore, name: BlobName) -> None:
    await store.put_block(name, "AAAA", [memoryview(BODY)], crc64([BODY]))
    await store.put_block_list(name, ["AAAA"], NO_ATTRIBUTES, replace=True)
    assert b"".join([piece async for piece in store.read(name)]) == BODY


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("way", ["IMDS", "App Service"])
async def test_a_token_that_ended_is_followed_by_another(
    way: str, emulator: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = BlobName.parse(f"renewed-{way.lower().replace(' ', '-')}/a.txt")
    with token_endpoint() as endpoint:
        for variable, value in _environment(way, endpoint, tmp_path).items():
            monkeypatch.setenv(variable, value)
        endpoint.lives_s = 2
        store = AzureBlobStore.connect(emulator.endpoint, tokens_of(ME))
        try:
            await store.ensure_container(name.container)
            await _put(store, name)
            first = len(endpoint.asked)
            await asyncio.sleep(3)
            endpoint.lives_s = 3600
            await _put(store, name)
            await _put(store, name)
        finally:
            await store.close()
    # On a slow machine the first token may have ended before the first blob was there.
    assert first >= 1
    assert len(endpoint.asked) == first + 1


@pytest.mark.usefixtures("trusting")
async def test_a_token_that_ended_and_is_followed_by_none_is_refused(emulator: Azurite) -> None:
    class Stuck:
        async def get_token(self, *scopes: str, **_: Any) -> Any:
            from azure.core.credentials import AccessToken

            return AccessToken(token(lives_s=-60), int(time.time()) - 60)

        async def close(self) -> None:
            pass

    store = AzureBlobStore.connect(emulator.endpoint, Tokens(Stuck()))
    try:
        with pytest.raises(StoreRefused):
            await store.put_block(NAME, "AAAA", [memoryview(BODY)], crc64([BODY]))
        with pytest.raises(StoreRefused):
            await store.properties(NAME)
    finally:
        await store.close()


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    ("way", "refusal", "kind"),
    [
        ("IMDS", (400, "invalid_request"), StoreRefused),
        ("App Service", (403, "forbidden"), StoreRefused),
        ("App Service", (400, "invalid_scope"), StoreRefused),
    ],
)
async def test_an_identity_that_gets_no_token_is_refused_in_our_words(
    way: str,
    refusal: tuple[int, str],
    kind: type[IngestError],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with token_endpoint() as endpoint:
        endpoint.refusal = refusal
        for variable, value in _environment(way, endpoint, tmp_path).items():
            monkeypatch.setenv(variable, value)
        tokens = tokens_of(ME)
        try:
            with pytest.raises(kind) as caught:
                await tokens.token()
        finally:
            await tokens.close()
    assert "managed-identity" in caught.value.detail
    assert "anary" not in caught.value.detail


@pytest.mark.usefixtures("trusting")
async def test_an_endpoint_that_is_not_there_is_waited_for_as_the_network_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with token_endpoint() as endpoint:
        environment = _environment("App Service", endpoint, tmp_path)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(entra, "TIMEOUT_S", 1.0)
    tokens = tokens_of(ME)
    try:
        with pytest.raises(StoreUnreachable):
            await tokens.token()
    finally:
        await tokens.close()
