"""Puts one blob: the disposition is decided by the store's own conditions, never by looking first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from agent.blobs.rules import body_length
from agent.blobs.store import BlobProperties, BlobStore, Body, NewBlob, Replace
from agent.errors import BlobAlreadyExists, BlobNotFound, BlobRequestFailed, IngestError
from agent.formats.rename import rename
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.codes import Disposition, DispositionStatus
from agent.model.identity import ContainerName
from agent.transfer.download import Download
from agent.transfer.patience import Patience

MARKER_KEY = "ingestid"
MAX_RENAMES = 1000
MAX_LOOKS = 8
"""So often is a blob that somebody changes between our look and our write looked at again."""

TOGETHER_S = 10.0
LAST_OF_THEM_S = 50.0
"""For the request that is under way when their time is over."""


class Target(NamedTuple):
    """Where a blob is to go. ``marker`` tells our own blob from anybody else's."""

    name: BlobName
    disposition: Disposition
    attributes: BlobAttributes
    marker: str
    length: int


class Placed(NamedTuple):
    """Where it went. ``is_there`` says that it is whole in the store from an earlier try."""

    name: BlobName
    status: DispositionStatus
    is_there: bool = False


class NoFreeName(Exception):
    """Not one of MAX_RENAMES names is free."""


class Sender:
    """Requests of one drive to one store, ``connections`` at a time."""

    def __init__(self, store: BlobStore, patience: Patience, connections: int) -> None:
        self._store = store
        self._patience = patience
        self._room = asyncio.Semaphore(connections)
        self._containers: dict[ContainerName, asyncio.Task[None]] = {}

    async def _call(
        self, request: Callable[[], Awaitable[None]], body_bytes: int = 0, *, is_repeatable: bool = False
    ) -> None:
        async with self._room:
            await self._patience.call(request, body_bytes, is_repeatable=is_repeatable)

    async def ensure_container(self, container: ContainerName) -> None:
        """Make the container; asked of the store once."""
        if container not in self._containers:
            self._containers[container] = asyncio.ensure_future(
                self._call(lambda: self._store.ensure_container(container))
            )
        await asyncio.shield(self._containers[container])

    async def put_whole(self, target: Target, body: Body, crc64: int) -> Placed:
        """A block blob in one request. Raises NoFreeName and the store's errors."""
        return await self._place(
            target,
            lambda name, over: self._store.put_blob(name, body, crc64, target.attributes, replace=over),
            body_length(body),
        )

    async def put_together(self, blobs: Sequence[NewBlob], is_wanted: Callable[[], bool]) -> int:
        """Put small block blobs where none is; how many are there, from the first on.

        Only a short cut for what is nearly always so: ``put_whole`` is for those that are not there
        then, whatever hindered them. When they are not wanted, or TOGETHER_S is over, no more are begun;
        ``is_wanted`` is asked in another thread.
        """
        try:
            for container in {blob.name.container for blob in blobs}:
                await self.ensure_container(container)
        except IngestError:
            return 0

        async def put() -> int:
            # Not before its turn came, which under a cap may take longer than that.
            until = time.monotonic() + TOGETHER_S
            return await self._store.put_blobs(blobs, lambda: is_wanted() and time.monotonic() < until)

        async with self._room:
            done = await self._patience.attempt(
                put,
                sum(body_length(blob.body) for blob in blobs),
                TOGETHER_S + LAST_OF_THEM_S,
            )
        return done or 0

    async def create_pages(self, target: Target) -> Placed:
        """A page blob of zeros, to be written by ``put_page``, then ``describe``. Raises as ``put_whole``."""
        attributes = replace(target.attributes, content_md5=None)
        placed = await self._place(
            target,
            lambda name, over: self._store.create_page_blob(name, target.length, attributes, replace=over),
        )
        return Placed(placed.name, placed.status)

    async def describe(self, target: Target, name: BlobName) -> bool:
        """Have a page blob carry the target's MD5 and metadata; False when it is not ours any more."""
        wanted = target.attributes
        for _ in range(MAX_LOOKS):
            seen = await self._seen(name)
            if seen is None or not _is_ours(seen, target):
                return False
            has = seen.attributes
            if (has.content_md5, has.metadata) == (wanted.content_md5, wanted.metadata):
                return True
            with suppress(BlobAlreadyExists):
                await self._call(
                    lambda etag=seen.etag: self._store.set_attributes(name, wanted, etag=etag)  # type: ignore[misc]
                )
                return True
        raise not_placed(target)

    async def _place(
        self, target: Target, put: Callable[[BlobName, Replace], Awaitable[None]], body_bytes: int = 0
    ) -> Placed:
        await self.ensure_container(target.name.container)
        for n in range(1, MAX_RENAMES + 1):
            name = _nth(target.name, n)
            status = DispositionStatus.CREATED if n == 1 else DispositionStatus.RENAMED
            try:
                # Not for a page blob, which has no body yet: a late one would clear pages.
                put_new: Callable[[], Awaitable[None]] = partial(put, name, False)
                await self._call(put_new, body_bytes, is_repeatable=body_bytes > 0)
            except BlobAlreadyExists:
                if target.disposition is Disposition.OVERWRITE:
                    return await self._put_over(target, put, body_bytes)
                if await self._is_ours(name, target):
                    return Placed(name, status, is_there=True)
                if target.disposition is Disposition.NO_OVERWRITE:
                    return Placed(name, DispositionStatus.SKIPPED)
            else:
                return Placed(name, status)
        raise NoFreeName

    async def _put_over(
        self, target: Target, put: Callable[[BlobName, Replace], Awaitable[None]], body_bytes: int
    ) -> Placed:
        """Replace the version that is seen, so that a request which arrives late replaces nothing."""
        for _ in range(MAX_LOOKS):
            seen = await self._seen(target.name)
            if seen is not None and _is_ours(seen, target):
                return Placed(target.name, DispositionStatus.OVERWRITTEN, is_there=True)
            over: Replace = seen.etag if seen is not None else False
            try:
                await self._call(lambda over=over: put(target.name, over), body_bytes)  # type: ignore[misc]
            except BlobAlreadyExists:
                continue
            return Placed(target.name, DispositionStatus.OVERWRITTEN)
        raise not_placed(target)

    async def choose(self, target: Target) -> Placed:
        """Where to stage a block blob.

        Only a forecast that spares reading and sending in vain: ``commit`` decides.
        """
        await self.ensure_container(target.name.container)
        for n in range(1, MAX_RENAMES + 1):
            name = _nth(target.name, n)
            status = DispositionStatus.CREATED if n == 1 else DispositionStatus.RENAMED
            seen = await self._seen(name)
            if seen is None:
                return Placed(name, status)
            if _is_ours(seen, target):
                return Placed(name, _of_an_earlier_try(target, status), is_there=True)
            if target.disposition is Disposition.NO_OVERWRITE:
                return Placed(name, DispositionStatus.SKIPPED)
            if target.disposition is Disposition.OVERWRITE:
                return Placed(name, DispositionStatus.OVERWRITTEN)
        raise NoFreeName

    async def commit(self, target: Target, name: BlobName, block_ids: Sequence[str]) -> bool:
        """Commit staged blocks under ``name``; False when another blob has got there first.

        False as well when somebody's write has swept our staged blocks away: they are to be staged anew.
        """
        overwrites = target.disposition is Disposition.OVERWRITE
        for looks in range(MAX_LOOKS):
            over: Replace = False
            if overwrites or looks:
                seen = await self._seen(name)
                if seen is not None and _is_ours(seen, target):
                    return True
                if seen is not None and not overwrites:
                    return False
                over = seen.etag if seen is not None else False
            try:
                await self._commit(target, name, block_ids, over)
            except BlobAlreadyExists:
                continue
            except BlobRequestFailed:
                if (await self.staged(name)).keys() >= set(block_ids):
                    raise
                return False
            return True
        return False

    async def _commit(self, target: Target, name: BlobName, ids: Sequence[str], over: Replace) -> None:
        await self._call(lambda: self._store.put_block_list(name, ids, target.attributes, replace=over))

    async def put_block(self, name: BlobName, block_id: str, body: Body, crc64: int) -> None:
        """Stage one block."""
        await self._call(
            lambda: self._store.put_block(name, block_id, body, crc64), body_length(body), is_repeatable=True
        )

    async def put_page(self, name: BlobName, offset: int, body: Body, crc64: int) -> None:
        """Write one range of pages."""
        await self._call(lambda: self._store.put_page(name, offset, body, crc64), body_length(body))

    async def put_report(self, name: BlobName, body: Body, crc64: int, attributes: BlobAttributes) -> None:
        """One of our own logs, whose name nobody else uses."""
        await self._call(
            lambda: self._store.put_blob(name, body, crc64, attributes, replace=True), body_length(body)
        )

    async def commit_report(self, name: BlobName, ids: Sequence[str], attributes: BlobAttributes) -> None:
        """A log that was staged in blocks."""
        await self._call(lambda: self._store.put_block_list(name, ids, attributes, replace=True))

    async def staged(self, name: BlobName) -> Mapping[str, int]:
        """Uncommitted blocks, id to length."""
        async with self._room:
            return await self._patience.call(lambda: self._store.uncommitted_blocks(name))

    async def attributes(self, name: BlobName) -> BlobAttributes:
        """What is set on a committed blob; raises BlobNotFound."""
        async with self._room:
            return (await self._patience.call(lambda: self._store.properties(name))).attributes

    async def crc64_of(self, name: BlobName, length: int, stop: asyncio.Event) -> tuple[int, int] | None:
        """CRC-64 and length of a committed blob, by downloading it; see ``agent.transfer.download``."""
        return await Download(self._store, self._patience, name).checksum(length, stop)

    async def _is_ours(self, name: BlobName, target: Target) -> bool:
        seen = await self._seen(name)
        return seen is not None and _is_ours(seen, target)

    async def _seen(self, name: BlobName) -> BlobProperties | None:
        """The blob that is there; None if none is."""
        try:
            async with self._room:
                return await self._patience.call(lambda: self._store.properties(name))
        except BlobNotFound:
            return None


def _is_ours(seen: BlobProperties, target: Target) -> bool:
    """An item's marker is on no other blob; one of another length was put when the item was another."""
    return seen.attributes.metadata.get(MARKER_KEY) == target.marker and seen.size_bytes == target.length


def not_placed(target: Target) -> Exception:
    """For a blob that was never left alone long enough."""
    if target.disposition is Disposition.RENAME:
        return NoFreeName()
    return BlobRequestFailed(f"{target.name}: somebody changed what is there each time that it was to be put")


def _of_an_earlier_try(target: Target, status: DispositionStatus) -> DispositionStatus:
    """An earlier try did not leave word whether it replaced a blob: then it is said that it did."""
    return DispositionStatus.OVERWRITTEN if target.disposition is Disposition.OVERWRITE else status


def _nth(name: BlobName, n: int) -> BlobName:
    return name if n == 1 else BlobName.of(name.container, rename(name.path, n))
