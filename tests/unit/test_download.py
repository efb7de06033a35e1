"""A blob is read back in pieces: what breaks off goes on, what changes begins anew, and a stop is heard."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator

import pytest

from agent.blobs.crc64 import crc64
from agent.blobs.faults import Call, FaultyBlobStore
from agent.blobs.memory import MemoryBlobStore
from agent.blobs.store import NO_ATTRIBUTES, BlobStore, ETag
from agent.errors import BlobNotFound, BlobRequestFailed, StoreUnreachable
from agent.model.blobs import BlobName
from agent.transfer import patience
from agent.transfer.board import Board
from agent.transfer.download import DOWNLOAD_TRIES, Download
from agent.transfer.pace import Pace
from agent.transfer.patience import Patience

PIECE = 4 << 20
NAME = BlobName.parse("box/blob")
DATA = hashlib.shake_128(b"seed").digest(3 * PIECE + 5)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)


async def put(store: BlobStore, data: bytes) -> None:
    await store.ensure_container(NAME.container)
    await store.put_blob(NAME, [memoryview(data)], crc64([data]), NO_ATTRIBUTES, replace=True)


async def checksum(
    store: BlobStore, length: int = len(DATA), stop: asyncio.Event | None = None, give_up_after_s: float = 5
) -> tuple[int, int] | None:
    calling = Patience(give_up_after_s, asyncio.Event())
    return await Download(store, calling, NAME).checksum(length, stop or asyncio.Event())


class Changing(MemoryBlobStore):
    """Somebody writes after the first piece that is read of each of ``contents``."""

    def __init__(self, *contents: bytes) -> None:
        super().__init__()
        self._contents = list(contents)
        self.offsets: list[int] = []

    async def read(
        self, name: BlobName, *, offset: int = 0, etag: ETag | None = None
    ) -> AsyncGenerator[bytes, None]:
        self.offsets.append(offset)
        async for piece in super().read(name, offset=offset, etag=etag):
            if self._contents:
                await put(self, self._contents.pop(0))
            yield piece


@pytest.mark.parametrize("length", [0, 1, PIECE, PIECE + 1, len(DATA)])
async def test_a_blob_has_its_checksum_and_length(length: int) -> None:
    store, data = MemoryBlobStore(), DATA[:length]
    await put(store, data)
    assert await checksum(store, length) == (crc64([data]), length)


@pytest.mark.parametrize("expected", [1, PIECE, PIECE + 1, 9 * PIECE])
async def test_a_blob_of_another_length_than_expected_is_read_whole(expected: int) -> None:
    store = MemoryBlobStore()
    await put(store, DATA)
    assert await checksum(store, expected) == (crc64([DATA]), len(DATA))


async def test_a_piece_that_breaks_off_is_asked_for_again_and_no_other() -> None:
    inner, asked = MemoryBlobStore(), Counter[str]()
    await put(inner, DATA)

    def every_other(call: Call) -> str:
        asked[call.operation] += 1
        return "U" if call.operation == "read" and asked["read"] % 2 else "."

    assert await checksum(FaultyBlobStore(inner, every_other)) == (crc64([DATA]), len(DATA))
    assert asked == {"properties": 1, "read": 8}


async def test_a_store_that_answers_no_more_is_given_up() -> None:
    inner, asked = MemoryBlobStore(), Counter[str]()
    await put(inner, DATA)

    def after_the_second(call: Call) -> str:
        asked[call.operation] += 1
        return "U" if asked["read"] > 2 else "."

    with pytest.raises(StoreUnreachable):
        await checksum(FaultyBlobStore(inner, after_the_second), give_up_after_s=0.05)


async def test_a_blob_that_changes_on_the_way_is_begun_anew() -> None:
    other = bytes(2 * PIECE)
    store = Changing(other)
    await put(store, DATA)
    assert await checksum(store) == (crc64([other]), len(other))
    assert store.offsets == [0, PIECE, 0, PIECE]


async def test_a_blob_that_never_stays_as_it_is_is_not_read_for_ever() -> None:
    store = Changing(*[DATA] * DOWNLOAD_TRIES)
    await put(store, DATA)
    with pytest.raises(BlobRequestFailed, match="ConditionNotMet"):
        await checksum(store)
    assert store.offsets == [0, PIECE] * DOWNLOAD_TRIES


async def test_a_blob_that_may_not_be_read_is_asked_for_once() -> None:
    inner, asked = MemoryBlobStore(), Counter[str]()
    await put(inner, DATA)

    def refusing(call: Call) -> str:
        asked[call.operation] += 1
        return "X" if call.operation == "read" else "."

    with pytest.raises(BlobRequestFailed):
        await checksum(FaultyBlobStore(inner, refusing))
    assert asked["read"] == 1


@pytest.mark.parametrize("length", [1, len(DATA)])
async def test_a_blob_that_is_gone_is_said_to_be(length: int) -> None:
    store = MemoryBlobStore()
    await store.ensure_container(NAME.container)
    with pytest.raises(BlobNotFound):
        await checksum(store, length)


class Hanging(MemoryBlobStore):
    """Gives the first piece, and of the second one nothing, for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs, self.is_let_go = asyncio.Event(), False

    async def read(
        self, name: BlobName, *, offset: int = 0, etag: ETag | None = None
    ) -> AsyncGenerator[bytes, None]:
        if offset:
            self.hangs.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.is_let_go = True
        yield DATA[:PIECE]


async def test_a_stop_ends_a_download_that_hangs() -> None:
    store, stop = Hanging(), asyncio.Event()
    await put(store, DATA)
    reading = asyncio.ensure_future(checksum(store, stop=stop))
    await store.hangs.wait()
    stop.set()
    assert await reading is None
    assert store.is_let_go


async def test_each_piece_takes_a_turn_of_the_account_until_it_is_there_and_none_of_the_bandwidth() -> None:
    store, stop, hurry = Hanging(), asyncio.Event(), asyncio.Event()
    await put(store, DATA)
    begun: list[int] = []
    ended: list[bool] = []

    class Watched(Pace):
        async def begin(self, body_bytes: int) -> float:
            begun.append(body_bytes)
            return await super().begin(body_bytes)

        def end(self, begun: float, *, refused: bool = False, retry_after_s: float = 0.0) -> None:
            ended.append(refused)
            super().end(begun, refused=refused, retry_after_s=retry_after_s)

    pace = Watched(Board(), hurry, account="-", job="-", drive="-", connections=4)
    calling = Patience(5, hurry, pace=pace)
    reading = asyncio.ensure_future(Download(store, calling, NAME).checksum(len(DATA), stop))
    await store.hangs.wait()
    assert (begun, ended) == ([0, 0, 0], [False, False])
    stop.set()
    assert await reading is None
    assert ended == [False] * 3
