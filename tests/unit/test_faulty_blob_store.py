"""Faults as data."""

from __future__ import annotations

import pytest

from agent.blobs.crc64 import crc64
from agent.blobs.faults import Call, FaultyBlobStore
from agent.blobs.memory import MemoryBlobStore
from agent.blobs.store import NO_ATTRIBUTES, BlobStore
from agent.errors import (
    BlobRequestFailed,
    ChecksumMismatch,
    IngestError,
    LeasePresent,
    StoreRefused,
    StoreThrottled,
    StoreUnreachable,
)
from agent.model.blobs import BlobName

NAME = BlobName.parse("container/blob")


async def put(store: BlobStore) -> None:
    await store.put_blob(NAME, [memoryview(b"x")], crc64([b"x"]), NO_ATTRIBUTES, replace=True)


async def prepared() -> MemoryBlobStore:
    store = MemoryBlobStore()
    await store.ensure_container(NAME.container)
    return store


@pytest.mark.parametrize(
    ("letter", "kind", "acted"),
    [
        ("U", StoreUnreachable, False),
        ("L", StoreUnreachable, True),
        ("T", StoreThrottled, False),
        ("R", StoreRefused, False),
        ("C", ChecksumMismatch, False),
        ("P", LeasePresent, False),
        ("X", BlobRequestFailed, False),
    ],
)
async def test_each_letter_is_one_fault(letter: str, kind: type[IngestError], acted: bool) -> None:
    inner = await prepared()
    store = FaultyBlobStore(inner, letter)
    with pytest.raises(kind) as caught:
        await put(store)
    assert type(caught.value) is kind
    assert [name async for name in inner.names(NAME.container)] == ([NAME] if acted else [])
    await put(store)
    assert [call.operation for call in store.calls] == ["put_blob", "put_blob"]


async def test_a_function_chooses_by_the_call() -> None:
    def second_block(call: Call) -> str:
        return "T" if call.block_id == "AAAB" else "."

    store = FaultyBlobStore(await prepared(), second_block)
    await store.put_block(NAME, "AAAA", [memoryview(b"x")], crc64([b"x"]))
    with pytest.raises(StoreThrottled, match="call 1, put_block"):
        await store.put_block(NAME, "AAAB", [memoryview(b"x")], crc64([b"x"]))
    assert await store.uncommitted_blocks(NAME) == {"AAAA": 1}


async def test_a_read_may_break_off_after_its_first_piece() -> None:
    inner = await prepared()
    data = bytes(5 << 20)
    await inner.put_blob(NAME, [memoryview(data)], crc64([data]), NO_ATTRIBUTES, replace=True)
    pieces = FaultyBlobStore(inner, "L").read(NAME)
    assert len(await anext(pieces)) == 4 << 20
    with pytest.raises(StoreUnreachable):
        await anext(pieces)


def test_a_letter_that_is_no_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="'Q'"):
        FaultyBlobStore(MemoryBlobStore(), "..Q")
