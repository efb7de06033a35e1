"""The port to where blobs go. One conformance suite (tests/conformance) runs over every adapter."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NewType, Protocol

from agent.errors import IngestError
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.codes import BlobType
from agent.model.identity import ContainerName

Body = Sequence[memoryview]
"""Bytes in pieces, in order. A store does not keep a reference after its call returned."""

NO_ATTRIBUTES = BlobAttributes()

ETag = NewType("ETag", str)
"""A version of a blob, as its store spells it; each change of content or attributes makes another."""

Replace = bool | ETag
"""What a write may replace: nothing (False), whatever is there (True), or this version and no other."""


class NewBlob(NamedTuple):
    """A block blob to be put in one request where none is."""

    name: BlobName
    body: Body
    crc64: int
    attributes: BlobAttributes


@dataclass(frozen=True, slots=True)
class BlobProperties:
    """What the store says of a committed blob."""

    size_bytes: int
    type: BlobType
    etag: ETag
    attributes: BlobAttributes


class BlobStore(Protocol):
    """Writes and reads blobs.

    Integrity: every body travels with its CRC-64/NVME (``crc64``, see ``agent.blobs.crc64``), and a
    store that cannot match it raises ChecksumMismatch and keeps nothing of the body.

    Conditions: ``replace`` is decided by the store in the same step that makes the blob visible,
    never by check-then-act. False (``If-None-Match: *``) raises BlobAlreadyExists when a blob is
    there; an ETag (``If-Match``) raises it when another version is there, or none at all.

    Errors of every call: StoreUnreachable, StoreThrottled (both retriable), StoreRefused,
    LeasePresent, BlobNotFound, BlobRequestFailed. A store does not retry; the caller does.
    """

    def url(self, name: BlobName) -> str:
        """The blob's address, without any credential."""
        ...

    async def ensure_container(self, container: ContainerName) -> None:
        """Make the container unless it is there."""
        ...

    async def put_blob(
        self, name: BlobName, body: Body, crc64: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """A whole block blob in one request; at most 256 MiB."""
        ...

    async def put_blobs(self, blobs: Sequence[NewBlob], is_wanted: Callable[[], bool]) -> int:
        """Put blobs, one after the other and none over another; how many are there, from the first on.

        It ends before the first one that is not, whatever hindered it (``put_blob`` tells what), and
        when ``is_wanted``, which any thread may ask, says no. It raises no error of the service.
        """
        ...

    async def put_block(self, name: BlobName, block_id: str, body: Body, crc64: int) -> None:
        """Stage one block. ``block_id`` is Base64; all ids of a blob have one length (asserted here)."""
        ...

    async def put_block_list(
        self, name: BlobName, block_ids: Sequence[str], attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """Commit staged blocks in this order, at most 50,000; an id may stand more than once."""
        ...

    async def create_page_blob(
        self, name: BlobName, size_bytes: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """A page blob of zeros; ``size_bytes`` is a multiple of 512."""
        ...

    async def put_page(self, name: BlobName, offset: int, body: Body, crc64: int) -> None:
        """Write pages; offset and length are multiples of 512, the length at most 4 MiB."""
        ...

    async def set_attributes(self, name: BlobName, attributes: BlobAttributes, *, etag: ETag) -> None:
        """Put other attributes on this version of a blob; its access tier stays. Makes another version.

        Content headers and metadata are two steps, and when the second one fails the first is done.
        Raises BlobAlreadyExists when another version is there, and BlobNotFound.
        """
        ...

    async def properties(self, name: BlobName) -> BlobProperties:
        """Of a committed blob; raises BlobNotFound."""
        ...

    async def uncommitted_blocks(self, name: BlobName) -> dict[str, int]:
        """Staged and not committed: id to length in bytes. Empty when there is no such blob."""
        ...

    def read(
        self, name: BlobName, *, offset: int = 0, etag: ETag | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The content from ``offset`` on, in pieces of at most 4 MiB; none at its end.

        Raises BlobRequestFailed past its end, and, before the first piece, when the blob is another
        version than ``etag``. To read on after a break, ask with the version that was read before.
        """
        ...

    def names(self, container: ContainerName, prefix: str = "") -> AsyncIterator[BlobName]:
        """Committed blobs whose path starts so, in order; none when there is no such container."""
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        ...


async def put_each(store: BlobStore, blobs: Sequence[NewBlob], is_wanted: Callable[[], bool]) -> int:
    """``put_blobs`` by ``put_blob``, for a store that has no better way."""
    for number, blob in enumerate(blobs):
        try:
            if not is_wanted():
                return number
            await store.put_blob(blob.name, blob.body, blob.crc64, blob.attributes, replace=False)
        except IngestError:
            return number
    return len(blobs)
