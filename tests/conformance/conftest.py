"""One store of each kind, each with a fresh container."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.blobs.azure import AzureBlobStore
from agent.blobs.azure_sdk import SdkBlobStore
from agent.blobs.directory import DirectoryBlobStore
from agent.blobs.faults import FaultyBlobStore
from agent.blobs.memory import MemoryBlobStore
from agent.blobs.renewable import RenewableStore
from agent.blobs.store import BlobStore
from agent.model.identity import ContainerName
from agent.model.secrets import Secret

if TYPE_CHECKING:
    from fixtures.azurite import Azurite


def _made(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if kind.startswith("azure"):
        emulator: Azurite = request.getfixturevalue("azurite")
        adapter = AzureBlobStore if kind == "azure" else SdkBlobStore
        return adapter.connect(emulator.endpoint, Secret(emulator.key))
    if kind == "directory":
        return DirectoryBlobStore(tmp_path / "blobs")
    if kind == "renewable":
        return RenewableStore(lambda _: MemoryBlobStore(), None)
    return FaultyBlobStore(MemoryBlobStore()) if kind == "faulty" else MemoryBlobStore()


@pytest.fixture(params=["azure", "azure-sdk", "directory", "memory", "faulty", "renewable"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    made = _made(request.param, request, tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def container(store: BlobStore) -> ContainerName:
    name = ContainerName.parse(f"c-{uuid.uuid4().hex}")
    await store.ensure_container(name)
    return name
