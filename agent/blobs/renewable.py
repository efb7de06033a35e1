"""A store whose credential may change while requests are under way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from agent.blobs.store import BlobProperties, BlobStore, Body, ETag, NewBlob, Replace
from agent.blobs.traffic import Traffic, traffic_of
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.identity import ContainerName
from agent.model.secrets import Secret

T = TypeVar("T")


class _Opened:
    """A store and how many calls it serves."""

    def __init__(self, store: BlobStore) -> None:
        self.store = store
        self.calls = 0


class RenewableStore:
    """A BlobStore. Calls that began before a renewal end with the credential that they began with.

    The store that they used is closed after the last of them. Lengths of block ids (see ``BlobStore.
    put_block``) are asserted anew after a renewal. Within one event loop.
    """

    def __init__(self, open_store: Callable[[Secret | None], BlobStore], credential: Secret | None) -> None:
        """Raises what ``open_store`` raises."""
        self._open = open_store
        self._credential = credential
        self._now = _Opened(open_store(credential))
        self._left: set[_Opened] = set()
        self.generation = 0
        """Counts the renewals."""

    async def renew(self, credential: Secret) -> bool:
        """Use another credential from now on; False when it is the one in use.

        Raises what ``open_store`` raises, and then changes nothing.
        """
        if credential == self._credential:
            return False
        opened, before = _Opened(self._open(credential)), self._now
        self._now, self._credential = opened, credential
        self.generation += 1
        self._left.add(before)
        await self._close_if_idle(before)
        return True

    def url(self, name: BlobName) -> str:
        """See BlobStore."""
        return self._now.store.url(name)

    async def ensure_container(self, container: ContainerName) -> None:
        """See BlobStore."""
        await self._call(lambda store: store.ensure_container(container))

    async def put_blob(
        self, name: BlobName, body: Body, crc64: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """See BlobStore."""
        await self._call(lambda store: store.put_blob(name, body, crc64, attributes, replace=replace))

    async def put_blobs(self, blobs: Sequence[NewBlob], is_wanted: Callable[[], bool]) -> int:
        """See BlobStore."""
        return await self._call(lambda store: store.put_blobs(blobs, is_wanted))

    async def put_block(self, name: BlobName, block_id: str, body: Body, crc64: int) -> None:
        """See BlobStore."""
        await self._call(lambda store: store.put_block(name, block_id, body, crc64))

    async def put_block_list(
        self, name: BlobName, block_ids: Sequence[str], attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """See BlobStore."""
        await self._call(lambda store: store.put_block_list(name, block_ids, attributes, replace=replace))

    async def create_page_blob(
        self, name: BlobName, size_bytes: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """See BlobStore."""
        await self._call(lambda store: store.create_page_blob(name, size_bytes, attributes, replace=replace))

    async def put_page(self, name: BlobName, offset: int, body: Body, crc64: int) -> None:
        """See BlobStore."""
        await self._call(lambda store: store.put_page(name, offset, body, crc64))

    async def set_attributes(self, name: BlobName, attributes: BlobAttributes, *, etag: ETag) -> None:
        """See BlobStore."""
        await self._call(lambda store: store.set_attributes(name, attributes, etag=etag))

    async def properties(self, name: BlobName) -> BlobProperties:
        """See BlobStore."""
        return await self._call(lambda store: store.properties(name))

    async def uncommitted_blocks(self, name: BlobName) -> dict[str, int]:
        """See BlobStore."""
        return await self._call(lambda store: store.uncommitted_blocks(name))

    async def read(
        self, name: BlobName, *, offset: int = 0, etag: ETag | None = None
    ) -> AsyncGenerator[bytes, None]:
        """See BlobStore."""
        async with aclosing(self._each(lambda store: store.read(name, offset=offset, etag=etag))) as pieces:
            async for piece in pieces:
                yield piece

    async def names(self, container: ContainerName, prefix: str = "") -> AsyncIterator[BlobName]:
        """See BlobStore."""
        async with aclosing(self._each(lambda store: store.names(container, prefix))) as names:
            async for name in names:
                yield name

    def traffic(self) -> Traffic | None:
        """Of the store in use, if it tells; see ``agent.blobs.traffic``."""
        return traffic_of(self._now.store)

    async def close(self) -> None:
        """Let go of connections, also of those that calls still use. Idempotent."""
        left, self._left = self._left, set()
        for opened in left:
            await opened.store.close()
        await self._now.store.close()

    async def _call(self, act: Callable[[BlobStore], Awaitable[T]]) -> T:
        opened = self._now
        opened.calls += 1
        try:
            return await act(opened.store)
        finally:
            opened.calls -= 1
            if opened in self._left:
                await self._close_if_idle(opened)

    async def _each(self, act: Callable[[BlobStore], AsyncIterator[T]]) -> AsyncGenerator[T, None]:
        opened = self._now
        opened.calls += 1
        try:
            async for item in act(opened.store):
                yield item
        finally:
            opened.calls -= 1
            if opened in self._left:
                await self._close_if_idle(opened)

    async def _close_if_idle(self, opened: _Opened) -> None:
        if not opened.calls and opened in self._left:
            self._left.discard(opened)
            await opened.store.close()
