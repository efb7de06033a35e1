"""Our own way to the service, met by the servers of ``tests.kit.wire``: writes, and what became of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import pytest

from agent.blobs.azure import AzureBlobStore
from agent.blobs.crc64 import crc64
from agent.blobs.store import NO_ATTRIBUTES
from agent.errors import IngestError
from agent.model.blobs import BlobName
from agent.model.secrets import Secret
from tests.kit.wire import PATIENCE_S

CANARY = "CanaryCanaryCanary"
"""A signature that no message may show."""
SAS = f"sv=2024-11-04&sr=c&sp=rwc&sig={CANARY}%3D"
NAME = BlobName.parse("container/folder/blob.bin")


@asynccontextmanager
async def connected(
    endpoint: str, *, read_timeout_s: float = 20, connections: int = 4
) -> AsyncIterator[AzureBlobStore]:
    store = AzureBlobStore.connect(
        endpoint, Secret(SAS), read_timeout_s=read_timeout_s, connections=connections
    )
    try:
        yield store
    finally:
        await store.close()


async def put(store: AzureBlobStore, data: bytes = b"data", *, replace: bool = False) -> None:
    await store.put_blob(NAME, [memoryview(data)], crc64([data]), NO_ATTRIBUTES, replace=replace)


async def stage(store: AzureBlobStore, data: bytes | bytearray) -> None:
    with memoryview(data) as view:
        await store.put_block(NAME, "AAAA", [view], crc64([view]))


async def failure_of(call: Awaitable[object]) -> IngestError:
    with pytest.raises(IngestError) as caught:
        await call
    return caught.value


async def happened(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, PATIENCE_S)


def refusal(status: str, code: str, more: str = "") -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>sig={CANARY}</Message></Error>"
    return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}".encode()
