"""The store of a simulation: a MemoryBlobStore on the far side of a network that takes time and loses things.

What happens to a call is a letter:

====== =====================================================================================
``.``  nothing
``U``  the request is lost (StoreUnreachable), as by a reset
``L``  the reply is lost: the store acted, and then StoreUnreachable
``T``  a 503 (StoreThrottled)
``R``  the credential is refused (StoreRefused)
``C``  the bytes changed on the way (ChecksumMismatch)
``H``  the request hangs on its way, for ever
``K``  the store acts, and the reply hangs for ever
``W``  as ``H``; once the client gave it up, the store acts when ``late_calls`` more calls have begun
``Z``  StoreUnreachable at once, and the store acts when ``late_calls`` more calls have begun
====== =====================================================================================
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agent.blobs.faults import Call
from agent.blobs.memory import MemoryBlobStore
from agent.blobs.store import BlobProperties, Body, ETag, NewBlob, Replace, put_each
from agent.errors import ChecksumMismatch, IngestError, StoreRefused, StoreThrottled, StoreUnreachable
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.codes import BlobType
from agent.model.identity import ContainerName

T = TypeVar("T")

LETTERS = "ULTRCHKZ"
NEVER = 1_000_000
_BEFORE: dict[str, type[IngestError]] = {
    "U": StoreUnreachable,
    "T": StoreThrottled,
    "R": StoreRefused,
    "C": ChecksumMismatch,
    "Z": StoreUnreachable,
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request that changes the store, with a copy of its body: it may be let act later, or elsewhere."""

    operation: str
    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)

    async def act(self, store: SimStore) -> None:
        """As the service would, whatever became of the client; its answer goes nowhere."""
        try:
            await getattr(MemoryBlobStore, self.operation)(store, *self.arguments, **self.options)
        except IngestError:
            return


