"""Stands before any store and lets chosen calls fail, for tests.

Faults are a text, one letter for each call in the order in which the calls begin; calls after its
end succeed:

====== =========================================================
``.``  nothing
``U``  no answer, and the store did not act (StoreUnreachable)
``L``  lost reply: the store acted, and then StoreUnreachable
``T``  the account asks for less (StoreThrottled)
``R``  the credential is refused (StoreRefused)
``C``  the bytes changed on the way (ChecksumMismatch)
``P``  somebody holds a lease (LeasePresent)
``X``  any other refusal (BlobRequestFailed)
====== =========================================================

or a function from the call to such a letter.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from agent.blobs.store import BlobProperties, BlobStore, Body, ETag, NewBlob, Replace, put_each
from agent.errors import (
    BlobRequestFailed,
    ChecksumMismatch,
    IngestError,
    LeasePresent,
    StoreRefused,
    StoreThrottled,
    StoreUnreachable,
)
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.identity import ContainerName

T = TypeVar("T")

NO_FAULT = "."
LOST_REPLY = "L"
_ERRORS: dict[str, type[IngestError]] = {
    "U": StoreUnreachable,
    LOST_REPLY: StoreUnreachable,
    "T": StoreThrottled,
    "R": StoreRefused,
    "C": ChecksumMismatch,
    "P": LeasePresent,
    "X": BlobRequestFailed,
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the port; ``subject`` is the blob's name or the container's, ``block_id`` of put_block."""

    number: int
    operation: str
    subject: str
    block_id: str = ""


class FaultyBlobStore:
    """A BlobStore; ``calls`` are those that began, in order. Reads and listings are calls too."""

    def __init__(self, inner: BlobStore, faults: str | Callable[[Call], str] = "") -> None:
        """Raises ValueError when the text holds a letter that stands for no fault."""
        if isinstance(faults, str) and (unknown := set(faults) - set(_ERRORS) - {NO_FAULT}):
            raise ValueError(f"no fault is called {min(unknown)!r}")
        self.inner = inner
        self.calls: list[Call] = []
        self._faults = faults

    def url(self, name: BlobName) -> str:
        """Of the store behind."""
        return self.inner.url(name)

    async def ensure_container(self, container: ContainerName) -> None:
        """See BlobStore."""
        await self._call("ensure_container", str(container), lambda: self.inner.ensure_container(container))

    async def put_blob(
        self, name: BlobName, body: Body, crc64: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """See BlobStore."""
        await self._call(
            "put_blob", str(name), lambda: self.inner.put_blob(name, body, crc64, attributes, replace=replace)
        )

    async def put_blobs(self, blobs: Sequence[NewBlob], is_wanted: Callable[[], bool]) -> int:
        """One by one: each is a call."""
        return await put_each(self, blobs, is_wanted)

    async def put_block(self, name: BlobName, block_id: str, body: Body, crc64: int) -> None:
        """See BlobStore."""
        await self._call(
            "put_block", str(name), lambda: self.inner.put_block(name, block_id, body, crc64), block_id
        )

    async def put_block_list(
        self, name: BlobName, block_ids: Sequence[str], attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """See BlobStore."""
        await self._call(
            "put_block_list",
            str(name),
            lambda: self.inner.put_block_list(name, block_ids, attributes, replace=replace),
        )

    async def create_page_blob(
        self, name: BlobName, size_bytes: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """See BlobStore."""
        await self._call(
            "create_page_blob",
            str(name),
            lambda: self.inner.create_page_blob(name, size_bytes, attributes, replace=replace),
        )

    async def put_page(self, name: BlobName, offset: int, body: Body, crc64: int) -> None:
        """See BlobStore."""
        await self._call("put_page", str(name), lambda: self.inner.put_page(name, offset, body, crc64))

    async def set_attributes(self, name: BlobName, attributes: BlobAttributes, *, etag: ETag) -> None:
        """See BlobStore."""
        await self._call(
            "set_attributes", str(name), lambda: self.inner.set_attributes(name, attributes, etag=etag)
        )

    async def properties(self, name: BlobName) -> BlobProperties:
        """See BlobStore."""
        return await self._call("properties", str(name), lambda: self.inner.properties(name))

    async def uncommitted_blocks(self, name: BlobName) -> dict[str, int]:
        """See BlobStore."""
        return await self._call("uncommitted_blocks", str(name), lambda: self.inner.uncommitted_blocks(name))

    async def read(
        self, name: BlobName, *, offset: int = 0, etag: ETag | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Fails before the first piece; a lost reply fails after it."""
        call, fault = self._begin("read", str(name))
        if fault not in (NO_FAULT, LOST_REPLY):
            raise _error(call, fault)
        async with aclosing(self.inner.read(name, offset=offset, etag=etag)) as pieces:
            async for piece in pieces:
                yield piece
                if fault == LOST_REPLY:
                    raise _error(call, fault)

    async def names(self, container: ContainerName, prefix: str = "") -> AsyncIterator[BlobName]:
        """Fails before the first name; a lost reply fails after it."""
        call, fault = self._begin("names", f"{container}/{prefix}")
        if fault not in (NO_FAULT, LOST_REPLY):
            raise _error(call, fault)
        async for name in self.inner.names(container, prefix):
            yield name
            if fault == LOST_REPLY:
                raise _error(call, fault)

    async def close(self) -> None:
        """Never fails of itself."""
        await self.inner.close()

    async def _call(
        self, operation: str, subject: str, act: Callable[[], Awaitable[T]], block_id: str = ""
    ) -> T:
        call, fault = self._begin(operation, subject, block_id)
        if fault not in (NO_FAULT, LOST_REPLY):
            raise _error(call, fault)
        result = await act()
        if fault == LOST_REPLY:
            raise _error(call, fault)
        return result

    def _begin(self, operation: str, subject: str, block_id: str = "") -> tuple[Call, str]:
        call = Call(len(self.calls), operation, subject, block_id)
        self.calls.append(call)
        if callable(self._faults):
            return call, self._faults(call)
        return call, self._faults[call.number] if call.number < len(self._faults) else NO_FAULT


def _error(call: Call, fault: str) -> IngestError:
    return _ERRORS[fault](f"{call.subject}: fault {fault} of call {call.number}, {call.operation}")
