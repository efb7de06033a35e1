"""Blocks and pages, in every adapter."""

from __future__ import annotations

import base64

import pytest

from agent.blobs.crc64 import crc64
from agent.blobs.store import NO_ATTRIBUTES, BlobStore
from agent.errors import BlobAlreadyExists, BlobNotFound, BlobRequestFailed
from agent.model.blobs import BlobAttributes
from agent.model.codes import BlobType
from agent.model.identity import ContainerName
from tests.kit.stores import block_id, content, listed, named, put, stage

# --- blocks --------------------------------------------------------------------------------------


async def test_blocks_are_ordered_by_the_list_and_not_by_their_staging(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    for number in (3, 1, 2):
        await stage(store, name, number, f"<{number}>".encode())
    await store.put_block_list(name, [block_id(n) for n in (2, 3, 1)], NO_ATTRIBUTES, replace=False)
    assert await content(store, name) == b"<2><3><1>"


async def test_an_id_may_stand_twice_in_a_list(store: BlobStore, container: ContainerName) -> None:
    name = named(container)
    zeros, ones = await stage(store, name, 0, bytes(1000)), await stage(store, name, 1, b"\1" * 10)
    await store.put_block_list(name, [zeros, ones, zeros, zeros], NO_ATTRIBUTES, replace=False)
    assert await content(store, name) == bytes(1000) + b"\1" * 10 + bytes(2000)


async def test_a_block_staged_again_is_the_last_one_staged(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    await stage(store, name, 1, b"first try")
    await stage(store, name, 1, b"second")
    assert await store.uncommitted_blocks(name) == {block_id(1): 6}
    await store.put_block_list(name, [block_id(1)], NO_ATTRIBUTES, replace=False)
    assert await content(store, name) == b"second"


async def test_staged_blocks_are_no_blob_until_they_are_committed(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    await stage(store, name, 1, b"abc")
    await stage(store, name, 2, b"de")
    assert await store.uncommitted_blocks(name) == {block_id(1): 3, block_id(2): 2}
    assert await listed(store, container) == []
    with pytest.raises(BlobNotFound):
        await store.properties(name)
    with pytest.raises(BlobNotFound):
        await content(store, name)
    await store.put_block_list(name, [block_id(1)], NO_ATTRIBUTES, replace=False)
    assert await store.uncommitted_blocks(name) == {}
    assert await content(store, name) == b"abc"


async def test_block_ids_may_stand_for_any_bytes(store: BlobStore, container: ContainerName) -> None:
    name = named(container)
    ids = [base64.b64encode(bytes([n]) * 64).decode() for n in (0x00, 0x80, 0xFB, 0xFF)]
    for number, chosen in enumerate(ids):
        await store.put_block(name, chosen, [memoryview(bytes([number]))], crc64([bytes([number])]))
    assert await store.uncommitted_blocks(name) == dict.fromkeys(ids, 1)
    await store.put_block_list(name, ids, NO_ATTRIBUTES, replace=False)
    assert await content(store, name) == b"\0\1\2\3"


async def test_an_unknown_block_fails_the_commit_and_keeps_what_is_staged(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    known = await stage(store, name, 1, b"abc")
    with pytest.raises(BlobRequestFailed, match="InvalidBlockList"):
        await store.put_block_list(name, [known, block_id(2)], NO_ATTRIBUTES, replace=False)
    with pytest.raises(BlobNotFound):
        await store.properties(name)
    assert await store.uncommitted_blocks(name) == {known: 3}


async def test_an_empty_list_makes_an_empty_blob(store: BlobStore, container: ContainerName) -> None:
    name = named(container)
    await store.put_block_list(name, [], NO_ATTRIBUTES, replace=False)
    assert ((await store.properties(name)).size_bytes, await content(store, name)) == (0, b"")


async def test_a_commit_does_not_replace_unless_asked(store: BlobStore, container: ContainerName) -> None:
    name = named(container)
    await put(store, name, b"there before")
    staged = await stage(store, name, 1, b"new")
    with pytest.raises(BlobAlreadyExists):
        await store.put_block_list(name, [staged], NO_ATTRIBUTES, replace=False)
    assert await content(store, name) == b"there before"
    assert await store.uncommitted_blocks(name) == {staged: 3}
    await store.put_block_list(name, [staged], NO_ATTRIBUTES, replace=True)
    assert await content(store, name) == b"new"


async def test_a_commit_whose_reply_was_lost_may_be_sent_again(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    ids = [await stage(store, name, number, bytes([number]) * 5) for number in range(3)]
    for _ in range(2):
        await store.put_block_list(name, ids, NO_ATTRIBUTES, replace=True)
        assert await content(store, name) == b"\0" * 5 + b"\1" * 5 + b"\2" * 5


async def test_a_staged_block_goes_before_the_committed_one_of_its_id(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    ids = [await stage(store, name, number, f"old{number}".encode()) for number in range(2)]
    await store.put_block_list(name, ids, NO_ATTRIBUTES, replace=False)
    await stage(store, name, 1, b"fresh")
    await store.put_block_list(name, [ids[1], ids[0]], NO_ATTRIBUTES, replace=True)
    assert await content(store, name) == b"freshold0"


async def test_block_ids_of_two_lengths_are_a_bug_of_the_caller(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    await stage(store, name, 1, b"a")
    with pytest.raises(ValueError, match="of 4 characters after one of 12"):
        await store.put_block(name, "AAAA", [memoryview(b"b")], crc64([b"b"]))
    with pytest.raises(ValueError, match="one length"):
        await store.put_block_list(name, [block_id(1), "AAAA"], NO_ATTRIBUTES, replace=False)


@pytest.mark.parametrize("wrong", ["", "not base64", "AAA", "AB==", base64.b64encode(bytes(65)).decode()])
async def test_block_ids_that_are_no_base64_are_a_bug_of_the_caller(
    store: BlobStore, container: ContainerName, wrong: str
) -> None:
    with pytest.raises(ValueError, match="block id"):
        await store.put_block(named(container), wrong, [memoryview(b"b")], crc64([b"b"]))


async def test_an_empty_block_is_a_bug_of_the_caller(store: BlobStore, container: ContainerName) -> None:
    with pytest.raises(ValueError, match="0 bytes"):
        await store.put_block(named(container), block_id(1), [], 0)


# --- page blobs ----------------------------------------------------------------------------------


async def test_pages_that_were_not_written_read_as_zeros(store: BlobStore, container: ContainerName) -> None:
    name, size = named(container), 9 << 20
    await store.create_page_blob(name, size, NO_ATTRIBUTES, replace=False)
    first, last = b"\xaa" * 1024, b"\xbb" * 512
    await store.put_page(name, 5 << 20, [memoryview(first)[:512], memoryview(first)[512:]], crc64([first]))
    await store.put_page(name, size - 512, [memoryview(last)], crc64([last]))
    found = await store.properties(name)
    assert (found.size_bytes, found.type) == (size, BlobType.PAGE)
    expected = bytearray(size)
    expected[5 << 20 : (5 << 20) + 1024] = first
    expected[-512:] = last
    assert await content(store, name) == expected


async def test_a_page_written_twice_holds_the_second_and_the_etag_changes(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    await store.create_page_blob(name, 1024, BlobAttributes(metadata={"k": "v"}), replace=False)
    etags = [(await store.properties(name)).etag]
    for fill in (b"1", b"2"):
        await store.put_page(name, 512, [memoryview(fill * 512)], crc64([fill * 512]))
        etags.append((await store.properties(name)).etag)
    assert await content(store, name) == bytes(512) + b"2" * 512
    assert len(set(etags)) == 3
    assert dict((await store.properties(name)).attributes.metadata) == {"k": "v"}


async def test_a_page_blob_is_not_replaced_unless_asked(store: BlobStore, container: ContainerName) -> None:
    name = named(container)
    await store.create_page_blob(name, 512, NO_ATTRIBUTES, replace=False)
    await store.put_page(name, 0, [memoryview(b"x" * 512)], crc64([b"x" * 512]))
    with pytest.raises(BlobAlreadyExists):
        await store.create_page_blob(name, 1024, NO_ATTRIBUTES, replace=False)
    await store.create_page_blob(name, 1024, NO_ATTRIBUTES, replace=True)
    assert await content(store, name) == bytes(1024)


async def test_pages_past_the_end_are_refused(store: BlobStore, container: ContainerName) -> None:
    name = named(container)
    await store.create_page_blob(name, 512, NO_ATTRIBUTES, replace=False)
    with pytest.raises(BlobRequestFailed, match=r"InvalidPageRange|416"):
        await store.put_page(name, 512, [memoryview(bytes(512))], crc64([bytes(512)]))
    assert await content(store, name) == bytes(512)


async def test_pages_of_a_block_blob_are_refused(store: BlobStore, container: ContainerName) -> None:
    name = named(container)
    await put(store, name, bytes(512))
    with pytest.raises(BlobRequestFailed, match="InvalidBlobType"):
        await store.put_page(name, 0, [memoryview(b"x" * 512)], crc64([b"x" * 512]))
    assert await content(store, name) == bytes(512)


@pytest.mark.parametrize(
    ("offset", "length"), [(1, 512), (0, 511), (0, 0), (-512, 512), (0, (4 << 20) + 512)]
)
async def test_pages_that_are_not_aligned_are_a_bug_of_the_caller(
    store: BlobStore, container: ContainerName, offset: int, length: int
) -> None:
    with pytest.raises(ValueError, match="multiples of 512"):
        await store.put_page(named(container), offset, [memoryview(bytes(length))], 0)
