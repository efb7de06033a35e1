"""A blob store in memory: the fake that tests use, held to the suite of the real ones.

Faults come from ``agent.blobs.faults``, which can stand before any store.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from agent.blobs import rules
from agent.blobs.store import BlobProperties, Body, ETag, NewBlob, Replace, put_each
from agent.errors import BlobNotFound, BlobRequestFailed, ChecksumMismatch
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.codes import BlobType
from agent.model.identity import ContainerName


@dataclass(slots=True)
class _Blob:
    """Content and, of a block blob, the blocks that it was committed of."""

    content: bytearray
    type: BlobType
    attributes: BlobAttributes
    version: int
    blocks: dict[str, bytes] = field(default_factory=dict)

    @property
    def etag(self) -> ETag:
        return ETag(f'"{self.version}"')


class MemoryBlobStore:
    """See ``agent.blobs.store.BlobStore``; raises no network errors by itself."""

    def __init__(self) -> None:
        self._containers: set[ContainerName] = set()
        self._blobs: dict[BlobName, _Blob] = {}
        self._staged: dict[BlobName, dict[str, bytes]] = {}
        self._id_lengths = rules.BlockIdLengths()
        self._version = 0

    def url(self, name: BlobName) -> str:
        """``memory:container/path``."""
        return f"memory:{name}"

    async def ensure_container(self, container: ContainerName) -> None:
        """Make the container unless it is there."""
        self._containers.add(container)

    async def put_blob(
        self, name: BlobName, body: Body, crc64: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """A whole block blob."""
        rules.check_put(body)
        rules.check_attributes(name, attributes)
        self._check_writable(name, replace)
        rules.check_crc64(name, body, crc64)
        content = bytearray().join(body)
        if attributes.content_md5 not in (None, _md5(content)):
            raise ChecksumMismatch(f"{name}: {len(content)} bytes do not have the MD5 that was sent along")
        self._commit(name, _Blob(content, BlobType.BLOCK, attributes, self._next_version()))

    async def put_blobs(self, blobs: Sequence[NewBlob], is_wanted: Callable[[], bool]) -> int:
        """One by one."""
        return await put_each(self, blobs, is_wanted)

    async def put_block(self, name: BlobName, block_id: str, body: Body, crc64: int) -> None:
        """Stage one block."""
        rules.check_block(body)
        self._id_lengths.check(name, block_id)
        self._check_container(name)
        self._check_type(name, BlobType.BLOCK)
        rules.check_crc64(name, body, crc64)
        self._staged.setdefault(name, {})[block_id] = b"".join(body)

    async def put_block_list(
        self, name: BlobName, block_ids: Sequence[str], attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """Commit blocks, the staged one of an id before the committed one."""
        rules.check_block_list(block_ids)
        rules.check_attributes(name, attributes)
        self._check_writable(name, replace)
        before = self._blobs.get(name)
        known = (before.blocks if before else {}) | self._staged.get(name, {})
        missing = next((block_id for block_id in block_ids if block_id not in known), None)
        if missing is not None:
            raise BlobRequestFailed(f"{name}: block {missing} was never staged (InvalidBlockList)")
        content = bytearray().join(known[block_id] for block_id in block_ids)
        blob = _Blob(content, BlobType.BLOCK, attributes, self._next_version())
        blob.blocks = {block_id: known[block_id] for block_id in block_ids}
        self._commit(name, blob)

    async def create_page_blob(
        self, name: BlobName, size_bytes: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """A page blob of zeros."""
        rules.check_page_blob_size(size_bytes)
        rules.check_page_attributes(name, attributes)
        self._check_writable(name, replace)
        self._commit(name, _Blob(bytearray(size_bytes), BlobType.PAGE, attributes, self._next_version()))

    async def put_page(self, name: BlobName, offset: int, body: Body, crc64: int) -> None:
        """Write pages."""
        rules.check_pages(offset, body)
        blob = self._find(name)
        self._check_type(name, BlobType.PAGE)
        end = offset + rules.body_length(body)
        if end > len(blob.content):
            raise BlobRequestFailed(f"{name}: pages {offset}..{end} lie past its end (InvalidPageRange)")
        rules.check_crc64(name, body, crc64)
        blob.content[offset:end] = b"".join(body)
        blob.version = self._next_version()

    async def set_attributes(self, name: BlobName, attributes: BlobAttributes, *, etag: ETag) -> None:
        """Of this version."""
        rules.check_attributes(name, attributes)
        blob = self._find(name)
        rules.check_replace(name, etag, blob.etag)
        blob.attributes = dataclasses.replace(attributes, tier=blob.attributes.tier)
        blob.version = self._next_version()

    async def properties(self, name: BlobName) -> BlobProperties:
        """Of a committed blob; raises BlobNotFound."""
        blob = self._find(name)
        attributes = blob.attributes
        if attributes.content_type is None:
            attributes = dataclasses.replace(attributes, content_type=rules.DEFAULT_CONTENT_TYPE)
        return BlobProperties(len(blob.content), blob.type, blob.etag, attributes)

    async def uncommitted_blocks(self, name: BlobName) -> dict[str, int]:
        """Staged and not committed: id to length in bytes."""
        return {block_id: len(data) for block_id, data in self._staged.get(name, {}).items()}

    async def read(
        self, name: BlobName, *, offset: int = 0, etag: ETag | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The content as it was when the reading began, in pieces of at most 4 MiB."""
        blob = self._find(name)
        rules.check_read(name, len(blob.content), blob.etag, offset, etag)
        # Only page blobs are written in place.
        content = memoryview(blob.content if blob.type is BlobType.BLOCK else bytes(blob.content))
        for start in range(offset, len(content), rules.READ_PIECE_BYTES):
            yield bytes(content[start : start + rules.READ_PIECE_BYTES])

    async def names(self, container: ContainerName, prefix: str = "") -> AsyncIterator[BlobName]:
        """Committed blobs whose path starts so, in order of code points."""
        for name in sorted(self._blobs):
            if name.container == container and name.path.startswith(prefix):
                yield name

    async def close(self) -> None:
        """Keeps everything, as a service would."""

    def _find(self, name: BlobName) -> _Blob:
        self._check_container(name)
        blob = self._blobs.get(name)
        if blob is None:
            raise BlobNotFound(f"{name}: no such blob")
        return blob

    def _check_container(self, name: BlobName) -> None:
        if name.container not in self._containers:
            raise BlobNotFound(f"{name}: no such container")

    def _check_writable(self, name: BlobName, replace: Replace) -> None:
        self._check_container(name)
        blob = self._blobs.get(name)
        rules.check_replace(name, replace, blob.etag if blob is not None else None)

    def _check_type(self, name: BlobName, wanted: BlobType) -> None:
        blob = self._blobs.get(name)
        if blob is not None and blob.type is not wanted:
            raise BlobRequestFailed(f"{name}: it is a {blob.type}, not a {wanted} (InvalidBlobType)")

    def _commit(self, name: BlobName, blob: _Blob) -> None:
        self._blobs[name] = blob
        self._staged.pop(name, None)
        self._id_lengths.forget(name)

    def _next_version(self) -> int:
        self._version += 1
        return self._version


def _md5(data: bytearray) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
