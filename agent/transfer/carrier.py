"""Carries what was read to the store, and settles each blob once its pieces are through."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from agent.blobs.crc64 import crc64
from agent.blobs.store import Body
from agent.errors import BlobNotFound, BlobRequestFailed, ChecksumMismatch, LeasePresent, MalformedInput
from agent.model.codes import BlobStatus, BlobType, ChunkStatus, DispositionStatus, SideFileStatus
from agent.transfer.books import Books
from agent.transfer.items import ItemState, Outcome, Piece
from agent.transfer.link import ReaderLink
from agent.transfer.ring import SLOT_BYTES, slots_for
from agent.transfer.sender import NoFreeName, Placed, Sender
from agent.transfer.work import Cargo, Work

INLINE_BYTES = 64 * 1024
"""Up to here a checksum (some microseconds) is cheaper than its way to a thread."""

_REFUSED: dict[type[Exception], BlobStatus] = {
    BlobRequestFailed: BlobStatus.BLOB_REQUEST_FAILED,
    BlobNotFound: BlobStatus.BLOB_REQUEST_FAILED,
    ChecksumMismatch: BlobStatus.BLOB_REQUEST_FAILED,
    LeasePresent: BlobStatus.LEASE_PRESENT,
    NoFreeName: BlobStatus.RENAME_FAILED,
    MalformedInput: BlobStatus.RENAME_FAILED,
}
"""Answers of the store that are one blob's trouble; any other ends the transfer or pauses it."""

_REFUSALS = tuple(_REFUSED)


