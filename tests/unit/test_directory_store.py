"""What only the directory store promises: the folder itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.blobs.crc64 import crc64
from agent.blobs.directory import DirectoryBlobStore
from agent.blobs.store import NO_ATTRIBUTES
from agent.errors import (
    BlobAlreadyExists,
    BlobNotFound,
    BlobRequestFailed,
    ChecksumMismatch,
    StoreUnreachable,
)
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.identity import ContainerName

CONTAINER = ContainerName.parse("photos")


def named(path: str) -> BlobName:
    return BlobName(CONTAINER, path)


@pytest.fixture
async def store(tmp_path: Path) -> DirectoryBlobStore:
    made = DirectoryBlobStore(tmp_path / "root")
    await made.ensure_container(CONTAINER)
    return made


async def put(store: DirectoryBlobStore, path: str, data: bytes, *, replace: bool = False) -> None:
    await store.put_blob(named(path), [memoryview(data)], crc64([data]), NO_ATTRIBUTES, replace=replace)


async def content(store: DirectoryBlobStore, path: str) -> bytes:
    return b"".join([piece async for piece in store.read(named(path))])


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


async def test_people_find_blobs_under_their_own_names(store: DirectoryBlobStore, tmp_path: Path) -> None:
    await put(store, "2026/Zürich #1 100%.jpg", b"one")
    await put(store, "2026/two.jpg", b"old")
    await put(store, "2026/two.jpg", b"two", replace=True)
    assert files_below(tmp_path / "root" / "photos") == {
        "2026/Zürich #1 100%.jpg": b"one",
        "2026/two.jpg": b"two",
    }


async def test_written_pages_are_seen_under_the_blobs_own_name(
    store: DirectoryBlobStore, tmp_path: Path
) -> None:
    await store.create_page_blob(named("disk.vhd"), 1024, NO_ATTRIBUTES, replace=False)
    await store.put_page(named("disk.vhd"), 512, [memoryview(b"x" * 512)], crc64([b"x" * 512]))
    assert (tmp_path / "root/photos/disk.vhd").read_bytes() == bytes(512) + b"x" * 512


@pytest.mark.parametrize("first", ["a", "a/b"])
async def test_a_blob_beside_a_folder_of_its_name_is_kept_though_one_of_them_is_not_shown(
    store: DirectoryBlobStore, first: str
) -> None:
    second = {"a": "a/b", "a/b": "a"}[first]
    await put(store, first, b"first")
    await put(store, second, b"second")
    assert (await content(store, first), await content(store, second)) == (b"first", b"second")


@pytest.mark.parametrize(
    "path",
    ["../../outside", "..", "/etc/passwd", "a/../../../outside", ".store/photos/records/x", "nul\0byte"],
)
async def test_no_name_leaves_the_root_even_one_that_was_never_parsed(
    store: DirectoryBlobStore, tmp_path: Path, path: str
) -> None:
    (tmp_path / "outside").write_bytes(b"untouched")
    await put(store, path, b"data")
    assert await content(store, path) == b"data"
    assert sorted(os.listdir(tmp_path)) == ["outside", "root"]
    assert sorted(os.listdir(tmp_path / "root")) == [".store", "photos"]
    assert (tmp_path / "outside").read_bytes() == b"untouched"


async def test_a_refused_body_leaves_no_file_behind(store: DirectoryBlobStore, tmp_path: Path) -> None:
    before = files_below(tmp_path)
    wrong_md5 = BlobAttributes(content_md5=bytes(16))
    with pytest.raises(ChecksumMismatch):
        await store.put_blob(named("x"), [memoryview(b"x")], 0, NO_ATTRIBUTES, replace=False)
    with pytest.raises(ChecksumMismatch):
        await store.put_blob(named("x"), [memoryview(b"x")], crc64([b"x"]), wrong_md5, replace=False)
    with pytest.raises(ChecksumMismatch):
        await store.put_block(named("x"), "AAAA", [memoryview(b"x")], 0)
    assert files_below(tmp_path) == before


async def test_a_replaced_blob_leaves_no_content_behind(store: DirectoryBlobStore, tmp_path: Path) -> None:
    for data in (b"one", b"two", b"three"):
        await put(store, "x", data, replace=True)
    objects = list((tmp_path / "root/.store/photos/objects").iterdir())
    assert [file.read_bytes() for file in objects] == [b"three"]
    assert list((tmp_path / "root/.store/photos/fresh").iterdir()) == []


async def test_a_blob_that_is_replaced_while_it_is_read_is_read_as_it_was(store: DirectoryBlobStore) -> None:
    old = os.urandom(5 << 20)
    await put(store, "x", old)
    pieces = store.read(named("x"))
    seen = [await anext(pieces)]
    await put(store, "x", b"new", replace=True)
    seen += [piece async for piece in pieces]
    assert b"".join(seen) == old


async def test_two_stores_on_one_folder_see_the_same_blobs(store: DirectoryBlobStore, tmp_path: Path) -> None:
    other = DirectoryBlobStore(tmp_path / "root")
    await put(store, "x", b"data")
    await store.put_block(named("y"), "AAAA", [memoryview(b"block")], crc64([b"block"]))
    assert await content(other, "x") == b"data"
    with pytest.raises(BlobAlreadyExists):
        await put(other, "x", b"again")
    await other.put_block_list(named("y"), ["AAAA"], NO_ATTRIBUTES, replace=False)
    assert await content(store, "y") == b"block"


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"name": 1, "type": "Sofa"}'])
async def test_a_damaged_record_is_a_failed_request(
    store: DirectoryBlobStore, tmp_path: Path, damage: bytes
) -> None:
    await put(store, "x", b"data")
    [record] = (tmp_path / "root/.store/photos/records").iterdir()
    record.write_bytes(damage)
    with pytest.raises(BlobRequestFailed, match="record"):
        await store.properties(named("x"))
    with pytest.raises(BlobRequestFailed, match="record"):
        [name async for name in store.names(CONTAINER)]


async def test_lost_content_is_a_failed_request_and_not_an_empty_blob(
    store: DirectoryBlobStore, tmp_path: Path
) -> None:
    await put(store, "x", b"data")
    [content_file] = (tmp_path / "root/.store/photos/objects").iterdir()
    content_file.unlink()
    with pytest.raises(BlobRequestFailed, match="missing"):
        await content(store, "x")


async def test_a_root_that_is_a_file_is_the_folders_trouble_and_no_blobs(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = DirectoryBlobStore(tmp_path / "file")
    with pytest.raises(StoreUnreachable, match="Not a directory"):
        await store.ensure_container(CONTAINER)
    with pytest.raises(BlobNotFound):
        await put(store, "x", b"data")