class SimStore(MemoryBlobStore):
    """``calls`` are those that began. ``changed`` is called after each change of what is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.faults: Callable[[Call], str] = lambda call: "."
        self.changed: Callable[[], None] = lambda: None
        self.begun: Callable[[Call], None] = lambda call: None
        self.stranger: Callable[[Call], Awaitable[None]] = _nobody
        self.late_calls = 5
        self.travelling: dict[int, Request] = {}
        """Requests that have not reached the store."""
        self._late: list[tuple[int, Request]] = []
        self._random = random.Random(1)
        self._changes = 0

    def fork(self, seed: int = 1) -> SimStore:
        """Another store with the same content, on a network of its own."""
        other = SimStore()
        other._containers = set(self._containers)
        other._staged = {name: dict(blocks) for name, blocks in self._staged.items()}
        other._id_lengths = copy.deepcopy(self._id_lengths)
        other._version = self._version
        for name, blob in self._blobs.items():
            other._blobs[name] = copy.copy(blob)
            if blob.type is BlobType.PAGE:
                other._blobs[name].content = bytearray(blob.content)
        other._random = random.Random(seed)
        return other

    @property
    def late(self) -> list[Request]:
        """Those that were given up and have not arrived."""
        return [request for _, request in self._late]

    def let_act_later(self, requests: Sequence[Request], after_calls: int) -> None:
        """Requests of somebody who is gone, that arrive when ``after_calls`` calls have begun."""
        self._late += [(after_calls, request) for request in requests]

    @property
    def version(self) -> int:
        """Two that are equal are of the same content."""
        return self._changes

    def committed(self) -> dict[BlobName, bytes]:
        """All blobs."""
        return {name: bytes(blob.content) for name, blob in self._blobs.items()}

    def staged(self) -> set[tuple[str, str]]:
        """(blob, block id) of all uncommitted blocks."""
        return {(str(name), block_id) for name, blocks in self._staged.items() for block_id in blocks}

    def type_of(self, name: BlobName) -> BlobType:
        """Of a committed blob."""
        return self._blobs[name].type

    async def ensure_container(self, container: ContainerName) -> None:
        await self._travel(
            "ensure_container",
            str(container),
            lambda: MemoryBlobStore.ensure_container(self, container),
            Request("ensure_container", (container,)),
        )

    async def put_blob(
        self, name: BlobName, body: Body, crc64: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        await self._travel(
            "put_blob",
            str(name),
            lambda: MemoryBlobStore.put_blob(self, name, body, crc64, attributes, replace=replace),
            Request("put_blob", (name, _kept(body), crc64, attributes), {"replace": replace}),
        )

    async def put_blobs(self, blobs: Sequence[NewBlob], is_wanted: Callable[[], bool]) -> int:
        """One by one."""
        return await put_each(self, blobs, is_wanted)

    async def put_block(self, name: BlobName, block_id: str, body: Body, crc64: int) -> None:
        await self._travel(
            "put_block",
            str(name),
            lambda: MemoryBlobStore.put_block(self, name, block_id, body, crc64),
            Request("put_block", (name, block_id, _kept(body), crc64)),
            block_id,
        )

    async def put_block_list(
        self, name: BlobName, block_ids: Sequence[str], attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        await self._travel(
            "put_block_list",
            str(name),
            lambda: MemoryBlobStore.put_block_list(self, name, block_ids, attributes, replace=replace),
            Request("put_block_list", (name, list(block_ids), attributes), {"replace": replace}),
        )

    async def create_page_blob(
        self, name: BlobName, size_bytes: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        await self._travel(
            "create_page_blob",
            str(name),
            lambda: MemoryBlobStore.create_page_blob(self, name, size_bytes, attributes, replace=replace),
            Request("create_page_blob", (name, size_bytes, attributes), {"replace": replace}),
        )

    async def put_page(self, name: BlobName, offset: int, body: Body, crc64: int) -> None:
        await self._travel(
            "put_page",
            str(name),
            lambda: MemoryBlobStore.put_page(self, name, offset, body, crc64),
            Request("put_page", (name, offset, _kept(body), crc64)),
        )

    async def set_attributes(self, name: BlobName, attributes: BlobAttributes, *, etag: ETag) -> None:
        await self._travel(
            "set_attributes",
            str(name),
            lambda: MemoryBlobStore.set_attributes(self, name, attributes, etag=etag),
            Request("set_attributes", (name, attributes), {"etag": etag}),
        )

    async def properties(self, name: BlobName) -> BlobProperties:
        return await self._travel("properties", str(name), lambda: MemoryBlobStore.properties(self, name))

    async def uncommitted_blocks(self, name: BlobName) -> dict[str, int]:
        return await self._travel(
            "uncommitted_blocks", str(name), lambda: MemoryBlobStore.uncommitted_blocks(self, name)
        )

    async def read(
        self, name: BlobName, *, offset: int = 0, etag: ETag | None = None
    ) -> AsyncGenerator[bytes, None]:
        async def all_of_it() -> list[bytes]:
            return [piece async for piece in MemoryBlobStore.read(self, name, offset=offset, etag=etag)]

        for piece in await self._travel("read", str(name), all_of_it):
            yield piece

    async def _travel(
        self,
        operation: str,
        subject: str,
        act: Callable[[], Awaitable[T]],
        request: Request | None = None,
        block_id: str = "",
    ) -> T:
        call = Call(len(self.calls), operation, subject, block_id)
        self.calls.append(call)
        self.begun(call)
        await self._let_late_ones_act(call.number)
        await self.stranger(call)
        fault = self.faults(call)
        if request is not None:
            self.travelling[call.number] = request
        try:
            await self._some_time()
            if fault in ("H", "W"):
                await self._given_up(call, request if fault == "W" else None)
            if fault in _BEFORE:
                if fault == "Z" and request is not None:
                    self._late.append((call.number + self.late_calls, request))
                raise _BEFORE[fault](f"{subject}: fault {fault} of call {call.number}, {operation}")
        finally:
            self.travelling.pop(call.number, None)
        result = await act()
        if request is not None:
            self._changes += 1
            self.changed()
        await self._some_time()
        if fault == "L":
            raise StoreUnreachable(f"{subject}: the reply to call {call.number}, {operation}, is lost")
        if fault == "K":
            await _never()
        return result

    async def _given_up(self, call: Call, request: Request | None) -> None:
        try:
            await _never()
        finally:
            if request is not None:
                self._late.append((call.number + self.late_calls, request))

    async def let_all_late_ones_act(self) -> None:
        """However late they are."""
        await self._let_late_ones_act(NEVER)

    async def _let_late_ones_act(self, number: int) -> None:
        due = [request for at, request in self._late if at <= number]
        self._late = [(at, request) for at, request in self._late if at > number]
        for request in due:
            await request.act(self)
            self._changes += 1
            self.changed()

    async def _some_time(self) -> None:
        for _ in range(self._random.randrange(4)):
            await asyncio.sleep(0)


async def _nobody(call: Call) -> None:
    return


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


def _kept(body: Body) -> list[memoryview]:
    return [memoryview(bytes(piece)) for piece in body]
