"""Reads a blob back for its checksum: in pieces, each a request under the rules for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from agent.blobs.crc64 import combine, crc64
from agent.blobs.rules import READ_PIECE_BYTES
from agent.blobs.store import BlobStore, ETag
from agent.errors import BlobRequestFailed
from agent.model.blobs import BlobName
from agent.transfer.patience import Patience

T = TypeVar("T")

DOWNLOAD_TRIES = 3
"""So often is a blob begun that changes while it is read."""


class Download:
    """The CRC-64 and the length of one committed blob."""

    def __init__(self, store: BlobStore, patience: Patience, name: BlobName) -> None:
        self._store, self._patience, self._name = store, patience, name

    async def checksum(self, length: int, stop: asyncio.Event) -> tuple[int, int] | None:
        """None as soon as ``stop`` is set. ``length`` is what is expected, not what must be there.

        A piece that fails is asked for again, and no other. A blob of several pieces is one version
        throughout; when it changes it is begun anew, DOWNLOAD_TRIES times in all. Raises
        BlobRequestFailed, BlobNotFound, and what ``Patience.call`` raises.
        """
        work = self._at_once(length) if length <= READ_PIECE_BYTES else self._in_pieces()
        return await _unless(stop, work)

    async def _at_once(self, length: int) -> tuple[int, int]:
        return await self._patience.call(self._all, answer_bytes=length)

    async def _all(self) -> tuple[int, int]:
        crc = length = 0
        async with aclosing(self._store.read(self._name)) as pieces:
            async for piece in pieces:
                crc, length = await _longer(crc, length, piece)
        return crc, length

    async def _in_pieces(self) -> tuple[int, int]:
        for tries_left in reversed(range(DOWNLOAD_TRIES)):
            version, size_bytes = await self._look()
            try:
                return await self._version(version, size_bytes)
            except BlobRequestFailed:
                if not tries_left or (await self._look())[0] == version:
                    raise
        raise AssertionError

    async def _look(self) -> tuple[ETag, int]:
        found = await self._patience.call(lambda: self._store.properties(self._name))
        return found.etag, found.size_bytes

    async def _version(self, version: ETag, size_bytes: int) -> tuple[int, int]:
        crc = at = 0
        while at < size_bytes:
            piece = await self._patience.call(
                lambda at=at: self._piece(at, version),  # type: ignore[misc]
                answer_bytes=min(READ_PIECE_BYTES, size_bytes - at),
            )
            if not piece:
                raise BlobRequestFailed(f"{self._name}: it ends at byte {at}, and should have {size_bytes}")
            crc, at = await _longer(crc, at, piece)
        return crc, at

    async def _piece(self, offset: int, version: ETag) -> bytes:
        async with aclosing(self._store.read(self._name, offset=offset, etag=version)) as pieces:
            return await anext(pieces, b"")


async def _longer(crc: int, length: int, piece: bytes) -> tuple[int, int]:
    more = await asyncio.to_thread(crc64, [piece])
    return combine(crc, more, len(piece)), length + len(piece)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Its result; None when ``stop`` is set before it ends, and then it is cancelled."""
    doing, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((doing, stopped), return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        stopped.cancel()
        doing.cancel()
        await asyncio.wait((doing,))
