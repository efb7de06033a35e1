"""The store's own transport against servers and proxies that misbehave."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.blobs.azure import AzureBlobStore
from agent.blobs.azure_errors import LONGEST_WAIT_S
from agent.blobs.azure_sdk import SdkBlobStore
from agent.blobs.crc64 import crc64, header
from agent.blobs.store import NO_ATTRIBUTES
from agent.errors import (
    BlobAlreadyExists,
    BlobRequestFailed,
    ConfigInvalid,
    IngestError,
    StoreRefused,
    StoreThrottled,
    StoreUnreachable,
)
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.secrets import Secret
from fixtures.certificates import Certificates
from tests.kit.wire import CREATED, PATIENCE_S, Peer, Request, Script, serving, taking, tunnel

CANARY = "CanaryCanaryCanary"
SAS = f"sv=2024-11-04&sr=c&sp=rwc&sig={CANARY}%3D"
NAME = BlobName.parse("container/folder/blob.bin")
pytestmark = pytest.mark.usefixtures("_no_proxies")
LARGE_BYTES = 32 << 20
"""More than any socket buffer takes."""


@asynccontextmanager
async def connected(
    endpoint: str, *, read_timeout_s: float = 20, connections: int = 4
) -> AsyncIterator[AzureBlobStore]:
    store = AzureBlobStore.connect(
        endpoint, Secret(SAS), read_timeout_s=read_timeout_s, connections=connections
    )
    try:
        yield store
    finally:
        await store.close()


async def put(store: AzureBlobStore, data: bytes = b"data", *, replace: bool = False) -> None:
    await store.put_blob(NAME, [memoryview(data)], crc64([data]), NO_ATTRIBUTES, replace=replace)


async def stage(store: AzureBlobStore, data: bytes | bytearray) -> None:
    with memoryview(data) as view:
        await store.put_block(NAME, "AAAA", [view], crc64([view]))


async def failure_of(call: Awaitable[object]) -> IngestError:
    with pytest.raises(IngestError) as caught:
        await call
    return caught.value


async def happened(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, PATIENCE_S)


def refusal(status: str, code: str, more: str = "") -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>sig={CANARY}</Message></Error>"
    return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}".encode()


# --- keep-alive ----------------------------------------------------------------------------------


async def test_requests_one_after_the_other_share_a_connection(tls: Certificates | None) -> None:
    seen: list[Request] = []
    with serving(taking(seen), tls=tls) as server:
        async with connected(server.endpoint) as store:
            for number in range(5):
                await put(store, b"x" * number)
    assert server.connections == 1
    assert [len(request.body) for request in seen] == [0, 1, 2, 3, 4]


async def test_there_are_never_more_connections_than_allowed() -> None:
    seen: list[Request] = []
    with serving(taking(seen)) as server:
        async with connected(server.endpoint, connections=3) as store:
            await asyncio.gather(*(put(store, bytes([number])) for number in range(40)))
    assert server.connections <= 3
    assert {request.body for request in seen} == {bytes([number]) for number in range(40)}


async def test_a_connection_closed_while_idle_is_replaced_unseen(tls: Certificates | None) -> None:
    gone = threading.Event()
    seen: list[Request] = []

    def once(peer: Peer) -> None:
        seen.append(peer.request())
        peer.say(CREATED)
        peer.sock.close()
        gone.set()

    with serving(once, taking(seen), tls=tls) as server:
        async with connected(server.endpoint) as store:
            await put(store, b"first")
            await happened(gone)
            await put(store, b"second")
    assert (server.connections, [request.body for request in seen]) == (2, [b"first", b"second"])


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_kept_connection_that_ends_with_the_request_under_way_is_replaced_once(
    tls: Certificates | None, how: str
) -> None:
    seen: list[Request] = []

    def once(peer: Peer) -> None:
        seen.append(peer.request())
        peer.say(CREATED)
        peer.head()
        if how == "reset":
            peer.reset()

    with serving(once, taking(seen), tls=tls) as server:
        async with connected(server.endpoint) as store:
            await put(store, b"first")
            await stage(store, bytes(3 << 20))
    assert (server.connections, [len(request.body) for request in seen]) == (2, [5, 3 << 20])


async def test_a_new_connection_that_ends_without_an_answer_is_not_tried_again(
    tls: Certificates | None,
) -> None:
    def silent(peer: Peer) -> None:
        peer.request()

    with serving(silent, tls=tls) as server:
        async with connected(server.endpoint) as store:
            error = await failure_of(put(store))
    assert (type(error), server.connections) == (StoreUnreachable, 1)
    assert "no answer" in error.detail


async def test_an_answer_that_breaks_off_on_a_kept_connection_is_not_asked_for_again() -> None:
    def breaking(peer: Peer) -> None:
        peer.request()
        peer.say(CREATED)
        peer.request()
        peer.say(b"HTTP/1.1 201 Crea")

    with serving(breaking) as server:
        async with connected(server.endpoint) as store:
            await put(store)
            error = await failure_of(put(store))
    assert (type(error), server.connections) == (StoreUnreachable, 1)
    assert "broke off in the middle of an answer" in error.detail


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 201 Created\r\nContent-Length: 0\r\n\r\n",
        CREATED + b"HTTP/1.1 500 Nobody asked\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["close", "1.0", "junk"],
)
async def test_a_connection_that_cannot_go_on_is_not_used_again(answer: bytes) -> None:
    seen: list[Request] = []
    with serving(taking(seen, answer)) as server:
        async with connected(server.endpoint) as store:
            await put(store)
            await put(store)
    assert (server.connections, len(seen)) == (2, 2)


# --- answers that come early ---------------------------------------------------------------------


async def test_a_refusal_in_the_middle_of_a_body_is_understood_though_the_connection_is_reset(
    tls: Certificates | None,
) -> None:
    def busy(peer: Peer) -> None:
        peer.head()
        peer.take(100_000)
        peer.say(refusal("503 Busy", "ServerBusy", "Retry-After: 7\r\nConnection: close\r\n"))

    with serving(busy, tls=tls) as server:
        async with connected(server.endpoint) as store:
            errors = [await failure_of(stage(store, bytes(LARGE_BYTES))) for _ in range(5)]
    assert [type(error) for error in errors] == [StoreThrottled] * 5
    assert [error.retry_after_s for error in errors if isinstance(error, StoreThrottled)] == [7.0] * 5
    assert "503 ServerBusy" in errors[0].detail


async def test_a_refusal_is_understood_while_the_service_goes_on_reading(tls: Certificates | None) -> None:
    def reading(peer: Peer) -> None:
        peer.head()
        peer.say(refusal("409 Conflict", "BlobAlreadyExists"))
        peer.wait_for_the_end()

    with serving(reading, tls=tls) as server:
        async with connected(server.endpoint) as store:
            assert isinstance(await failure_of(put(store, bytes(LARGE_BYTES))), BlobAlreadyExists)
            assert isinstance(await failure_of(put(store, bytes(LARGE_BYTES))), BlobAlreadyExists)
    assert server.connections == 2


@pytest.mark.parametrize("then", ["reads on", "hangs up"])
async def test_a_yes_to_a_body_that_was_not_sent_whole_is_not_believed(
    tls: Certificates | None, then: str
) -> None:
    def hasty(peer: Peer) -> None:
        peer.head()
        peer.say(CREATED)
        if then == "reads on":
            peer.wait_for_the_end()

    with serving(hasty, tls=tls) as server:
        async with connected(server.endpoint) as store:
            error = await failure_of(stage(store, bytes(LARGE_BYTES)))
    assert isinstance(error, BlobRequestFailed)
    assert "not sent whole" in error.detail


async def test_a_refusal_is_understood_when_the_service_reads_no_more_and_stays(
    tls: Certificates | None,
) -> None:
    done = threading.Event()

    def stuck(peer: Peer) -> None:
        peer.head()
        peer.say(refusal("403 Forbidden", "AuthenticationFailed"))
        done.wait(PATIENCE_S)

    with serving(stuck, tls=tls) as server:
        async with connected(server.endpoint, read_timeout_s=0.4) as store:
            error = await failure_of(stage(store, bytes(LARGE_BYTES)))
            done.set()
    assert isinstance(error, StoreRefused)


async def test_interim_answers_are_passed_over(tls: Certificates | None) -> None:
    def interim(peer: Peer) -> None:
        line, headers = peer.head()
        assert line.startswith("PUT ")
        peer.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.take(int(headers["content-length"]))
        peer.say(b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" + CREATED)
        peer.wait_for_the_end()

    with serving(interim, tls=tls) as server:
        async with connected(server.endpoint) as store:
            await stage(store, bytes(LARGE_BYTES))
    assert server.connections == 1


# --- deadlines and cancellation ------------------------------------------------------------------


async def test_a_send_on_which_nothing_moves_is_cut(tls: Certificates | None) -> None:
    done = threading.Event()

    def stalling(peer: Peer) -> None:
        peer.head()
        done.wait(PATIENCE_S)

    buffer = bytearray(LARGE_BYTES)
    with serving(stalling, tls=tls) as server:
        async with connected(server.endpoint, read_timeout_s=0.4) as store:
            error = await failure_of(stage(store, buffer))
            done.set()
    assert isinstance(error, StoreUnreachable)
    assert "timed out" in error.detail
    buffer.extend(b"a buffer with a view on it cannot grow")


async def test_a_line_that_is_slow_and_moves_is_not_cut(tls: Certificates | None) -> None:
    def slow(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 << 10)
        _, headers = peer.head()
        for _ in range(15):
            peer.take(256 << 10)
            threading.Event().wait(0.1)
        peer.take(int(headers["content-length"]) - 15 * (256 << 10))
        peer.say(CREATED)

    with serving(slow, tls=tls) as server:
        async with connected(server.endpoint, read_timeout_s=0.5) as store:
            await stage(store, bytes(LARGE_BYTES))
    assert server.connections == 1


async def test_an_answer_in_drops_is_cut_at_its_deadline() -> None:
    def dripping(peer: Peer) -> None:
        peer.request()
        for byte in b"HTTP/1.1 201 Created\r\n" + b"x: y\r\n" * 1000:
            peer.say(bytes([byte]))
            threading.Event().wait(0.02)

    with serving(dripping) as server:
        async with connected(server.endpoint, read_timeout_s=0.4) as store:
            assert isinstance(await failure_of(put(store)), StoreUnreachable)


@pytest.mark.parametrize("where", ["body", "answer"])
async def test_a_cancelled_write_returns_when_its_buffer_is_free_and_its_connection_is_gone(
    tls: Certificates | None, where: str
) -> None:
    begun, ended = threading.Event(), threading.Event()
    received = bytearray()

    def stalling(peer: Peer) -> None:
        _, headers = peer.head()
        if where == "answer":
            peer.take(int(headers["content-length"]))
        begun.set()
        ended.wait(PATIENCE_S)
        while piece := peer.sock.recv(1 << 16):
            received.extend(piece)

    buffer = bytearray(b"a" * (LARGE_BYTES if where == "body" else 5000))
    with serving(stalling, tls=tls) as server:
        async with connected(server.endpoint) as store:
            task = asyncio.create_task(stage(store, buffer))
            await happened(begun)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            buffer.extend(b"a buffer with a view on it cannot grow")
            buffer[:] = b"b" * len(buffer)
            ended.set()
    assert b"b" not in received
    assert server.connections == 1


async def test_a_write_cancelled_again_and_again_still_waits_for_its_thread() -> None:
    begun, ended = threading.Event(), threading.Event()

    def stalling(peer: Peer) -> None:
        peer.head()
        begun.set()
        ended.wait(PATIENCE_S)

    buffer = bytearray(LARGE_BYTES)
    with serving(stalling) as server:
        async with connected(server.endpoint) as store:
            task = asyncio.create_task(stage(store, buffer))
            await happened(begun)
            while not task.done():
                task.cancel()
                await asyncio.sleep(0)
            buffer.extend(b"a buffer with a view on it cannot grow")
            ended.set()


async def test_a_write_cancelled_before_its_turn_is_never_sent() -> None:
    begun, go = threading.Event(), threading.Event()
    seen: list[Request] = []

    def slow(peer: Peer) -> None:
        while True:
            seen.append(peer.request())
            begun.set()
            go.wait(PATIENCE_S)
            peer.say(CREATED)

    waiting = bytearray(b"second")
    with serving(slow) as server:
        async with connected(server.endpoint, connections=1) as store:
            first = asyncio.create_task(put(store, b"first"))
            await happened(begun)
            second = asyncio.create_task(stage(store, waiting))
            await asyncio.sleep(0)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            waiting.extend(b"a buffer with a view on it cannot grow")
            go.set()
            await first
            await put(store, b"third")
    assert [request.body for request in seen] == [b"first", b"third"]
    assert server.connections == 1


async def test_closing_the_store_ends_what_is_under_way_and_its_threads() -> None:
    begun, ended = threading.Event(), threading.Event()

    def stalling(peer: Peer) -> None:
        peer.head()
        begun.set()
        ended.wait(PATIENCE_S)

    before = {thread.name for thread in threading.enumerate()}
    with serving(stalling) as server:
        async with connected(server.endpoint) as store:
            task = asyncio.create_task(failure_of(stage(store, bytes(LARGE_BYTES))))
            await happened(begun)
            await store.close()
            assert isinstance(await task, StoreUnreachable)
            assert "closed" in (await failure_of(put(store))).detail
            left = {thread.name for thread in threading.enumerate()} - before
            ended.set()
    assert not [name for name in left if name.startswith("wire-")]


@pytest.mark.parametrize("seed", range(4))
async def test_in_a_storm_every_write_ends_and_what_was_confirmed_had_arrived(
    tls: Certificates | None, seed: int
) -> None:
    arrived: set[bytes] = set()
    dice = random.Random(seed)

    def moody(peer: Peer) -> None:
        while True:
            mood = dice.random()
            if mood < 0.1:
                peer.head()
                peer.reset()
            if mood < 0.2:
                peer.head()
                peer.say(refusal("503 Busy", "ServerBusy", "Connection: close\r\n"))
                return
            request = peer.request()
            if mood < 0.3:
                return
            arrived.add(request.body)
            peer.say(CREATED)
            if mood < 0.4:
                return

    async def one(number: int, store: AzureBlobStore) -> bytes | None:
        body = number.to_bytes(4, "big") * (1 + number % 7 * 30_000)
        task = asyncio.create_task(stage(store, body))
        if number % 5 == 0:
            await asyncio.sleep(dice.random() / 100)
            task.cancel()
        outcomes = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(outcomes[0], IngestError | asyncio.CancelledError | None)
        return body if outcomes[0] is None else None

    with serving(moody, tls=tls) as server:
        async with connected(server.endpoint, connections=6) as store:
            confirmed = await asyncio.gather(*(one(number, store) for number in range(200)))
    assert 20 < sum(body is not None for body in confirmed) < 200
    assert {body for body in confirmed if body is not None} <= arrived


# --- answers that are none -----------------------------------------------------------------------

BROKEN: list[tuple[str, bytes, type[IngestError], str]] = [
    ("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", BlobRequestFailed, "does not begin as HTTP/1.1"),
    ("endless head", b"HTTP/1.1 201 Created\r\nx: " + b"y" * 40_000, BlobRequestFailed, "longer than 32768"),
    (
        "many headers",
        b"HTTP/1.1 201 Created\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(101)) + b"\r\n",
        BlobRequestFailed,
        "more than 100 headers",
    ),
    (
        "no colon",
        b"HTTP/1.1 201 Created\r\na: b\r\nnonsense\r\n\r\n",
        BlobRequestFailed,
        "header 2 is malformed",
    ),
    ("two lengths", CREATED[:-2] + b"Content-Length: 1\r\n\r\n", BlobRequestFailed, "two different"),
    ("cut in the head", b"HTTP/1.1 201 Created\r\nConte", StoreUnreachable, "broke off"),
    ("cut in the body", b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\n<", StoreUnreachable, "broke off"),
    ("interims", b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + CREATED, BlobRequestFailed, "interim"),
    ("a page", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", BlobRequestFailed, "cannot be read"),
]


@pytest.mark.parametrize(("answer", "kind", "text"), [row[1:] for row in BROKEN], ids=[r[0] for r in BROKEN])
async def test_an_answer_that_is_none_is_named(answer: bytes, kind: type[IngestError], text: str) -> None:
    with serving(_answering(answer)) as server:
        async with connected(server.endpoint) as store:
            error = await failure_of(put(store))
    assert type(error) is kind
    assert text in error.detail
    assert (error.__cause__, error.__context__) == (None, None)


def _answering(answer: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.say(answer)

    return script


@pytest.mark.parametrize(
    "framing",
    [
        b"Transfer-Encoding: chunked\r\n\r\n"
        b"2\r\n<C\r\n19;a=b\r\node>LeaseIdMissing</Code>\r\n0\r\nT: x\r\n\r\n",
        b"Connection: close\r\n\r\n<Code>LeaseIdMissing</Code>",
        b"Content-Length: 200000\r\n\r\n<Code>LeaseIdMissing</Code>" + b" " * 200_000,
    ],
    ids=["chunked", "to the end", "long"],
)
async def test_the_code_of_an_error_is_found_in_a_body_of_any_framing(framing: bytes) -> None:
    head = b"HTTP/1.1 412 Precondition\r\nx-ms-request-id: 6f4a0c9e-001e-0000-0000-00000000002a\r\n"
    with serving(_answering(head + framing)) as server:
        async with connected(server.endpoint) as store:
            error = await failure_of(put(store, replace=True))
    assert error.id == "LeasePresent"
    assert "412 LeaseIdMissing (request 6f4a0c9e-001e-0000-0000-00000000002a)" in error.detail


@pytest.mark.parametrize("wait", ["soon", "-1", "99999999999", "Wed, 99 Oct 2026", "9.5"])
async def test_a_wait_that_is_no_number_of_seconds_and_no_date_is_none(wait: str) -> None:
    answer = refusal("503 Busy", "ServerBusy", f"Retry-After: {wait}\r\n")
    with serving(_answering(answer)) as server:
        async with connected(server.endpoint) as store:
            error = await failure_of(put(store))
    assert isinstance(error, StoreThrottled)
    assert error.retry_after_s is None


NOW = "Date: Wed, 21 Oct 2026 07:28:00 GMT\r\n"


@pytest.mark.parametrize("adapter", [AzureBlobStore, SdkBlobStore])
@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ("", None),
        ("Retry-After: 0\r\n", 0.0),
        ("Retry-After: 17\r\n", 17.0),
        (f"{NOW}Retry-After: Wed, 21 Oct 2026 07:28:25 GMT\r\n", 25.0),
        (f"{NOW}Retry-After: Wednesday, 21-Oct-26 07:29:00 GMT\r\n", 60.0),
        (f"{NOW}Retry-After: Wed, 21 Oct 2026 07:00:00 GMT\r\n", 0.0),
        (f"{NOW}Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n", LONGEST_WAIT_S),
        ("Retry-After: Wed, 21 Oct 1998 07:28:00 GMT\r\n", 0.0),
        ("Date: nonsense\r\nRetry-After: Wed, 21 Oct 1998 07:28:00 GMT\r\n", 0.0),
    ],
)
async def test_what_the_service_asks_to_wait_is_told_by_both_ways_to_it(
    adapter: type[SdkBlobStore], headers: str, wait_s: float | None
) -> None:
    answer = refusal("503 Busy", "ServerBusy", headers)
    with serving(_answering(answer)) as server:
        store = adapter.connect(server.endpoint, Secret(SAS))
        try:
            with pytest.raises(StoreThrottled) as caught:
                await store.put_block(NAME, "AAAA", [memoryview(b"data")], crc64([b"data"]))
        finally:
            await store.close()
    assert caught.value.retry_after_s == wait_s


# --- TLS and proxies -----------------------------------------------------------------------------


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


async def test_a_cancelled_check_before_a_put_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go, over = threading.Event(), threading.Event(), threading.Event()

    def slowly(*_: object) -> None:
        begun.set()
        go.wait(PATIENCE_S)
        over.set()

    monkeypatch.setattr("agent.blobs.rules.check_crc64", slowly)
    attributes = BlobAttributes(content_md5=bytes(16))
    seen: list[Request] = []
    with serving(taking(seen)) as server:
        async with connected(server.endpoint) as store:
            write = store.put_blob(NAME, [memoryview(b"x")], 0, attributes, replace=True)
            task = asyncio.create_task(write)
            await happened(begun)
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0)
            assert not task.done()
            go.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert over.is_set()
    assert seen == []


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


async def test_the_echo_of_a_small_blob_is_compared_too() -> None:
    answer = b"HTTP/1.1 201 Created\r\nx-ms-content-crc64: " + header(1).encode() + CREATED[20:]
    with serving(_answering(answer)) as server:
        async with connected(server.endpoint) as store:
            assert (await failure_of(put(store))).id == "ChecksumMismatch"