class Carrier:
    """One sweep's way from the ring to the store.

    ``put_off`` counts the blobs that are left for another sweep; ``is_last`` allows no more of that.
    """

    def __init__(self, link: ReaderLink, sender: Sender, books: Books, *, is_last: bool) -> None:
        self._link, self._sender, self._books = link, sender, books
        self._is_last = is_last
        self._placed: dict[int, tuple[Placed, Mapping[str, int]]] = {}
        self.put_off = 0

    async def whole(self, work: Work, piece: Piece | None, cargo: Cargo | None) -> None:
        """A blob of one request, or an empty one."""
        async with _Released(cargo):
            await self._guard(work, lambda: self._whole(work, piece, cargo))

    async def _whole(self, work: Work, piece: Piece | None, cargo: Cargo | None) -> None:
        body: Body | None = [] if not work.faults else None
        if piece is not None and cargo is not None:
            body = await self._verified(work, piece, work.stream, cargo)
        if work.put_off:
            self.put_off += 1
        elif body is None:
            self._settle(work, None)
        else:
            checksum = await _crc64(body)
            self._settle(work, await self._sender.put_whole(work.target, body, checksum))

    async def place(self, work: Work) -> None:
        """Ask where the blob goes and which of its blocks are there; it may be settled by the answer."""
        await self._guard(work, lambda: self._place(work))

    async def _place(self, work: Work) -> None:
        if slots_for(work.block_bytes) * 2 > self._link.ring.slot_count:
            raise BlobRequestFailed(
                f"the file needs blocks of {work.block_bytes} bytes, too large for a ring of "
                f"{self._link.ring.slot_count * SLOT_BYTES} bytes"
            )
        staged: Mapping[str, int] = {}
        if work.item.type is BlobType.PAGE:
            placed = await self._sender.create_pages(work.target)
        else:
            placed = await self._sender.choose(work.target)
        if placed.is_there or placed.status is DispositionStatus.SKIPPED:
            self._settle(work, placed)
            return
        if work.item.type is BlobType.BLOCK:
            staged = await self._sender.staged(placed.name)
        self._placed[work.item.seq] = placed, staged
        work.sid = await self._link.open(work.stream)
        if not work.left:
            await self._finish(work)

    async def skips(self, work: Work, piece: Piece) -> bool:
        """Whether a piece need not be read: its blob is settled, or the store has the block."""
        if work.is_closed:
            return True
        _, staged = self._placed[work.item.seq]
        if staged.get(work.block_id(piece)) != piece.length:
            return False
        self._moved(work, piece)
        await self._guard(work, lambda: self._through(work))
        return True

    async def piece(self, work: Work, piece: Piece, cargo: Cargo) -> None:
        """A block or a page range."""
        async with _Released(cargo):
            try:
                body = await self._verified(work, piece, work.sid, cargo)
                if body is not None:
                    await self._put(work, piece, body)
                    self._moved(work, piece)
            except _REFUSALS as error:
                work.fault(piece, ChunkStatus.BLOB_REQUEST_FAILED, _reason(error))
        await self._guard(work, lambda: self._through(work))

    async def _verified(self, work: Work, piece: Piece, source: Any, cargo: Cargo) -> Body | None:
        """What was read, if it is what the manifest promises; it is read twice before it is doubted."""
        trouble = await cargo.filled
        body = self._link.ring.views(cargo.hold.slots, piece.length, cargo.at)
        if trouble is None and not await _matches(body, piece.md5):
            again = self._link.fill(source, piece.offset, piece.length, cargo.hold.slots, cargo.at)
            trouble = await (await again)
            if trouble is None and not await _matches(body, piece.md5):
                work.fault(piece, ChunkStatus.CORRUPTED, "")
                return None
        if trouble is None:
            return body
        if trouble.later:
            work.put_off = True
        else:
            work.fault(piece, ChunkStatus.IO_FAILED, trouble.why)
        return None

    async def _put(self, work: Work, piece: Piece, body: Body) -> None:
        checksum = await _crc64(body)
        placed, _ = self._placed[work.item.seq]
        if work.item.type is BlobType.PAGE:
            await self._sender.put_page(placed.name, piece.offset, body, checksum)
        else:
            await self._sender.put_block(placed.name, work.block_id(piece), body, checksum)

    async def _through(self, work: Work) -> None:
        """One piece less; after the last one the blob is committed."""
        work.left -= 1
        if not work.left:
            await self._finish(work)

    async def _finish(self, work: Work) -> None:
        await self._link.drop(work.sid)
        placed, _ = self._placed.pop(work.item.seq)
        if work.put_off:
            self._leave(work)
        elif work.faults or work.item.type is BlobType.PAGE or await self._commit(work, placed):
            self._settle(work, placed)
        elif self._is_last:
            raise NoFreeName
        else:
            # Somebody made a blob of that name since we looked: another sweep looks again.
            self._leave(work)

    async def _commit(self, work: Work, placed: Placed) -> bool:
        ids = [work.block_id(work.pieces.piece(index)) for index in range(work.pieces.total)]
        return await self._sender.commit(work.target, placed.name, ids)

    def _leave(self, work: Work) -> None:
        self.put_off += 1
        self._books.under_way(-work.moved_bytes)

    async def _guard(self, work: Work, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Turn the store's refusal of one blob into that blob's outcome."""
        try:
            await step()
        except _REFUSALS as error:
            status = _REFUSED[type(error)]
            self._close(work, ItemState.FAILED, status, DispositionStatus.CANCELLED, None, _reason(error))

    def _moved(self, work: Work, piece: Piece) -> None:
        work.moved_bytes += piece.length
        self._books.under_way(piece.length)

    def _settle(self, work: Work, placed: Placed | None) -> None:
        """The outcome of an item whose pieces are all through."""
        disposition = placed.status if placed is not None else DispositionStatus.CREATED
        sides = (work.dressed.metadata_status, work.dressed.properties_status)
        if disposition is DispositionStatus.SKIPPED:
            note = "a blob of that name was there already and was left alone"
            self._close(work, ItemState.SKIPPED, BlobStatus.COMPLETED, disposition, placed, note)
        elif work.faults:
            if placed is None or work.item.type is BlobType.BLOCK:
                disposition = DispositionStatus.CANCELLED
            self._close(
                work, ItemState.FAILED, BlobStatus.COMPLETED_WITH_ERRORS, disposition, placed, work.note
            )
        elif any(status not in (None, SideFileStatus.COMPLETED) for status in sides):
            note = "its metadata or properties file could not be used"
            self._close(work, ItemState.FAILED, BlobStatus.COMPLETED_WITH_ERRORS, disposition, placed, note)
        else:
            self._close(work, ItemState.DONE, BlobStatus.COMPLETED, disposition, placed, "")

    def _close(
        self,
        work: Work,
        state: ItemState,
        status: BlobStatus,
        disposition: DispositionStatus,
        placed: Placed | None,
        note: str,
    ) -> None:
        outcome = Outcome(
            seq=work.item.seq,
            state=state,
            blob_status=status,
            disposition_status=disposition,
            final_blob=str(placed.name) if placed is not None else work.item.blob,
            note=note,
            pieces=work.faults,
            metadata_status=work.dressed.metadata_status,
            properties_status=work.dressed.properties_status,
        )
        work.is_closed = True
        self._books.under_way(-work.moved_bytes)
        self._books.settle(work.item, outcome)


class _Released:
    """Lets go of a cargo's slots at the end, whatever the end is."""

    def __init__(self, cargo: Cargo | None) -> None:
        self._cargo = cargo

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        if self._cargo is not None:
            self._cargo.hold.release()


async def _matches(body: Body, md5: bytes | None) -> bool:
    return md5 is None or await asyncio.to_thread(_md5, body) == md5


async def _crc64(body: Body) -> int:
    if sum(map(len, body)) <= INLINE_BYTES:
        return crc64(body)
    return await asyncio.to_thread(crc64, body)


def _md5(body: Body) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    for view in body:
        digest.update(view)
    return digest.digest()


def _reason(error: Exception) -> str:
    if isinstance(error, NoFreeName):
        return "no free name was found for it"
    return getattr(error, "detail", str(error))
