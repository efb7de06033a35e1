"""TLS and proxies on the way to the service, and the emulator over TLS."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.blobs.azure import AzureBlobStore
from agent.blobs.crc64 import crc64
from agent.blobs.store import NO_ATTRIBUTES
from agent.errors import BlobAlreadyExists, ConfigInvalid, StoreUnreachable
from agent.model.blobs import BlobName
from agent.model.secrets import Secret
from fixtures.certificates import Certificates
from tests.kit.azure_store import CANARY, NAME, SAS, connected, failure_of, put, stage
from tests.kit.wire import Peer, Request, serving, taking, tunnel

pytestmark = pytest.mark.usefixtures("_no_proxies")


async def test_a_certificate_of_an_unknown_authority_is_refused_by_name(
    certificates: Certificates,
) -> None:
    seen: list[Request] = []
    with serving(taking(seen), tls=certificates) as server:
        async with connected(server.endpoint) as store:
            error = await failure_of(put(store))
    assert isinstance(error, StoreUnreachable)
    assert "TLS failed: unable to get local issuer certificate" in error.detail
    assert seen == []


async def test_a_certificate_of_another_host_is_refused(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    seen: list[Request] = []
    with serving(taking(seen), tls=certificates) as server:
        async with connected(f"https://127.0.0.2:{server.port}/account") as store:
            # The server listens on 127.0.0.1 alone, so the way there is by a proxy.
            with serving(tunnel(server.port, [])) as proxy:
                monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
                async with connected(f"https://127.0.0.2:{server.port}/account") as proxied:
                    error = await failure_of(put(proxied))
            assert isinstance(await failure_of(put(store)), StoreUnreachable)
    assert "TLS failed: IP address mismatch" in error.detail
    assert seen == []


async def test_a_file_of_authorities_that_cannot_be_read_is_a_setting_to_correct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(ConfigInvalid, match=r"SSL_CERT_FILE .*missing\.pem"):
        AzureBlobStore.connect("https://account.blob.core.windows.net", Secret(SAS))


@pytest.fixture
def _trusting(_no_proxies: None, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))


@pytest.mark.usefixtures("_trusting")
async def test_a_proxy_leads_to_a_host_that_only_it_can_find(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Request] = []
    asked: list[tuple[str, dict[str, str]]] = []
    with (
        serving(taking(seen), tls=certificates) as server,
        serving(tunnel(server.port, asked)) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{CANARY}%40@127.0.0.1:{proxy.port}")
        async with connected("https://account.blob.test") as store:
            await stage(store, bytes(3 << 20))
            await put(store)
    (line, headers), *more = asked
    assert (line, headers["host"], more) == (
        "CONNECT account.blob.test:443 HTTP/1.1",
        "account.blob.test:443",
        [],
    )
    assert headers["proxy-authorization"] == "Basic dXNlcjpDYW5hcnlDYW5hcnlDYW5hcnlA"
    assert server.offered == ["account.blob.test"]
    assert [len(request.body) for request in seen] == [3 << 20, 4]
    assert not [request for request in seen if "proxy-authorization" in request.headers]
    assert seen[0].line.startswith("PUT /container/folder/blob.bin?blockid=AAAA&comp=block&sv=")


@pytest.mark.usefixtures("_trusting")
async def test_what_goes_by_the_sdk_takes_the_same_proxy_and_authorities(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Request] = []
    asked: list[tuple[str, dict[str, str]]] = []
    with (
        serving(taking(seen), tls=certificates) as server,
        serving(tunnel(server.port, asked)) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass@127.0.0.1:{proxy.port}")
        async with connected("https://account.blob.test") as store:
            await store.ensure_container(NAME.container)
    assert asked[0][0].startswith("CONNECT account.blob.test:443 ")
    assert asked[0][1]["proxy-authorization"] == "Basic dXNlcjpwYXNz"
    assert seen[0].line.startswith("PUT /container?")


@pytest.mark.usefixtures("_trusting")
@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "answered 407"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nsorry", "answered 502"),
        (b"nonsense\r\n\r\n", "does not begin as HTTP/1.1"),
        (b"", "disconnected"),
    ],
)
async def test_a_proxy_that_does_not_lead_there_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, text: str
) -> None:
    def refusing(peer: Peer) -> None:
        peer.head()
        peer.say(answer)

    with serving(refusing) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{CANARY}@127.0.0.1:{proxy.port}")
        async with connected("https://account.blob.test") as store:
            error = await failure_of(put(store))
    assert isinstance(error, StoreUnreachable)
    assert f"(proxy 127.0.0.1:{proxy.port}" in error.detail
    assert text in error.detail
    assert CANARY not in error.detail


async def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    async with connected("https://account.blob.test") as store:
        error = await failure_of(put(store))
    assert f"proxy 127.0.0.1:{port}: Connection refused" in error.detail


async def test_a_host_of_no_proxy_is_met_directly(
    monkeypatch: pytest.MonkeyPatch, tls: Certificates | None
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "other.example,127.0.0.1")
    seen: list[Request] = []
    with serving(taking(seen), tls=tls) as server:
        async with connected(server.endpoint) as store:
            await put(store)
    assert len(seen) == 1


async def test_without_tls_a_proxy_relays_requests_in_absolute_form(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Request] = []
    with serving(taking(seen)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@127.0.0.1:{proxy.port}")
        async with connected("http://account.blob.test:8080") as store:
            await put(store)
    [request] = seen
    assert request.line.startswith("PUT http://account.blob.test:8080/container/folder/blob.bin?sv=")
    assert request.headers["host"] == "account.blob.test:8080"
    assert request.headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"


@pytest.mark.parametrize("url", [f"socks5://user:{CANARY}@host:1", "http://host:port", "http://"])
async def test_a_proxy_of_another_kind_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(ConfigInvalid, match="proxy") as caught:
        AzureBlobStore.connect("https://account.blob.core.windows.net", Secret(SAS))
    assert CANARY not in str(caught.value)


# --- Azurite over TLS ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def azurite_over_tls(certificates: Certificates) -> Iterator[tuple[str, str]]:
    """Endpoint and key."""
    from fixtures.azurite import AzuriteMissing, running

    try:
        with running(certificates=certificates) as emulator:
            yield emulator.endpoint, emulator.key
    except AzuriteMissing as reason:
        pytest.skip(str(reason))


@pytest.mark.usefixtures("_trusting")
async def test_every_write_works_over_tls(azurite_over_tls: tuple[str, str]) -> None:
    endpoint, key = azurite_over_tls
    assert endpoint.startswith("https://")
    data = bytes(range(256)) * 5000
    store = AzureBlobStore.connect(endpoint, Secret(key))
    try:
        await store.ensure_container(NAME.container)
        await put(store, data)
        assert isinstance(await failure_of(put(store, data)), BlobAlreadyExists)
        await stage(store, data)
        await store.put_block_list(NAME, ["AAAA", "AAAA"], NO_ATTRIBUTES, replace=True)
        assert b"".join([piece async for piece in store.read(NAME)]) == data * 2
        pages = BlobName.parse("container/pages")
        await store.create_page_blob(pages, 1024, NO_ATTRIBUTES, replace=False)
        await store.put_page(pages, 512, [memoryview(data)[:512]], crc64([data[:512]]))
        assert b"".join([piece async for piece in store.read(pages)]) == bytes(512) + data[:512]
    finally:
        await store.close()
