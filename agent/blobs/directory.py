"""A blob store in a folder: what a dry try-out writes to when no account is given."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import quote

from agent.blobs import rules
from agent.blobs.directory_files import DirectoryFiles
from agent.blobs.store import BlobProperties, Body, ETag, NewBlob, Replace, put_each
from agent.errors import BlobRequestFailed, IngestError, StoreRefused, StoreUnreachable
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.identity import ContainerName

P = ParamSpec("P")
T = TypeVar("T")


class DirectoryBlobStore:
    """See ``agent.blobs.store.BlobStore``; ``directory_layout`` draws the folder.

    Every write is on the disk when its call returns. The folder must be on one file system with
    hard links and ``flock``. Several processes may use it at once.

    A full or failing disk is BlobRequestFailed, a folder that we may not use StoreRefused.
    """

    def __init__(self, root: Path) -> None:
        """``root`` is made with the first container."""
        self._root = root.absolute()
        self._files = DirectoryFiles(self._root)
        self._id_lengths = rules.BlockIdLengths()

    def __repr__(self) -> str:
        return f"DirectoryBlobStore({str(self._root)!r})"

    def url(self, name: BlobName) -> str:
        """A ``file:`` address; the file may be absent (see ``directory_layout``)."""
        return (self._root / name.container.text).as_uri() + "/" + quote(name.path, safe="/~")

    async def ensure_container(self, container: ContainerName) -> None:
        """Make the container unless it is there."""
        await in_thread(str(container), self._files.make_container, container)

    async def put_blob(
        self, name: BlobName, body: Body, crc64: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """A whole block blob."""
        rules.check_put(body)
        rules.check_attributes(name, attributes)
        await in_thread(str(name), self._files.put_blob, name, body, crc64, attributes, replace)

    async def put_blobs(self, blobs: Sequence[NewBlob], is_wanted: Callable[[], bool]) -> int:
        """One by one."""
        return await put_each(self, blobs, is_wanted)

    async def put_block(self, name: BlobName, block_id: str, body: Body, crc64: int) -> None:
        """Stage one block."""
        rules.check_block(body)
        self._id_lengths.check(name, block_id)
        await in_thread(str(name), self._files.put_block, name, block_id, body, crc64)

    async def put_block_list(
        self, name: BlobName, block_ids: Sequence[str], attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """Commit blocks, the staged one of an id before the committed one."""
        rules.check_block_list(block_ids)
        rules.check_attributes(name, attributes)
        await in_thread(str(name), self._files.put_block_list, name, block_ids, attributes, replace)
        self._id_lengths.forget(name)

    async def create_page_blob(
        self, name: BlobName, size_bytes: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """A page blob of zeros, as a sparse file."""
        rules.check_page_blob_size(size_bytes)
        rules.check_page_attributes(name, attributes)
        await in_thread(str(name), self._files.create_page_blob, name, size_bytes, attributes, replace)

    async def put_page(self, name: BlobName, offset: int, body: Body, crc64: int) -> None:
        """Write pages."""
        rules.check_pages(offset, body)
        await in_thread(str(name), self._files.put_page, name, offset, body, crc64)

    async def set_attributes(self, name: BlobName, attributes: BlobAttributes, *, etag: ETag) -> None:
        """Of this version."""
        rules.check_attributes(name, attributes)
        await in_thread(str(name), self._files.set_attributes, name, attributes, etag)

    async def properties(self, name: BlobName) -> BlobProperties:
        """Of a committed blob; raises BlobNotFound."""
        return await in_thread(str(name), self._files.properties, name)

    async def uncommitted_blocks(self, name: BlobName) -> dict[str, int]:
        """Staged and not committed: id to length in bytes."""
        return await in_thread(str(name), self._files.uncommitted_blocks, name)

    async def read(
        self, name: BlobName, *, offset: int = 0, etag: ETag | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The content in pieces of at most 4 MiB; a blob replaced meanwhile is read as it was."""
        file = await in_thread(str(name), self._files.open_at, name, offset, etag)
        try:
            while piece := await in_thread(str(name), file.read, rules.READ_PIECE_BYTES):
                yield piece
        finally:
            file.close()

    async def names(self, container: ContainerName, prefix: str = "") -> AsyncIterator[BlobName]:
        """Committed blobs whose path starts so, in order of code points; all names in memory."""
        for name in await in_thread(str(container), self._files.names, container, prefix):
            yield name

    async def close(self) -> None:
        """Nothing is held open."""


_KINDS: dict[int, type[IngestError]] = {
    errno.EACCES: StoreRefused,
    errno.EPERM: StoreRefused,
    errno.EROFS: StoreRefused,
    errno.ENAMETOOLONG: BlobRequestFailed,
    errno.EINVAL: BlobRequestFailed,
    errno.EILSEQ: BlobRequestFailed,
}
"""Any other trouble, such as a full disk, is the folder's and no blob's: it is waited for."""


async def in_thread(subject: str, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What blocks, in a thread; trouble with the folder as an error of the tree."""
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except OSError as trouble:
        why = os.strerror(trouble.errno) if trouble.errno else type(trouble).__name__
        kind = _KINDS.get(trouble.errno or 0, StoreUnreachable)
        raise kind(f"{subject}: the folder of the directory store says: {why}") from None
