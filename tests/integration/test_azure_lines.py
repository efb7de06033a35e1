"""Many small blobs over connections that the event loop serves, against a server that follows a script."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from agent.blobs.azure import AzureBlobStore
from agent.blobs.crc64 import crc64
from agent.blobs.store import NO_ATTRIBUTES, NewBlob
from agent.blobs.wire import lines
from agent.blobs.wire.answer import RECEIVE_BYTES
from agent.model.blobs import BlobName
from agent.model.secrets import Secret
from fixtures.certificates import Certificates
from tests.kit.wire import CREATED, PATIENCE_S, Peer, Request, serving, taking

SAS = "sv=2024-11-04&ss=b&srt=sco&sp=rwdlac&sig=bm90LWEtc2VjcmV0LWF0LWFsbC1hbmQtMzItYnl0ZXM%3D"
pytestmark = pytest.mark.usefixtures("_no_proxies")


def blobs(count: int, size: int = 100) -> list[NewBlob]:
    made = []
    for number in range(count):
        body = number.to_bytes(4, "big") * (size // 4)
        made.append(
            NewBlob(BlobName.parse(f"box/{number:03}"), [memoryview(body)], crc64([body]), NO_ATTRIBUTES)
        )
    return made


async def put(store: AzureBlobStore, count: int, size: int = 100) -> int:
    return await store.put_blobs(blobs(count, size), lambda: True)


def store_at(endpoint: str) -> AzureBlobStore:
    return AzureBlobStore.connect(endpoint, Secret(SAS), connections=4)


def bodies(count: int, size: int = 100) -> list[bytes]:
    return [bytes(blob.body[0]) for blob in blobs(count, size)]


async def test_a_batch_goes_over_one_connection_and_the_next_one_too(tls: Certificates | None) -> None:
    seen: list[Request] = []
    with serving(taking(seen), tls=tls) as server:
        store = store_at(server.endpoint)
        assert [await put(store, 20), await put(store, 20)] == [20, 20]
        await store.close()
    assert (server.connections, [request.body for request in seen]) == (1, bodies(20) * 2)


async def test_batches_at_once_have_a_connection_each(tls: Certificates | None) -> None:
    seen: list[Request] = []
    with serving(*[taking(seen)] * 4, tls=tls) as server:
        store = store_at(server.endpoint)
        assert await asyncio.gather(*[put(store, 10) for _ in range(4)]) == [10] * 4
        await store.close()
    assert len(seen) == 40
    assert server.connections <= 4


async def test_an_answer_in_drops_is_put_together(tls: Certificates | None) -> None:
    seen: list[Request] = []

    def dripping(peer: Peer) -> None:
        while True:
            seen.append(peer.request())
            for byte in CREATED:
                peer.say(bytes([byte]))

    with serving(dripping, tls=tls) as server:
        store = store_at(server.endpoint)
        assert await put(store, 5) == 5
        await store.close()
    assert len(seen) == 5


async def test_bodies_that_the_kernel_does_not_take_at_once_arrive_whole(tls: Certificates | None) -> None:
    seen: list[Request] = []
    may_read = threading.Event()

    def slow(peer: Peer) -> None:
        assert may_read.wait(PATIENCE_S)
        taking(seen)(peer)

    with serving(slow, tls=tls) as server:
        store = store_at(server.endpoint)
        sending = asyncio.create_task(put(store, 2, 16 << 20))
        await asyncio.sleep(0.1)
        may_read.set()
        assert await sending == 2
        await store.close()
    assert [request.body for request in seen] == bodies(2, 16 << 20)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nx-ms-content-crc64: AAAAAAAAAAA=\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nx: " + b"y" * 40_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 201 Created\r\nConte",
        b"",
    ],
    ids=["refused", "busy", "other CRC", "protocol", "endless", "page", "cut", "nothing"],
)
async def test_with_the_first_one_that_is_not_there_it_ends(tls: Certificates | None, answer: bytes) -> None:
    seen: list[Request] = []

    def script(peer: Peer) -> None:
        for _ in range(3):
            seen.append(peer.request())
            peer.say(CREATED)
        seen.append(peer.request())
        peer.say(answer)
        if b"409" not in answer and b"crc64" not in answer:
            return
        taking(seen)(peer)

    with serving(script, taking(seen), tls=tls) as server:
        store = store_at(server.endpoint)
        assert await put(store, 10) == 3
        before = len(seen)
        assert await put(store, 2) == 2
        await store.close()
    assert [request.body for request in seen[before:]] == bodies(2)


async def test_a_connection_that_the_service_closed_while_idle_is_not_used(tls: Certificates | None) -> None:
    seen: list[Request] = []
    gone = threading.Event()

    def once(peer: Peer) -> None:
        seen.append(peer.request())
        peer.say(CREATED)
        peer.sock.close()
        gone.set()

    with serving(once, taking(seen), tls=tls) as server:
        store = store_at(server.endpoint)
        assert await put(store, 1) == 1
        assert await asyncio.to_thread(gone.wait, PATIENCE_S)
        await asyncio.sleep(0.05)
        assert await put(store, 3) == 3
        await store.close()
    assert server.connections == 2


async def test_what_the_service_says_unasked_is_no_answer_to_the_next_request() -> None:
    seen: list[Request] = []
    said = threading.Event()

    def chatty(peer: Peer) -> None:
        seen.append(peer.request())
        peer.say(CREATED + CREATED)
        said.set()
        peer.wait_for_the_end()

    with serving(chatty, taking(seen)) as server:
        store = store_at(server.endpoint)
        assert await put(store, 1) == 1
        assert await put(store, 1) == 1
        await store.close()
    assert (len(seen), server.connections) == (2, 2)


async def test_what_the_service_says_behind_a_refusal_does_not_go_on_with_the_batch(
    tls: Certificates | None,
) -> None:
    seen: list[Request] = []
    head = b"HTTP/1.1 409 Conflict\r\nContent-Length: 8000\r\nx: "
    refusal = head + b"y" * (RECEIVE_BYTES - len(head) - 4 - 8000) + b"\r\n\r\n" + b"n" * 8000

    def chatty(peer: Peer) -> None:
        seen.append(peer.request())
        # One record of TLS, of which the first part is taken by itself.
        peer.say(refusal + CREATED)
        taking(seen)(peer)

    with serving(chatty, taking(seen), tls=tls) as server:
        store = store_at(server.endpoint)
        assert await put(store, 5) == 0
        assert await put(store, 2) == 2
        await store.close()
    assert [request.body for request in seen] == [*bodies(1), *bodies(2)]
    assert server.connections == 2


async def test_a_yes_to_a_body_that_was_not_sent_whole_is_not_believed() -> None:
    is_over = threading.Event()

    def hasty(peer: Peer) -> None:
        peer.head()
        peer.say(CREATED)
        is_over.wait(PATIENCE_S)

    with serving(hasty) as server:
        store = store_at(server.endpoint)
        assert await put(store, 1, 64 << 20) == 0
        is_over.set()
        await store.close()


async def test_a_cancelled_batch_hangs_up_and_the_next_one_has_a_connection_of_its_own(
    tls: Certificates | None,
) -> None:
    seen: list[Request] = []
    came = threading.Event()

    def silent(peer: Peer) -> None:
        peer.request()
        came.set()
        peer.wait_for_the_end()

    with serving(silent, taking(seen), tls=tls) as server:
        store = store_at(server.endpoint)
        batch = asyncio.create_task(put(store, 5))
        assert await asyncio.to_thread(came.wait, PATIENCE_S)
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch
        assert await put(store, 5) == 5
        await store.close()
    assert len(seen) == 5


async def test_a_batch_on_which_nothing_moves_ends_with_what_is_there(
    tls: Certificates | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def falls_silent(peer: Peer) -> None:
        for _ in range(2):
            peer.request()
            peer.say(CREATED)
        peer.wait_for_the_end()

    monkeypatch.setattr(lines, "TICK_S", 0.05)
    monkeypatch.setattr(lines, "STALLED_AFTER_S", 0.2)
    with serving(falls_silent, tls=tls) as server:
        store = store_at(server.endpoint)
        assert await put(store, 5) == 2
        await store.close()


async def test_a_batch_on_a_slow_line_goes_on_as_long_as_something_arrives(
    tls: Certificates | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, part = 12 << 20, 256 << 10

    def slow(peer: Peer) -> None:
        peer.head()
        for _ in range(size // part):
            peer.take(part)
            threading.Event().wait(0.02)
        peer.say(CREATED)
        peer.wait_for_the_end()

    monkeypatch.setattr(lines, "TICK_S", 0.05)
    monkeypatch.setattr(lines, "STALLED_AFTER_S", 0.4)
    with serving(slow, tls=tls) as server:
        store = store_at(server.endpoint)
        assert await put(store, 1, size) == 1
        await store.close()


async def test_closing_the_store_ends_what_is_under_way() -> None:
    came = threading.Event()

    def silent(peer: Peer) -> None:
        peer.request()
        peer.say(CREATED)
        peer.request()
        came.set()
        peer.wait_for_the_end()

    with serving(silent) as server:
        store = store_at(server.endpoint)
        batch = asyncio.create_task(put(store, 5))
        assert await asyncio.to_thread(came.wait, PATIENCE_S)
        await store.close()
        assert await batch == 1
        assert await put(store, 5) == 0


async def test_where_nobody_answers_nothing_is_there() -> None:
    with serving(lambda peer: None) as server:
        endpoint = server.endpoint
    store = store_at(endpoint)
    assert await put(store, 5) == 0
    await store.close()


@pytest.mark.parametrize("seed", range(5))
async def test_in_a_storm_what_counts_as_there_had_arrived(tls: Certificates | None, seed: int) -> None:
    arrived: set[bytes] = set()
    dice = random.Random(seed)

    def moody(peer: Peer) -> None:
        while True:
            mood = dice.random()
            if mood < 0.03:
                peer.head()
                peer.reset()
            if mood < 0.06:
                peer.head()
                peer.say(b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                return
            arrived.add(peer.request().body)
            peer.say(CREATED)
            if mood < 0.09:
                return

    async def one(number: int, store: AzureBlobStore) -> int:
        made = blobs(12, 4 * (1 + number % 3 * 9_000))
        named = [
            blob._replace(body=[memoryview(number.to_bytes(2, "big") + bytes(blob.body[0]))]) for blob in made
        ]
        count = await store.put_blobs([blob._replace(crc64=crc64(blob.body)) for blob in named], lambda: True)
        assert {bytes(blob.body[0]) for blob in named[:count]} <= arrived
        return count

    with serving(*[moody] * 400, tls=tls) as server:
        store = store_at(server.endpoint)
        counts = [
            count
            for start in range(0, 60, 4)
            for count in await asyncio.gather(*(one(number, store) for number in range(start, start + 4)))
        ]
        await store.close()
    assert 100 < sum(counts) < 720
