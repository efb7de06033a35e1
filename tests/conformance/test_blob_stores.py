"""The contract of agent.blobs.store, held against every adapter."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import pytest

from agent.blobs.crc64 import crc64
from agent.blobs.store import NO_ATTRIBUTES, BlobStore, ETag, NewBlob, Replace
from agent.errors import BlobAlreadyExists, BlobNotFound, BlobRequestFailed, ChecksumMismatch
from agent.model.blobs import AccessTier, BlobAttributes, BlobName
from agent.model.codes import BlobType
from agent.model.identity import ContainerName

NASTY_PATHS = [
    "plain.txt",
    "Straße/Ænima/日本語 – файл.txt",
    "astral 😀/\U00010330.bin",
    "decomposed e\u0301 and composed \u00e9",
    "100%/50%25/%2F%00.bin",
    "what? really?#fragment&a=b;c",
    "  leading and  inner  blanks",
    "plus+minus-tilde~star*quote'double\"",
    "colon:pipe|less<more>at@dollar$caret^brackets[]{}",
    "comma,equals=exclamation!paren()",
    "a//b",
    "folder/",
    ".hidden/.store/..dots",
    "CON/aux.txt",
    "x" * 1024,
    "/".join(["s" * 3] * 254),
    "ü" * 300 + "/" + "n" * 300,
    "ß" * 1024,
]


def named(container: ContainerName, path: str = "a/blob.bin") -> BlobName:
    return BlobName.of(container, path)


def block_id(number: int) -> str:
    return base64.b64encode(number.to_bytes(8, "big")).decode()


async def put(store: BlobStore, name: BlobName, data: bytes, *, replace: Replace = False) -> None:
    await store.put_blob(name, [memoryview(data)], crc64([data]), NO_ATTRIBUTES, replace=replace)


async def stage(store: BlobStore, name: BlobName, number: int, data: bytes) -> str:
    await store.put_block(name, block_id(number), [memoryview(data)], crc64([data]))
    return block_id(number)


async def content(store: BlobStore, name: BlobName) -> bytes:
    return b"".join([piece async for piece in store.read(name)])


async def listed(store: BlobStore, container: ContainerName, prefix: str = "") -> list[str]:
    return [name.path async for name in store.names(container, prefix)]


# --- whole blobs ---------------------------------------------------------------------------------


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


# --- replacing one version -----------------------------------------------------------------------


async def version(store: BlobStore, name: BlobName) -> ETag:
    return (await store.properties(name)).etag


async def write(store: BlobStore, name: BlobName, way: str, replace: Replace) -> bytes:
    """Another content, put in one of three ways."""
    if way == "whole":
        await put(store, name, b"whole", replace=replace)
        return b"whole"
    if way == "blocks":
        staged = await stage(store, name, 7, b"blocks")
        await store.put_block_list(name, [staged], NO_ATTRIBUTES, replace=replace)
        return b"blocks"
    await store.create_page_blob(name, 1024, NO_ATTRIBUTES, replace=replace)
    return bytes(1024)


WAYS = pytest.mark.parametrize("way", ["whole", "blocks", "pages"])


@pytest.mark.parametrize("way", ["whole", "pages"])
async def test_the_version_that_was_seen_is_replaced_once(
    store: BlobStore, container: ContainerName, way: str
) -> None:
    name = named(container)
    await put(store, name, b"first")
    seen = await version(store, name)
    written = await write(store, name, way, seen)
    assert await content(store, name) == written
    with pytest.raises(BlobAlreadyExists, match=r"a/blob\.bin"):
        await write(store, name, way, seen)
    assert await content(store, name) == written


async def test_a_commit_over_the_version_that_was_seen_is_done_once(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    await put(store, name, b"first")
    seen = await version(store, name)
    staged = await stage(store, name, 1, b"second")
    assert await version(store, name) == seen
    await store.put_block_list(name, [staged], NO_ATTRIBUTES, replace=seen)
    with pytest.raises(BlobAlreadyExists, match=r"a/blob\.bin"):
        await store.put_block_list(name, [staged, staged], NO_ATTRIBUTES, replace=seen)
    assert await content(store, name) == b"second"


@WAYS
async def test_a_version_that_somebody_changed_is_not_replaced(
    store: BlobStore, container: ContainerName, way: str
) -> None:
    name = named(container)
    await put(store, name, b"first")
    seen = await version(store, name)
    await put(store, name, b"somebody else's", replace=True)
    with pytest.raises(BlobAlreadyExists):
        await write(store, name, way, seen)
    assert await content(store, name) == b"somebody else's"
    assert bool(await store.uncommitted_blocks(name)) is (way == "blocks")
    assert await write(store, name, way, await version(store, name)) == await content(store, name)


@WAYS
async def test_a_version_that_is_gone_is_not_made_again(
    store: BlobStore, container: ContainerName, way: str
) -> None:
    name, other = named(container), named(container, "other")
    await put(store, other, b"first")
    with pytest.raises(BlobAlreadyExists):
        await write(store, name, way, await version(store, other))
    with pytest.raises(BlobNotFound):
        await store.properties(name)


async def test_a_page_blob_whose_pages_were_written_is_not_cleared_by_who_saw_it_before(
    store: BlobStore, container: ContainerName
) -> None:
    name, pages = named(container), b"p" * 512
    await store.create_page_blob(name, 1024, NO_ATTRIBUTES, replace=False)
    seen = await version(store, name)
    await store.put_page(name, 512, [memoryview(pages)], crc64([pages]))
    assert await version(store, name) != seen
    with pytest.raises(BlobAlreadyExists):
        await store.create_page_blob(name, 1024, NO_ATTRIBUTES, replace=seen)
    assert await content(store, name) == bytes(512) + pages


async def test_of_many_who_replace_one_version_exactly_one_wins(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    await put(store, name, b"first")
    seen = await version(store, name)
    bodies = [f"writer {number}".encode() for number in range(8)]
    writes = (put(store, name, body, replace=seen) for body in bodies)
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    losers = [outcome for outcome in outcomes if outcome is not None]
    assert [type(loser) for loser in losers] == [BlobAlreadyExists] * 7
    assert await content(store, name) == bodies[outcomes.index(None)]


async def test_eight_blobs_are_put_at_once(store: BlobStore, container: ContainerName) -> None:
    bodies = {f"folder {number}/file": bytes([number]) * 100_000 for number in range(8)}
    async with asyncio.TaskGroup() as group:
        for path, data in bodies.items():
            group.create_task(put(store, named(container, path), data))
    assert {path: await content(store, named(container, path)) for path in bodies} == bodies


# --- integrity -----------------------------------------------------------------------------------


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


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", NASTY_PATHS, ids=range(len(NASTY_PATHS)))
async def test_any_legal_name_is_kept_and_listed_unchanged(
    store: BlobStore, container: ContainerName, path: str
) -> None:
    name = named(container, path)
    await put(store, name, path.encode())
    assert await content(store, name) == path.encode()
    assert await listed(store, container) == [path]
    await stage(store, name, 1, b"blocks too")
    await store.put_block_list(name, [block_id(1)], NO_ATTRIBUTES, replace=True)
    assert await content(store, name) == b"blocks too"
    assert await listed(store, container) == [path]


async def test_names_that_differ_little_are_different_blobs(
    store: BlobStore, container: ContainerName
) -> None:
    paths = ["a", "A", "a/b", "a//b", "a%2Fb", "a/b ", "a+b", "a b", "a%20b", "\u00e9", "e\u0301", "a/b/c"]
    for path in paths:
        await put(store, named(container, path), path.encode())
    assert {path: await content(store, named(container, path)) for path in paths} == {
        path: path.encode() for path in paths
    }
    assert sorted(await listed(store, container)) == sorted(paths)


async def test_names_are_listed_in_order_and_by_prefix(store: BlobStore, container: ContainerName) -> None:
    paths = ["b", "a/2", "a/10", "a", "B", "ab", "é", "a/b/c", "_"]
    for path in paths:
        await put(store, named(container, path), b"")
    assert await listed(store, container) == sorted(paths)
    assert await listed(store, container, "a/") == ["a/10", "a/2", "a/b/c"]
    assert await listed(store, container, "a") == ["a", "a/10", "a/2", "a/b/c", "ab"]
    assert await listed(store, container, "é") == ["é"]
    assert await listed(store, container, "none") == []


async def test_the_root_container_holds_blobs(store: BlobStore) -> None:
    root = ContainerName.parse("$root")
    await store.ensure_container(root)
    await put(store, BlobName.of(root, "in root & ü.bin"), b"root", replace=True)
    assert await content(store, BlobName.of(root, "in root & ü.bin")) == b"root"
    assert await listed(store, root) == ["in root & ü.bin"]


async def test_a_container_is_made_once_and_may_be_asked_for_again(
    store: BlobStore, container: ContainerName
) -> None:
    await put(store, named(container), b"kept")
    await store.ensure_container(container)
    assert await content(store, named(container)) == b"kept"


async def test_containers_do_not_see_each_other(store: BlobStore, container: ContainerName) -> None:
    other = ContainerName.parse(container.text[:-1] + "-2")
    await store.ensure_container(other)
    await put(store, named(container), b"here")
    assert await listed(store, other) == []
    with pytest.raises(BlobNotFound):
        await store.properties(named(other))


# --- attributes ----------------------------------------------------------------------------------

ATTRIBUTES = BlobAttributes(
    content_type="text/html; charset=utf-8",
    content_encoding="gzip",
    content_language="de-CH",
    cache_control="no-cache, max-age=0",
    content_md5=hashlib.md5(b"0123456789").digest(),
    metadata={
        "Author": "Zoë Müller",
        "_percent": "100%",
        "code": "%41%zz",
        "blanks": "  two  ",
        "ascii": "a, b=c",
    },
)


@pytest.mark.parametrize("way", ["whole", "blocks", "pages"])
async def test_attributes_are_kept(store: BlobStore, container: ContainerName, way: str) -> None:
    name, data = named(container), b"0123456789"
    if way == "whole":
        await store.put_blob(name, [memoryview(data)], crc64([data]), ATTRIBUTES, replace=False)
    elif way == "blocks":
        await store.put_block_list(name, [await stage(store, name, 1, data)], ATTRIBUTES, replace=False)
    else:
        await store.create_page_blob(name, 1024, ATTRIBUTES, replace=False)
    found = (await store.properties(name)).attributes
    assert found.content_type == ATTRIBUTES.content_type
    assert found.content_encoding == ATTRIBUTES.content_encoding
    assert found.content_language == ATTRIBUTES.content_language
    assert found.cache_control == ATTRIBUTES.cache_control
    assert found.content_md5 == ATTRIBUTES.content_md5
    assert dict(found.metadata) == dict(ATTRIBUTES.metadata)


@pytest.mark.parametrize("tier", list(AccessTier))
@pytest.mark.parametrize("way", ["whole", "blocks"])
async def test_an_access_tier_is_kept(
    store: BlobStore, container: ContainerName, way: str, tier: AccessTier
) -> None:
    name, data, attributes = named(container), b"0123456789", BlobAttributes(tier=tier)
    if way == "whole":
        await store.put_blob(name, [memoryview(data)], crc64([data]), attributes, replace=False)
    else:
        await store.put_block_list(name, [await stage(store, name, 1, data)], attributes, replace=False)
    assert (await store.properties(name)).attributes.tier is tier


async def test_a_blob_without_a_tier_has_that_of_the_account(
    store: BlobStore, container: ContainerName
) -> None:
    await put(store, named(container), b"here")
    assert (await store.properties(named(container))).attributes.tier is None


async def test_a_page_blob_with_a_tier_is_a_bug_of_the_caller(
    store: BlobStore, container: ContainerName
) -> None:
    with pytest.raises(ValueError, match="no access tier"):
        await store.create_page_blob(
            named(container), 512, BlobAttributes(tier=AccessTier.COOL), replace=False
        )


@pytest.mark.parametrize("way", ["whole", "blocks", "pages"])
async def test_attributes_are_set_on_the_version_that_was_seen_and_make_another(
    store: BlobStore, container: ContainerName, way: str
) -> None:
    name = named(container)
    written = await write(store, name, way, False)
    seen = await version(store, name)
    await store.set_attributes(name, ATTRIBUTES, etag=seen)
    found = await store.properties(name)
    assert found.etag != seen
    assert (found.attributes, found.attributes.metadata) == (ATTRIBUTES, ATTRIBUTES.metadata)
    assert await content(store, name) == written
    with pytest.raises(BlobAlreadyExists):
        await store.set_attributes(name, NO_ATTRIBUTES, etag=seen)
    assert (await store.properties(name)).attributes == ATTRIBUTES
    await store.set_attributes(name, NO_ATTRIBUTES, etag=found.etag)
    bare = (await store.properties(name)).attributes
    assert (bare.content_md5, dict(bare.metadata), bare.cache_control) == (None, {}, None)
    assert bare.content_type == "application/octet-stream"


async def test_attributes_of_what_is_missing_cannot_be_set(
    store: BlobStore, container: ContainerName
) -> None:
    other = named(container, "other")
    await put(store, other, b"here")
    for name in (named(container, "missing"), named(ContainerName.parse("no-such-container"))):
        with pytest.raises((BlobNotFound, BlobAlreadyExists)):
            await store.set_attributes(name, ATTRIBUTES, etag=await version(store, other))


async def test_other_attributes_leave_the_tier_as_it_is(store: BlobStore, container: ContainerName) -> None:
    name, cool = named(container), BlobAttributes(tier=AccessTier.COOL)
    await store.put_blob(name, [memoryview(b"x")], crc64([b"x"]), cool, replace=False)
    await store.set_attributes(name, ATTRIBUTES, etag=await version(store, name))
    assert (await store.properties(name)).attributes.tier is AccessTier.COOL


async def test_content_that_is_only_said_to_be_compressed_is_read_as_it_is(
    store: BlobStore, container: ContainerName
) -> None:
    name, data = named(container), b"0123456789"
    await store.put_blob(name, [memoryview(data)], crc64([data]), ATTRIBUTES, replace=False)
    assert await content(store, name) == data


@pytest.mark.parametrize(
    "attributes",
    [
        BlobAttributes(metadata={"not-a-name": "x"}),
        BlobAttributes(metadata={"1st": "x"}),
        BlobAttributes(metadata={"": "x"}),
        BlobAttributes(metadata={"key": "x", "KEY": "y"}),
        BlobAttributes(metadata={"key": "\ud800"}),
        BlobAttributes(metadata={"key": "x" * 8190}),
        BlobAttributes(content_type="text/plain\r\nx-ms-meta-evil: 1"),
        BlobAttributes(cache_control="ümlaut"),
    ],
    ids=["hyphen", "digit", "empty", "case", "surrogate", "large", "line", "umlaut"],
)
async def test_attributes_that_the_service_refuses_are_refused_and_nothing_is_kept(
    store: BlobStore, container: ContainerName, attributes: BlobAttributes
) -> None:
    name = named(container)
    with pytest.raises(BlobRequestFailed):
        await store.put_blob(name, [memoryview(b"x")], crc64([b"x"]), attributes, replace=False)
    with pytest.raises(BlobRequestFailed):
        await store.put_block_list(name, [], attributes, replace=False)
    with pytest.raises(BlobRequestFailed):
        await store.create_page_blob(name, 512, attributes, replace=False)
    assert await listed(store, container) == []


async def test_a_line_break_in_metadata_is_kept_and_injects_no_header(
    store: BlobStore, container: ContainerName
) -> None:
    name = named(container)
    metadata = {"note": "one\r\nx-ms-meta-evil: 1\n", "empty_line": "\n"}
    attributes = BlobAttributes(metadata=metadata)
    await store.put_blob(name, [memoryview(b"x")], crc64([b"x"]), attributes, replace=False)
    assert dict((await store.properties(name)).attributes.metadata) == metadata


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
