"""Moves the items of a journal: one sweep over the drive, many requests to the store.

The feeder walks the items in the order in which they lie on the drive and asks the reader for their
pieces as slots get free; a task a piece verifies and sends what was read. So the drive is read once
and forward, while requests end in any order.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.blobs.crc64 import crc64
from agent.blobs.store import Body
from agent.errors import BlobNotFound, BlobRequestFailed, ChecksumMismatch, LeasePresent, MalformedInput
from agent.model.blobs import BlobName
from agent.model.codes import BlobStatus, BlobType, ChunkStatus, DispositionStatus, SideFileStatus
from agent.transfer.books import Books
from agent.transfer.items import (
    Item,
    ItemState,
    Outcome,
    Piece,
    block_bytes_for,
    block_id,
    ids_tell_content,
    pieces_of,
)
from agent.transfer.journal import Journal
from agent.transfer.link import ReaderLink, Source
from agent.transfer.ring import SLOT_BYTES, slots_for
from agent.transfer.sender import NoFreeName, Placed, Sender, Target
from agent.transfer.sides import Dressed, dress
from agent.volume.ntfs import StreamRef

OPEN_ITEMS = 64
"""Blobs under way at once; also the bound on blobs that need no slot."""

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


@dataclass(frozen=True, slots=True)
class _Ordered:
    """Bytes that the reader was asked for. ``filled`` tells None, or why they could not be read."""

    source: Source
    slots: list[int]
    filled: asyncio.Future[str | None]


@dataclass(slots=True)
class _Work:
    """An item under way. ``left`` counts pieces that were ordered and are not settled."""

    dressed: Dressed
    target: Target
    block_bytes: int
    ids_tell_content: bool
    faults: dict[int, ChunkStatus] = field(default_factory=dict)
    note: str = ""
    moved_bytes: int = 0
    left: int = 0
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def item(self) -> Item:
        return self.dressed.item

    @property
    def stream(self) -> StreamRef:
        assert self.item.stream is not None
        return self.item.stream

    def block_id(self, piece: Piece) -> str:
        return block_id(self.target.marker, piece, by_content=self.ids_tell_content)

    def fault(self, piece: Piece, status: ChunkStatus, note: str) -> None:
        self.faults[piece.ordinal] = status
        self.note = self.note or note


class Mover:
    """Moves everything that a journal has pending.

    ``marker_of`` tells our own blobs (see ``items.marker``). ``stop`` set: what is under way is
    settled and nothing more is begun.
    """

    def __init__(
        self,
        link: ReaderLink,
        sender: Sender,
        journal: Journal,
        books: Books,
        *,
        marker_of: Callable[[Item], str],
        block_bytes: int,
        stop: asyncio.Event,
    ) -> None:
        self._link, self._sender, self._journal, self._books = link, sender, journal, books
        self._marker_of = marker_of
        self._block_bytes = block_bytes
        self._stop = stop
        self._room = asyncio.Semaphore(OPEN_ITEMS)

    async def move(self) -> None:
        """Returns when all is moved, or when it was told to stop and what was under way is settled.

        Raises, in a group, what ends or pauses the whole transfer: StoreUnreachable, StoreRefused,
        DeviceUnavailable, WorkerLost.
        """
        # What overwrites goes first, and alone: it must not meet a blob that this drive has just made.
        for overwriting in (True, False):
            async with asyncio.TaskGroup() as group:
                async for dressed in self._sweep(overwriting):
                    await self._room.acquire()
                    if self._stop.is_set():
                        return
                    await self._begin(group, self._work(dressed))

    async def _begin(self, group: asyncio.TaskGroup, work: _Work) -> None:
        if self._is_whole(work.item):
            await self._begin_whole(group, work)
        else:
            await self._begin_pieces(group, work)

    async def _sweep(self, overwriting: bool) -> AsyncIterator[Dressed]:
        after = (-1, -1)
        while page := await asyncio.to_thread(self._page, overwriting, after):
            for dressed in page:
                yield dressed
            last = page[-1].item
            after = (last.stream.first_offset if last.stream else 0, last.seq)

    def _page(self, overwriting: bool, after: tuple[int, int]) -> list[Dressed]:
        items = self._journal.pending(after, overwriting=overwriting)
        return [dress(item, self._journal, self._marker_of(item)) for item in items]

    def _work(self, dressed: Dressed) -> _Work:
        item = dressed.item
        target = Target(
            BlobName.parse(item.blob),
            item.disposition,
            dressed.attributes,
            self._marker_of(item),
            item.length,
        )
        block_bytes = block_bytes_for(item.length, self._block_bytes)
        return _Work(dressed, target, block_bytes, ids_tell_content(item))

    def _is_whole(self, item: Item) -> bool:
        """Whether the blob goes in one request."""
        one = item.pieces is None or len(item.pieces) <= 1
        return item.type is BlobType.BLOCK and one and item.length <= self._block_bytes

    async def _begin_whole(self, group: asyncio.TaskGroup, work: _Work) -> None:
        piece = next(pieces_of(work.item, work.block_bytes), None)
        if piece is None:
            group.create_task(self._guard(work, lambda: self._send_whole(work, [], None)))
        elif (ordered := await self._order(work, piece, work.stream)) is not None:
            group.create_task(self._guard(work, lambda: self._whole(work, piece, ordered)))
        else:
            self._settle(work, None)

    async def _order(self, work: _Work, piece: Piece, source: Source) -> _Ordered | None:
        """Ask the reader for a piece; None when the file ends before it does."""
        if piece.offset + piece.length > work.stream.size:
            work.fault(piece, ChunkStatus.FILE_UNEXPECTED_END, f"the file ends at byte {work.stream.size}")
            return None
        slots = await self._link.pool.take(slots_for(piece.length))
        return _Ordered(source, slots, await self._link.fill(source, piece.offset, piece.length, slots))

    async def _whole(self, work: _Work, piece: Piece, ordered: _Ordered) -> None:
        try:
            body = await self._verified(work, piece, ordered)
            if body is None:
                self._settle(work, None)
            else:
                await self._send_whole(work, body, piece)
        finally:
            self._link.pool.put_back(ordered.slots)

    async def _send_whole(self, work: _Work, body: Body, piece: Piece | None) -> None:
        crc = await _crc64(body)
        self._settle(work, await self._sender.put_whole(work.target, body, crc))

    async def _verified(self, work: _Work, piece: Piece, ordered: _Ordered) -> Body | None:
        """What was read, if it is what the manifest promises; it is read twice before it is doubted."""
        why = await ordered.filled
        body = self._link.ring.views(ordered.slots, piece.length)
        if why is None and not await _matches(body, piece.md5):
            again = self._link.fill(ordered.source, piece.offset, piece.length, ordered.slots)
            why = await (await again)
            if why is None and not await _matches(body, piece.md5):
                work.fault(piece, ChunkStatus.CORRUPTED, "")
                return None
        if why is not None:
            work.fault(piece, ChunkStatus.IO_FAILED, why)
            return None
        return body

    async def _begin_pieces(self, group: asyncio.TaskGroup, work: _Work) -> None:
        """Order the pieces of a blob that takes more than one request."""
        try:
            placed, staged = await self._place(work)
        except _REFUSALS as error:
            self._refuse(work, error)
            return
        if placed.is_there or placed.status is DispositionStatus.SKIPPED:
            self._settle(work, placed)
            return
        sid = await self._link.open(work.stream)
        whole = True
        for piece in pieces_of(work.item, work.block_bytes):
            if self._stop.is_set():
                whole = False
                break
            if self._is_staged(work, piece, staged):
                self._moved(work, piece)
            elif (ordered := await self._order(work, piece, sid)) is not None:
                work.left += 1
                group.create_task(self._piece(work, placed.name, piece, ordered))
        group.create_task(self._guard(work, lambda: self._finish(group, work, placed, sid, whole)))

    async def _place(self, work: _Work) -> tuple[Placed, Mapping[str, int]]:
        """Where the blob goes, and which of its blocks are there already."""
        if slots_for(work.block_bytes) * 2 > self._link.ring.slot_count:
            raise BlobRequestFailed(
                f"the file needs blocks of {work.block_bytes} bytes, too large for a ring of "
                f"{self._link.ring.slot_count * SLOT_BYTES} bytes"
            )
        if work.item.type is BlobType.PAGE:
            return await self._sender.create_pages(work.target), {}
        placed = await self._sender.choose(work.target)
        settled = placed.is_there or placed.status is DispositionStatus.SKIPPED
        return placed, {} if settled else await self._sender.staged(placed.name)

    @staticmethod
    def _is_staged(work: _Work, piece: Piece, staged: Mapping[str, int]) -> bool:
        return staged.get(work.block_id(piece)) == piece.length

    async def _piece(self, work: _Work, name: BlobName, piece: Piece, ordered: _Ordered) -> None:
        try:
            body = await self._verified(work, piece, ordered)
            if body is not None:
                await self._put(work, name, piece, body)
                self._moved(work, piece)
        except _REFUSALS as error:
            work.fault(piece, ChunkStatus.BLOB_REQUEST_FAILED, _reason(error))
        finally:
            self._link.pool.put_back(ordered.slots)
            work.left -= 1
            work.settled.set()

    async def _put(self, work: _Work, name: BlobName, piece: Piece, body: Body) -> None:
        crc = await _crc64(body)
        if work.item.type is BlobType.PAGE:
            await self._sender.put_page(name, piece.offset, body, crc)
        else:
            await self._sender.put_block(name, work.block_id(piece), body, crc)

    async def _finish(
        self, group: asyncio.TaskGroup, work: _Work, placed: Placed, sid: int, whole: bool
    ) -> None:
        """Wait for the pieces and commit; ``whole`` False: the transfer stops, leave it for the resume."""
        while work.left:
            work.settled.clear()
            await work.settled.wait()
        await self._link.drop(sid)
        if not whole:
            self._books.under_way(-work.moved_bytes)
            self._room.release()
        elif (
            work.faults
            or work.item.type is BlobType.PAGE
            or await self._sender.commit(work.target, placed.name, self._block_ids(work))
        ):
            self._settle(work, placed)
        else:
            await self._lost_race(group, work)

    def _block_ids(self, work: _Work) -> list[str]:
        return [work.block_id(piece) for piece in pieces_of(work.item, work.block_bytes)]

    async def _lost_race(self, group: asyncio.TaskGroup, work: _Work) -> None:
        """Somebody made a blob of that name since we looked: look again, and stage anew if need be."""
        self._books.under_way(-work.moved_bytes)
        await self._begin_pieces(group, self._work(work.dressed))

    async def _guard(self, work: _Work, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Turn the store's refusal of one blob into that blob's outcome."""
        try:
            await step()
        except _REFUSALS as error:
            self._refuse(work, error)

    def _moved(self, work: _Work, piece: Piece) -> None:
        work.moved_bytes += piece.length
        self._books.under_way(piece.length)

    def _refuse(self, work: _Work, error: Exception) -> None:
        status = _REFUSED[type(error)]
        self._close(work, ItemState.FAILED, status, DispositionStatus.CANCELLED, None, _reason(error))

    def _settle(self, work: _Work, placed: Placed | None) -> None:
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
        work: _Work,
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
        self._books.under_way(-work.moved_bytes)
        self._books.settle(work.item, outcome)
        self._room.release()


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
