"""The contract of agent.blobs.store, held against every adapter: whole blobs, one, many, and none."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from agent.blobs.crc64 import crc64
from agent.blobs.store import NO_ATTRIBUTES, BlobStore, NewBlob
from agent.errors import BlobAlreadyExists, BlobNotFound, BlobRequestFailed, ChecksumMismatch
from agent.model.blobs import BlobAttributes
from agent.model.codes import BlobType
from agent.model.identity import ContainerName
from tests.kit.stores import block_id, content, listed, named, put, stage


@pytest.mark.parametrize("length", [0, 1, 511, 300_000])
async def test_a_blob_put_whole_is_read_back(store: BlobStore, container: ContainerName, length: int) -> None:
    data = bytes(number * 7 & 0xFF for number in range(length))
    name = named(container)
    await put(store, name, data)
    found = await store.properties(name)
    assert (await content(store, name), found.size_bytes, found.type) == (data, length, BlobType.BLOCK)
    assert found.etag


async def test_a_body_may_come_in_pieces_that_are_views_of_larger_buffers(
    store: BlobStore, container: ContainerName
) -> None:
    buffer = bytearray(range(256)) * 8
    pieces = [memoryview(buffer)[100:200], memoryview(b""), memoryview(buffer)[1000:1700]]
    name = named(container)
    await store.put_blob(name, pieces, crc64(pieces), NO_ATTRIBUTES, replace=False)
    await store.put_block(name, block_id(1), pieces, crc64(pieces))
    expected = b"".join(pieces)
    buffer[:] = bytes(len(buffer))
    assert await content(store, name) == expected
    assert await store.uncommitted_blocks(name) == {block_id(1): len(expected)}
    await store.put_block_list(name, [block_id(1)], NO_ATTRIBUTES, replace=True)
    assert await content(store, name) == expected


async def test_a_blob_larger_than_a_piece_is_read_in_pieces_of_at_most_4_mib(
    store: BlobStore, container: ContainerName
) -> None:
    data = hashlib.shake_128(b"seed").digest(9 << 20)
    name = named(container)
    await put(store, name, data)
    pieces = [piece async for piece in store.read(name)]
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 4 << 20


@pytest.mark.parametrize("offset", [0, 1, (4 << 20) - 1, 4 << 20, (5 << 20) + 3, (9 << 20) - 1, 9 << 20])
async def test_a_blob_is_read_on_from_any_byte(
    store: BlobStore, container: ContainerName, offset: int
) -> None:
    data = hashlib.shake_128(b"seed").digest(9 << 20)
    name = named(container)
    await put(store, name, data)
    for etag in (None, (await store.properties(name)).etag):
        pieces = [piece async for piece in store.read(name, offset=offset, etag=etag)]
        assert b"".join(pieces) == data[offset:]
        assert all(0 < len(piece) <= 4 << 20 for piece in pieces)


async def test_nothing_is_read_past_the_end_of_a_blob(store: BlobStore, container: ContainerName) -> None:
    name = named(container)
    await put(store, name, b"short")
    with pytest.raises(BlobRequestFailed, match="InvalidRange"):
        await anext(store.read(name, offset=6))
    with pytest.raises(BlobNotFound):
        await anext(store.read(named(container, "missing"), offset=6))


@pytest.mark.parametrize("offset", [0, 3, 5])
async def test_another_version_than_was_read_before_is_not_read_on(
    store: BlobStore, container: ContainerName, offset: int
) -> None:
    name = named(container)
    await put(store, name, b"first")
    seen = (await store.properties(name)).etag
    await put(store, name, b"other", replace=True)
    with pytest.raises(BlobRequestFailed):
        await anext(store.read(name, offset=offset, etag=seen))
    pages = named(container, "pages")
    await store.create_page_blob(pages, 1024, NO_ATTRIBUTES, replace=False)
    seen = (await store.properties(pages)).etag
    await store.put_page(pages, 0, [memoryview(b"p" * 512)], crc64([b"p" * 512]))
    with pytest.raises(BlobRequestFailed):
        await anext(store.read(pages, offset=512, etag=seen))


async def test_a_blob_is_not_replaced_unless_asked(store: BlobStore, container: ContainerName) -> None:
    name = named(container)
    await put(store, name, b"first")
    with pytest.raises(BlobAlreadyExists, match=r"a/blob\.bin"):
        await put(store, name, b"second")
    assert await content(store, name) == b"first"
    await put(store, name, b"third", replace=True)
    assert await content(store, name) == b"third"


async def test_replacing_changes_the_etag_and_drops_the_attributes(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    attributes = BlobAttributes(content_type="text/plain", metadata={"owner": "x"})
    await store.put_blob(name, [memoryview(b"a")], crc64([b"a"]), attributes, replace=False)
    before = await store.properties(name)
    await put(store, name, b"a", replace=True)
    after = await store.properties(name)
    assert before.etag != after.etag
    assert (after.attributes.content_type, dict(after.attributes.metadata)) == (
        "application/octet-stream",
        {},
    )


async def test_of_many_who_create_one_blob_exactly_one_wins(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    bodies = [f"writer {number}".encode() for number in range(8)]
    outcomes = await asyncio.gather(*(put(store, name, body) for body in bodies), return_exceptions=True)
    losers = [outcome for outcome in outcomes if outcome is not None]
    assert [type(loser) for loser in losers] == [BlobAlreadyExists] * 7
    assert await content(store, name) == bodies[outcomes.index(None)]


async def test_eight_blobs_are_put_at_once(store: BlobStore, container: ContainerName) -> None:
    bodies = {f"folder {number}/file": bytes([number]) * 100_000 for number in range(8)}
    async with asyncio.TaskGroup() as group:
        for path, data in bodies.items():
            group.create_task(put(store, named(container, path), data))
    assert {path: await content(store, named(container, path)) for path in bodies} == bodies


# --- many small blobs ----------------------------------------------------------------------------


def new(container: ContainerName, path: str, data: bytes, *, crc: int | None = None) -> NewBlob:
    return NewBlob(
        named(container, path), [memoryview(data)], crc64([data]) if crc is None else crc, NO_ATTRIBUTES
    )


def always() -> bool:
    return True


async def test_many_blobs_are_put_and_each_has_its_own_content(
    store: BlobStore, container: ContainerName
) -> None:
    datas = {f"many/{number:03}": bytes([number]) * number for number in range(40)}
    assert await store.put_blobs([new(container, path, data) for path, data in datas.items()], always) == 40
    assert await listed(store, container) == sorted(datas)
    for path, data in datas.items():
        assert await content(store, named(container, path)) == data


async def test_of_many_blobs_none_replaces_another_and_those_behind_it_are_not_put(
    store: BlobStore, container: ContainerName
) -> None:
    await put(store, named(container, "b"), b"first")
    blobs = [new(container, path, b"second") for path in "abc"]
    assert await store.put_blobs(blobs, always) == 1
    assert await listed(store, container) == ["a", "b"]
    assert await content(store, named(container, "b")) == b"first"


async def test_of_many_blobs_one_with_a_wrong_crc_and_those_behind_it_are_not_put(
    store: BlobStore, container: ContainerName
) -> None:
    blobs = [new(container, "a", b"good"), new(container, "b", b"bad", crc=1), new(container, "c", b"good")]
    assert await store.put_blobs(blobs, always) == 1
    assert await listed(store, container) == ["a"]


async def test_many_blobs_are_put_for_as_long_as_they_are_wanted(
    store: BlobStore, container: ContainerName
) -> None:
    wishes = iter([True, True, False])
    blobs = [new(container, path, b"data") for path in "abcd"]
    assert await store.put_blobs(blobs, lambda: next(wishes)) == 2
    assert await listed(store, container) == ["a", "b"]


async def test_of_many_blobs_an_md5_of_their_own_is_never_set_unchecked(
    store: BlobStore, container: ContainerName
) -> None:
    wrong = new(container, "b", b"data")._replace(attributes=BlobAttributes(content_md5=bytes(16)))
    assert await store.put_blobs([new(container, "a", b"data"), wrong], always) == 1
    assert await listed(store, container) == ["a"]


async def test_many_blobs_for_a_container_that_is_not_there_are_not_put(store: BlobStore) -> None:
    assert await store.put_blobs([new(ContainerName.parse("not-there"), "a", b"data")], always) == 0


# --- integrity -----------------------------------------------------------------------------------


async def test_a_body_with_a_wrong_crc_is_refused_and_nothing_is_kept(
    store: BlobStore, container: ContainerName
) -> None:
    name, data = named(container), b"what was meant"
    with pytest.raises(ChecksumMismatch):
        await store.put_blob(name, [memoryview(data)], crc64([data]) ^ 1, NO_ATTRIBUTES, replace=False)
    with pytest.raises(ChecksumMismatch):
        await store.put_block(name, block_id(1), [memoryview(data)], crc64([data]) ^ 1)
    with pytest.raises(BlobNotFound):
        await store.properties(name)
    assert await store.uncommitted_blocks(name) == {}
    assert await listed(store, container) == []


async def test_a_wrong_crc_leaves_the_former_blob_as_it_was(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    await put(store, name, b"former")
    with pytest.raises(ChecksumMismatch):
        await store.put_blob(name, [memoryview(b"new")], 1, NO_ATTRIBUTES, replace=True)
    assert await content(store, name) == b"former"


async def test_a_blob_put_whole_with_a_wrong_md5_is_refused(
    store: BlobStore, container: ContainerName
) -> None:
    name, data = named(container), b"content"
    wrong = BlobAttributes(content_md5=hashlib.md5(b"other").digest())
    with pytest.raises(ChecksumMismatch):
        await store.put_blob(name, [memoryview(data)], crc64([data]), wrong, replace=False)
    with pytest.raises(BlobNotFound):
        await store.properties(name)


async def test_pages_with_a_wrong_crc_are_refused_and_not_written(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    await store.create_page_blob(name, 512, NO_ATTRIBUTES, replace=False)
    with pytest.raises(ChecksumMismatch):
        await store.put_page(name, 0, [memoryview(b"x" * 512)], 1)
    assert await content(store, name) == bytes(512)


# --- what is not there ---------------------------------------------------------------------------


async def test_what_is_missing_is_said_to_be_missing(store: BlobStore, container: ContainerName) -> None:
    name = named(container, "missing")
    with pytest.raises(BlobNotFound, match="missing"):
        await store.properties(name)
    with pytest.raises(BlobNotFound, match="missing"):
        await content(store, name)
    with pytest.raises(BlobNotFound, match="missing"):
        await store.put_page(name, 0, [memoryview(bytes(512))], crc64([bytes(512)]))
    assert await store.uncommitted_blocks(name) == {}


async def test_a_missing_container_takes_nothing_and_lists_nothing(store: BlobStore) -> None:
    nowhere = ContainerName.parse("no-such-container")
    name = named(nowhere)
    with pytest.raises(BlobNotFound):
        await put(store, name, b"x")
    with pytest.raises(BlobNotFound):
        await stage(store, name, 1, b"x")
    with pytest.raises(BlobNotFound):
        await store.put_block_list(name, [], NO_ATTRIBUTES, replace=False)
    with pytest.raises(BlobNotFound):
        await store.create_page_blob(name, 512, NO_ATTRIBUTES, replace=False)
    with pytest.raises(BlobNotFound):
        await store.properties(name)
    assert await store.uncommitted_blocks(name) == {}
    assert await listed(store, nowhere) == []


async def test_a_store_is_closed_twice_without_harm(store: BlobStore) -> None:
    await store.close()
    await store.close()


async def test_the_address_of_a_blob_names_it_and_holds_no_query(
    store: BlobStore, container: ContainerName
) -> None:
    address = store.url(named(container, "a b/c?d#e.bin"))
    assert container.text in address
    assert address.endswith(".bin")
    if ":/" in address:
        assert "?" not in address
        assert "#" not in address
