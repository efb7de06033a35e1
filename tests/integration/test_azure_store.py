"""What only the Azure adapter has: credentials, the wire, and answers that the emulator never gives."""

from __future__ import annotations

import asyncio
import logging
import socket
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from azure.storage.blob.aio import BlobClient

from agent.blobs.azure import AzureBlobStore
from agent.blobs.crc64 import crc64, header
from agent.blobs.store import NO_ATTRIBUTES, ETag, Replace
from agent.errors import (
    BlobAlreadyExists,
    BlobNotFound,
    BlobRequestFailed,
    ChecksumMismatch,
    ConfigInvalid,
    IngestError,
    LeasePresent,
    ServiceError,
    StoreRefused,
    StoreThrottled,
    StoreUnreachable,
)
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.identity import ContainerName
from agent.model.secrets import Secret

if TYPE_CHECKING:
    from fixtures.azurite import Azurite

CANARY = "CanaryCanaryCanary"
SAS = f"sv=2024-11-04&sr=c&sp=rwc&sig={CANARY}%3D"
NAME = BlobName.parse("container/folder/blob.bin")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server of our own on loopback; gives its endpoint."""
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/account"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def connected(
    endpoint: str, credential: str = SAS, *, read_timeout_s: float = 20
) -> AsyncIterator[AzureBlobStore]:
    store = AzureBlobStore.connect(endpoint, Secret(credential), read_timeout_s=read_timeout_s)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def azure(azurite: Azurite) -> AsyncIterator[AzureBlobStore]:
    async with connected(azurite.endpoint, azurite.key) as store:
        yield store


async def new_container(store: AzureBlobStore) -> ContainerName:
    container = ContainerName.parse(f"c-{uuid.uuid4().hex}")
    await store.ensure_container(container)
    return container


async def put(
    store: AzureBlobStore, name: BlobName = NAME, data: bytes = b"data", replace: Replace = False
) -> None:
    await store.put_blob(name, [memoryview(data)], crc64([data]), NO_ATTRIBUTES, replace=replace)


def sdk_client(azurite: Azurite, name: BlobName) -> BlobClient:
    """Somebody else who works on the same blob."""
    return BlobClient(
        azurite.endpoint, name.container.text, name.path, credential=azurite.key, api_version="2024-11-04"
    )


async def failure_of(call: Awaitable[object]) -> IngestError:
    with pytest.raises(IngestError) as caught:
        await call
    return caught.value


def everything_shown(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format()) + repr(
        error
    )


# --- credentials ---------------------------------------------------------------------------------


async def test_a_wrong_account_key_is_refused_with_the_code_of_the_service(azurite: Azurite) -> None:
    async with connected(azurite.endpoint, "d3Jvbmcga2V5") as store:
        error = await failure_of(store.ensure_container(NAME.container))
    assert isinstance(error, StoreRefused)
    assert "403 AuthorizationFailure" in error.detail or "403 AuthenticationFailed" in error.detail


def container_sas(azurite: Azurite, container: ContainerName, permissions: str) -> str:
    return generate_container_sas(
        azurite.account,
        container.text,
        account_key=azurite.key,
        permission=ContainerSasPermissions.from_string(permissions),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )


async def test_a_sas_of_one_container_without_list_right_is_enough(
    azurite: Azurite, azure: AzureBlobStore
) -> None:
    container = await new_container(azure)
    name = BlobName.of(container, "ünï/100%.bin")
    async with connected(azurite.endpoint, "?" + container_sas(azurite, container, "rwc")) as store:
        await store.ensure_container(container)
        await put(store, name)
        await store.put_block(name, "AAAA", [memoryview(b"b")], crc64([b"b"]))
        await store.put_block_list(name, ["AAAA"], NO_ATTRIBUTES, replace=True)
        assert [piece async for piece in store.read(name)] == [b"b"]


async def test_a_sas_does_not_make_a_missing_container_pass(azurite: Azurite) -> None:
    missing = ContainerName.parse(f"c-{uuid.uuid4().hex}")
    async with connected(azurite.endpoint, container_sas(azurite, missing, "rwc")) as store:
        assert isinstance(await failure_of(store.ensure_container(missing)), StoreRefused)


@pytest.mark.parametrize(
    ("endpoint", "credential"),
    [
        ("ftp://account.blob.core.windows.net", SAS),
        ("account.blob.core.windows.net", SAS),
        (f"https://account.blob.core.windows.net/?{SAS}", SAS),
        (f"https://account:{CANARY}@blob.core.windows.net", SAS),
        ("https://account.blob.core.windows.net/a/b", SAS),
        ("http://127.0.0.1:10000", SAS),
        ("https://account.blob.core.windows.net:port", SAS),
        ("https://account.blob.core.windows.net", f"{CANARY} is no key"),
        ("https://account.blob.core.windows.net", ""),
    ],
)
async def test_a_malformed_endpoint_or_credential_is_named_and_not_shown(
    endpoint: str, credential: str
) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        AzureBlobStore.connect(endpoint, Secret(credential))
    assert CANARY not in everything_shown(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (
            "https://acct.blob.core.windows.net/",
            "https://acct.blob.core.windows.net/container/folder/blob.bin",
        ),
        (
            "https://acct.blob.core.chinacloudapi.cn",
            "https://acct.blob.core.chinacloudapi.cn/container/folder/blob.bin",
        ),
        ("http://127.0.0.1:10000/dev", "http://127.0.0.1:10000/dev/container/folder/blob.bin"),
    ],
)
async def test_addresses_hold_no_credential(endpoint: str, url: str) -> None:
    async with connected(endpoint) as store:
        assert store.url(NAME) == url
        assert CANARY not in repr(store)


# --- no answer -----------------------------------------------------------------------------------


async def test_a_refused_connection_names_host_and_port_and_not_the_sas() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    async with connected(f"http://127.0.0.1:{port}/account") as store:
        error = await failure_of(put(store))
    assert isinstance(error, StoreUnreachable)
    assert f"127.0.0.1:{port} (Connection refused)" in error.detail
    assert CANARY not in everything_shown(error)
    assert (error.__cause__, error.__context__) == (None, None)


async def test_an_unknown_host_is_unreachable() -> None:
    async with connected("http://no-such-host.invalid/account") as store:
        assert isinstance(await failure_of(put(store)), StoreUnreachable)


async def test_a_server_that_never_answers_times_out() -> None:
    release = asyncio.Event()

    async def silent(_: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    async with serving(silent) as endpoint, connected(endpoint, read_timeout_s=0.2) as store:
        error = await failure_of(put(store))
        release.set()
    assert isinstance(error, StoreUnreachable)
    assert "timed out" in error.detail


async def test_a_connection_that_is_reset_is_unreachable() -> None:
    async def resetting(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with serving(resetting) as endpoint, connected(endpoint) as store:
        error = await failure_of(put(store))
    assert isinstance(error, StoreUnreachable)
    assert CANARY not in everything_shown(error)


# --- answers -------------------------------------------------------------------------------------

VERSION = ETag('"0x8DBD5A2C0D7F0A1"')

ANSWERS: list[tuple[int, str, Replace, type[ServiceError]]] = [
    (503, "ServerBusy", False, StoreThrottled),
    (500, "InternalError", False, StoreThrottled),
    (500, "OperationTimedOut", False, StoreThrottled),
    (503, "", False, StoreThrottled),
    (429, "TooManyRequests", False, StoreThrottled),
    (403, "AuthenticationFailed", False, StoreRefused),
    (403, "AuthorizationPermissionMismatch", True, StoreRefused),
    (401, "", False, StoreRefused),
    (409, "BlobAlreadyExists", False, BlobAlreadyExists),
    (412, "ConditionNotMet", False, BlobAlreadyExists),
    (412, "ConditionNotMet", True, BlobRequestFailed),
    (412, "ConditionNotMet", VERSION, BlobAlreadyExists),
    (412, "", VERSION, BlobAlreadyExists),
    (412, "LeaseIdMissing", VERSION, LeasePresent),
    (403, "UnauthorizedBlobOverwrite", VERSION, StoreRefused),
    (409, "BlobImmutableDueToPolicy", VERSION, BlobRequestFailed),
    (404, "ContainerNotFound", VERSION, BlobNotFound),
    (403, "UnauthorizedBlobOverwrite", False, BlobAlreadyExists),
    (403, "UnauthorizedBlobOverwrite", True, StoreRefused),
    (412, "LeaseIdMissing", True, LeasePresent),
    (409, "LeaseAlreadyPresent", True, LeasePresent),
    (400, "Crc64Mismatch", False, ChecksumMismatch),
    (400, "Md5Mismatch", False, ChecksumMismatch),
    (404, "ContainerNotFound", False, BlobNotFound),
    (404, "", False, BlobNotFound),
    (409, "BlobArchived", True, BlobRequestFailed),
    (409, "BlobImmutableDueToPolicy", True, BlobRequestFailed),
    (409, "BlobImmutableDueToPolicy", False, BlobAlreadyExists),
    (409, "BlobImmutableDueToLegalHold", True, BlobRequestFailed),
    (409, "SnapshotsPresent", True, BlobRequestFailed),
    (413, "RequestBodyTooLarge", False, BlobRequestFailed),
    (307, "", False, BlobRequestFailed),
]


@pytest.mark.parametrize(("status", "code", "replace", "kind"), ANSWERS)
async def test_an_answer_of_the_service_becomes_one_decision_after_one_request(
    status: int, code: str, replace: Replace, kind: type[ServiceError], caplog: pytest.LogCaptureFixture
) -> None:
    requests: list[str] = []

    async def answering(request: web.Request) -> web.StreamResponse:
        requests.append(request.method)
        await request.read()
        text = (
            f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>sig={CANARY}</Message></Error>"
            if code
            else ""
        )
        headers = {"x-ms-error-code": code} if code else {}
        return web.Response(status=status, text=text, content_type="application/xml", headers=headers)

    caplog.set_level(logging.INFO)
    async with serving(answering) as endpoint, connected(endpoint) as store:
        error = await failure_of(put(store, replace=replace))
    assert type(error) is kind
    assert str(status) in error.detail
    assert code in error.detail
    assert error.detail.endswith("keeps it as it is") is code.startswith("BlobImmutable")
    assert "\n" not in error.detail
    assert requests == ["PUT"]
    assert CANARY not in everything_shown(error)
    assert CANARY not in caplog.text


async def test_an_answer_that_is_no_blob_service_is_a_failed_request() -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>Please log in</html>", content_type="text/html")

    async with serving(page) as endpoint, connected(endpoint) as store:
        assert isinstance(await failure_of(put(store)), BlobRequestFailed)
        assert isinstance(await failure_of(store.uncommitted_blocks(NAME)), BlobRequestFailed)
        assert isinstance(await failure_of(store.properties(NAME)), BlobRequestFailed)
        assert isinstance(await failure_of(anext(store.read(NAME))), BlobRequestFailed)
        assert isinstance(await failure_of(anext(store.names(NAME.container))), BlobRequestFailed)


async def test_an_append_blob_of_that_name_is_a_failed_request(
    azurite: Azurite, azure: AzureBlobStore
) -> None:
    name = BlobName.of(await new_container(azure), "appended")
    async with sdk_client(azurite, name) as other:
        await other.create_append_blob()
    assert "InvalidBlobType" in (await failure_of(azure.properties(name))).detail
    assert isinstance(await failure_of(put(azure, name)), BlobAlreadyExists)


async def test_a_lease_that_somebody_holds_is_named(azurite: Azurite, azure: AzureBlobStore) -> None:
    name = BlobName.of(await new_container(azure), "leased")
    await put(azure, name)
    async with sdk_client(azurite, name) as other:
        lease = await other.acquire_lease()
        assert isinstance(await failure_of(put(azure, name, replace=True)), LeasePresent)
        await lease.release()


# --- the wire ------------------------------------------------------------------------------------


async def test_a_blob_of_any_size_is_one_request_with_crc_and_condition() -> None:
    data = bytes(9 << 20)
    seen: list[web.Request] = []
    bodies: list[bytes] = []

    async def taking(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.read())
        seen.append(request)
        return web.Response(status=201)

    async with serving(taking) as endpoint, connected(endpoint) as store:
        await put(store, data=data)
    [request] = seen
    assert bodies == [data]
    assert request.headers["x-ms-content-crc64"] == header(crc64([data]))
    assert request.headers["If-None-Match"] == "*"
    assert request.headers["Content-Length"] == str(len(data))
    assert "Transfer-Encoding" not in request.headers


async def test_block_ids_and_checksums_stand_on_the_wire_as_they_were_given() -> None:
    block_id, data = "gP/+AAAA", bytes(700_000)
    seen: list[web.Request] = []
    bodies: list[bytes] = []

    async def taking(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.read())
        seen.append(request)
        return web.Response(status=201)

    async with serving(taking) as endpoint, connected(endpoint) as store:
        await store.put_block(NAME, block_id, [memoryview(data)], crc64([data]))
        await store.put_block_list(NAME, [block_id] * 2, NO_ATTRIBUTES, replace=True)
    assert seen[0].query["blockid"] == block_id
    assert seen[0].headers["x-ms-content-crc64"] == header(crc64([data]))
    assert bodies[0] == data
    assert bodies[1].count(f"<Latest>{block_id}</Latest>".encode()) == 2
    assert "If-None-Match" not in seen[1].headers


async def test_an_echoed_checksum_of_other_bytes_is_a_mismatch() -> None:
    async def echoing(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.Response(status=201, headers={"x-ms-content-crc64": header(1)})

    async with serving(echoing) as endpoint, connected(endpoint) as store:
        error = await failure_of(store.put_block(NAME, "AAAA", [memoryview(b"x")], crc64([b"x"])))
    assert isinstance(error, ChecksumMismatch)


async def test_metadata_is_printable_ascii_on_the_wire() -> None:
    seen: list[str] = []

    async def taking(request: web.Request) -> web.StreamResponse:
        await request.read()
        seen.append(request.headers["x-ms-meta-owner"])
        return web.Response(status=201)

    async with serving(taking) as endpoint, connected(endpoint) as store:
        for owner in ("plain, value=100% (ok)", "Zoë\n"):
            attributes = BlobAttributes(metadata={"owner": owner})
            await store.put_blob(NAME, [memoryview(b"x")], crc64([b"x"]), attributes, replace=False)
    assert seen == ["plain, value=100% (ok)", "Zo%C3%AB%0A"]


async def test_a_failed_block_leaves_its_buffer_free_for_the_next() -> None:
    async def refusing(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    buffer = bytearray(4 << 20)
    async with serving(refusing) as endpoint, connected(endpoint) as store:
        with memoryview(buffer) as view:
            checksum = crc64([view])
            assert isinstance(
                await failure_of(store.put_block(NAME, "AAAA", [view], checksum)), StoreUnreachable
            )
        for _ in range(3):
            await asyncio.sleep(0)
        buffer.extend(b"a buffer with a view on it cannot grow")


async def test_what_each_drive_asks_for_needs_no_sdk(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_sdk(store: AzureBlobStore) -> None:
        raise AssertionError("the SDK was opened")

    monkeypatch.setattr(AzureBlobStore, "_sdk", property(no_sdk))
    store = AzureBlobStore.connect(azurite.endpoint, Secret(azurite.key))
    name = BlobName.of(ContainerName.parse(f"c-{uuid.uuid4().hex}"), "a/large.bin")
    data = memoryview(b"data")
    try:
        for _ in range(2):
            await store.ensure_container(name.container)
        with pytest.raises(BlobNotFound):
            await store.properties(name)
        assert await store.uncommitted_blocks(name) == {}
        await store.put_block(name, "AAAA", [data], crc64([data]))
        assert await store.uncommitted_blocks(name) == {"AAAA": 4}
        await store.put_block_list(name, ["AAAA"], NO_ATTRIBUTES, replace=False)
        assert (await store.properties(name)).size_bytes == 4
    finally:
        await store.close()
