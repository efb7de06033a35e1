"""The store's own transport against servers that misbehave."""

from __future__ import annotations

import asyncio
import random
import socket
import threading

import pytest

from agent.blobs.azure import AzureBlobStore
from agent.errors import (
    BlobAlreadyExists,
    BlobRequestFailed,
    IngestError,
    StoreRefused,
    StoreThrottled,
    StoreUnreachable,
)
from agent.model.blobs import BlobAttributes
from fixtures.certificates import Certificates
from tests.kit.azure_store import NAME, connected, failure_of, happened, put, refusal, stage
from tests.kit.wire import CREATED, PATIENCE_S, Peer, Request, serving, taking

pytestmark = pytest.mark.usefixtures("_no_proxies")
LARGE_BYTES = 32 << 20
"""More than any socket buffer takes."""


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
