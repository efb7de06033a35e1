"""Every adapter replaces the version of a blob that was seen, and no other."""

from __future__ import annotations

import asyncio

import pytest

from agent.blobs.crc64 import crc64
from agent.blobs.store import NO_ATTRIBUTES, BlobStore
from agent.errors import BlobAlreadyExists, BlobNotFound
from agent.model.identity import ContainerName
from tests.kit.stores import content, named, put, stage, version, write

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
