"""The rules that a manifest's block list or page range list must keep.

Source: Microsoft's page "Azure Import/Export service manifest file format". The bound on page ranges
is ours: a page blob of 8 TiB, the largest there is, in ranges of 4 MiB.
"""

from __future__ import annotations

from typing import Protocol

from agent.formats.manifest_values import Chunk
from agent.formats.violation import Violation
from agent.model.codes import BlobType

MAX_CHUNK_BYTES = 4 << 20
MAX_BLOCKS = 50_000
MAX_PAGE_RANGES = 1 << 21
PAGE_BYTES = 512


class ChunkList(Protocol):
    """Takes the chunks of one blob in the order of the manifest. Both methods raise Violation."""

    type: BlobType

    def add(self, chunk: Chunk) -> None:
        """The next chunk."""
        ...

    def finish(self, blob_length: int) -> tuple[Chunk, ...]:
        """All of them, now that the blob's length in bytes is known."""
        ...


def _check_length(chunk: Chunk) -> None:
    if chunk.length > MAX_CHUNK_BYTES:
        raise Violation(f"a chunk of {chunk.length} bytes at {chunk.offset}: at most 4 MiB are allowed")


class BlockList:
    """Ordered, without gaps, the whole file, at most 50,000, ids for all or for none."""

    type = BlobType.BLOCK

    def __init__(self) -> None:
        self._chunks: list[Chunk] = []
        self._end = 0
        self._ids: dict[str, tuple[int, bytes]] = {}

    def add(self, chunk: Chunk) -> None:
        if len(self._chunks) == MAX_BLOCKS:
            raise Violation(f"more than {MAX_BLOCKS} blocks")
        _check_length(chunk)
        if chunk.offset != self._end:
            raise Violation(f"a block starts at {chunk.offset}, and the one before it ends at {self._end}")
        self._check_id(chunk)
        self._chunks.append(chunk)
        self._end += chunk.length

    def finish(self, blob_length: int) -> tuple[Chunk, ...]:
        if self._end != blob_length:
            raise Violation(f"the blocks end at {self._end}, and the blob has {blob_length} bytes")
        if blob_length == 0:
            # An empty file may be written as one empty block, which the service would refuse.
            return ()
        if any(chunk.length == 0 for chunk in self._chunks):
            raise Violation("a block of 0 bytes")
        return tuple(self._chunks)

    def _check_id(self, chunk: Chunk) -> None:
        if self._chunks and (self._chunks[0].id is None) != (chunk.id is None):
            raise Violation("some blocks have an Id and others have none")
        if chunk.id is None:
            return
        first = self._chunks[0].id if self._chunks else chunk.id
        if first is not None and len(first) != len(chunk.id):
            raise Violation(f"block ids of {len(first)} and of {len(chunk.id)} characters in one blob")
        # Two equal blocks may share an id; two different ones would overwrite each other.
        content = (chunk.length, chunk.md5)
        if self._ids.setdefault(chunk.id, content) != content:
            raise Violation(f"the block at {chunk.offset} has the Id of another block with other content")


class PageRangeList:
    """Ordered, no overlap, within the blob, in whole pages; holes are allowed."""

    type = BlobType.PAGE

    def __init__(self) -> None:
        self._chunks: list[Chunk] = []
        self._end = 0

    def add(self, chunk: Chunk) -> None:
        if len(self._chunks) == MAX_PAGE_RANGES:
            raise Violation(f"more than {MAX_PAGE_RANGES} page ranges")
        _check_length(chunk)
        if chunk.offset % PAGE_BYTES or chunk.length % PAGE_BYTES or not chunk.length:
            raise Violation(
                f"a page range of {chunk.length} bytes at {chunk.offset}: both must be multiples of 512"
            )
        if chunk.offset < self._end:
            raise Violation(
                f"a page range starts at {chunk.offset}, and the one before it ends at {self._end}"
            )
        self._chunks.append(chunk)
        self._end = chunk.offset + chunk.length

    def finish(self, blob_length: int) -> tuple[Chunk, ...]:
        if blob_length % PAGE_BYTES:
            raise Violation(f"a page blob of {blob_length} bytes: its length must be a multiple of 512")
        if self._end > blob_length:
            raise Violation(f"the page ranges end at {self._end}, and the blob has {blob_length} bytes")
        return tuple(self._chunks)
