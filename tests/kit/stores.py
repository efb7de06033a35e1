"""Short words for what a test does with a store of blobs."""

from __future__ import annotations

import base64

from agent.blobs.crc64 import crc64
from agent.blobs.store import NO_ATTRIBUTES, BlobStore, ETag, Replace
from agent.model.blobs import BlobName
from agent.model.identity import ContainerName


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
