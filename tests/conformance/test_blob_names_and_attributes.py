"""Names and attributes of blobs, in every adapter."""

from __future__ import annotations

import hashlib

import pytest

from agent.blobs.crc64 import crc64
from agent.blobs.store import NO_ATTRIBUTES, BlobStore
from agent.errors import BlobAlreadyExists, BlobNotFound, BlobRequestFailed
from agent.model.blobs import AccessTier, BlobAttributes, BlobName
from agent.model.identity import ContainerName
from tests.kit.stores import block_id, content, listed, named, put, stage, version, write

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
