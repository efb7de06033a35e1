"""Carries what was read to the store, and settles each blob once its pieces are through."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Self

from agent.blobs.crc64 import crc64
from agent.blobs.store import Body, NewBlob
from agent.errors import BlobNotFound, BlobRequestFailed, ChecksumMismatch, LeasePresent, MalformedInput
from agent.model.codes import BlobStatus, BlobType, ChunkStatus, DispositionStatus, SideFileStatus
from agent.model.verification import Depth, Verdict, Verified
from agent.transfer.books import Books
from agent.transfer.hashing import crc64_of, matches, matches_now
from agent.transfer.items import ItemState, Outcome, Piece
from agent.transfer.link import ReaderLink
from agent.transfer.ring import SLOT_BYTES, slots_for
from agent.transfer.sender import NoFreeName, Placed, Sender, not_placed
from agent.transfer.sides import SHA256_KEY
from agent.transfer.verify import Finding, ReadBack
from agent.transfer.work import Cargo, Load, Work

_MEBIBYTE = 1024 * 1024
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


LOOK_ON = 64
"""So many blobs in a row that are not there end the looking for what an earlier life has put."""


class Recognition:
    """Whether it is likely that the store has blobs of ours that the journal does not know of.

    It is after the first one that turned up: the journal was lost, or its last moments were.
    """

    def __init__(self) -> None:
        self._left = 0
        self._has_heard = False

    @property
    def is_likely(self) -> bool:
        return self._left > 0

    @property
    def is_unlikely(self) -> bool:
        """Whether some blob was not there, and none of late was: until then nothing is sent by the dozen."""
        return self._has_heard and not self._left

    def found(self) -> None:
        """A blob was there, and it was ours."""
        self._left = LOOK_ON

    def made(self) -> None:
        """One was made, which nobody had asked for before."""
        self._has_heard = True

    def missed(self) -> None:
        """One was asked for, and was not there."""
        self._left = max(0, self._left - 1)
        self._has_heard = True


class Carrier:
    """One sweep's way from the ring to the store.

    ``put_off`` counts the blobs that are left for another sweep; ``is_last`` allows no more of that.
    """

    def __init__(
        self,
        link: ReaderLink,
        sender: Sender,
        books: Books,
        readback: ReadBack,
        recognition: Recognition,
        *,
        is_last: bool,
    ) -> None:
        self._link, self._sender, self._books, self._readback = link, sender, books, readback
        self._recognition = recognition
        self._is_last = is_last
        self._placed: dict[int, tuple[Placed, Mapping[str, int]]] = {}
        self.put_off = 0

    async def whole(self, work: Work, piece: Piece | None, cargo: Cargo | None) -> None:
        """A blob of one request, or an empty one."""
        async with _Released(cargo) as held:
            await self._guard(work, lambda: self._whole(work, piece, cargo, held))

    async def _whole(self, work: Work, piece: Piece | None, cargo: Cargo | None, held: _Released) -> None:
        body: Body | None = [] if not work.faults else None
        if piece is not None and cargo is not None:
            body = await self._verified(work, piece, work.stream, cargo)
        if work.put_off:
            self.put_off += 1
        elif body is None:
            self._settle(work, None)
        else:
            checksum = await self._summed(work, piece, body)
            if self._promise_is_kept(work):
                work.put_hashes_on_blob()
                placed = await self._sender.put_whole(work.target, body, checksum)
                if placed.is_there:
                    self._recognition.found()
                elif placed.status is DispositionStatus.CREATED:
                    self._recognition.made()
                await self._conclude(work, placed, held)

    async def together(self, loads: Sequence[Load], is_wanted: Callable[[], bool]) -> int:
        """Blobs of one request each, all read by one; how many are settled, from the first on.

        The slots of these are released. It is for plain ones (``Work.is_plain``); what hinders one,
        whoever sends the rest hears. When they are not wanted any more, none is begun.
        """
        if await loads[0].cargo.filled is not None:
            return 0
        blobs: list[NewBlob] = []
        for load in loads:
            blob = self._new_blob(load)
            if blob is None:
                break
            blobs.append(blob)
        if not blobs:
            return 0
        there = await self._sender.put_together(blobs, is_wanted)
        for (work, _, cargo), blob in zip(loads, blobs[:there], strict=False):
            verdict = Verdict.UNKNOWN if work.check.note else Verdict.MATCH
            verified = Verified(work.check.depth, verdict, blob.crc64)
            self._settle(work, Placed(blob.name, DispositionStatus.CREATED), verified)
            cargo.hold.release()
        return there

    def _new_blob(self, load: Load) -> NewBlob | None:
        """None when what was read is not what the manifest promises."""
        work, piece, cargo = load
        body = self._link.ring.views(cargo.hold.slots, piece.length, cargo.at)
        if work.check.compares_pieces and not matches_now(body, piece.md5):
            return None
        return NewBlob(work.target.name, body, crc64(body), work.target.attributes)

    async def recognise(self, work: Work) -> None:
        """Settle a blob of one request that an earlier life has put, so that its file need not be read."""
        await self._guard(work, lambda: self._recognise(work))

    async def _recognise(self, work: Work) -> None:
        placed = await self._sender.choose(work.target)
        if not placed.is_there:
            self._recognition.missed()
            return
        self._recognition.found()
        if not work.check.is_read_back:
            self._settle(work, placed, await self._of_an_earlier_try(work, placed))

    async def place(self, work: Work) -> None:
        """Ask where the blob goes and which of its blocks are there; it may be settled by the answer."""
        await self._guard(work, lambda: self._place(work))

    async def _place(self, work: Work) -> None:
        if slots_for(work.block_bytes) > self._link.ring.slot_count:
            held, needed = self._link.ring.slot_count * SLOT_BYTES, -(-work.block_bytes // _MEBIBYTE)
            raise BlobRequestFailed(
                f"{work.item.length} bytes need blocks of {work.block_bytes} bytes, and a ring holds "
                f"{held}: raise transfer.ring_mib to {needed} and file the job anew"
            )
        staged: Mapping[str, int] = {}
        if work.item.type is BlobType.PAGE:
            placed = await self._sender.create_pages(work.target)
        else:
            placed = await self._sender.choose(work.target)
        if placed.status is DispositionStatus.SKIPPED:
            self._settle(work, placed)
            return
        if placed.is_there and not work.check.is_read_back:
            self._settle(work, placed, await self._of_an_earlier_try(work, placed))
            return
        if work.item.type is BlobType.BLOCK and not placed.is_there:
            staged = await self._sender.staged(placed.name)
        self._placed[work.item.seq] = placed, staged
        work.sid = await self._link.open(work.stream)
        if not work.left:
            await self._finish(work)

    async def skips(self, work: Work, piece: Piece) -> bool:
        """Whether a piece need not be read: its blob is settled or refused, or the store has the block."""
        if work.is_closed:
            return True
        if work.refusal is None:
            if work.check.needs_all_bytes or not self._has(work, piece):
                return False
            self._moved(work, piece)
        await self._guard(work, lambda: self._through(work))
        return True

    def _has(self, work: Work, piece: Piece) -> bool:
        """Whether the store has the block already."""
        placed, staged = self._placed[work.item.seq]
        return placed.is_there or staged.get(work.block_id(piece)) == piece.length

    async def piece(self, work: Work, piece: Piece, cargo: Cargo) -> None:
        """A block or a page range."""
        async with _Released(cargo) as held:
            try:
                body = await self._verified(work, piece, work.sid, cargo)
                if body is not None:
                    await self._put(work, piece, body)
                    self._moved(work, piece)
            except LeasePresent as error:
                work.refusal = error
            except _REFUSALS as error:
                work.fault(piece, ChunkStatus.BLOB_REQUEST_FAILED, _reason(error))
            if not work.check.is_read_back:
                held.release()
            # Else what waits for its download keeps its slots, so that not ever more of it waits.
            await self._guard(work, lambda: self._through(work, held))

    async def _verified(self, work: Work, piece: Piece, source: Any, cargo: Cargo) -> Body | None:
        """What was read, if it is what the manifest promises; it is read twice before it is doubted."""
        trouble = await cargo.filled
        body = self._link.ring.views(cargo.hold.slots, piece.length, cargo.at)
        md5 = piece.md5 if work.check.compares_pieces else None
        if trouble is None and not await matches(body, md5):
            again = self._link.fill(source, piece.offset, piece.length, cargo.hold.slots, cargo.at)
            trouble = await (await again)
            if trouble is None and not await matches(body, md5):
                work.fault(piece, ChunkStatus.CORRUPTED, "")
                _give_up(work)
                return None
        if trouble is None:
            return body
        _give_up(work)
        if trouble.later:
            work.put_off = True
        else:
            work.fault(piece, ChunkStatus.IO_FAILED, trouble.why)
        return None

    async def _put(self, work: Work, piece: Piece, body: Body) -> None:
        checksum = await self._summed(work, piece, body)
        placed, _ = self._placed[work.item.seq]
        if self._has(work, piece):
            return
        if work.item.type is BlobType.PAGE:
            await self._sender.put_page(placed.name, piece.offset, body, checksum)
        else:
            await self._sender.put_block(placed.name, work.block_id(piece), body, checksum)

    @staticmethod
    async def _summed(work: Work, piece: Piece | None, body: Body) -> int:
        """The CRC-64 of a piece; what it adds to the whole file's checksums is noted."""
        checksum = await crc64_of(body)
        if piece is not None:
            work.crc.add(piece.offset, piece.length, checksum)
            await work.hash_piece(piece, body)
        return checksum

    async def _through(self, work: Work, held: _Released | None = None) -> None:
        """One piece less; after the last one the blob is committed."""
        work.left -= 1
        if not work.left:
            await self._finish(work, held)

    async def _finish(self, work: Work, held: _Released | None = None) -> None:
        await self._link.drop(work.sid)
        placed, _ = self._placed.pop(work.item.seq)
        if work.refusal is not None:
            raise work.refusal
        if work.put_off:
            self._leave(work)
        elif work.faults:
            self._settle(work, placed)
        elif work.item.type is BlobType.PAGE:
            await self._finish_pages(work, placed, held)
        elif not self._promise_is_kept(work):
            return
        elif placed.is_there or await self._commit(work, placed):
            await self._conclude(work, placed, held)
        elif self._is_last:
            raise not_placed(work.target)
        else:
            # Somebody made a blob of that name since we looked: another sweep looks again.
            self._leave(work)

    async def _finish_pages(self, work: Work, placed: Placed, held: _Released | None) -> None:
        """Its pages are seen as they come; what is said of the whole blob is said at the end."""
        await work.hash_the_rest()
        if not self._promise_is_kept(work, placed):
            return
        work.put_hashes_on_blob()
        if await self._sender.describe(work.target, placed.name):
            await self._conclude(work, placed, held)
        elif self._is_last:
            raise not_placed(work.target)
        else:
            self._leave(work)

    async def _commit(self, work: Work, placed: Placed) -> bool:
        work.put_hashes_on_blob()
        ids = [work.block_id(work.pieces.piece(index)) for index in range(work.pieces.total)]
        return await self._sender.commit(work.target, placed.name, ids)

    def _promise_is_kept(self, work: Work, written: Placed | None = None) -> bool:
        """Whether the file has the MD5 that its properties file tells; if not, it is settled.

        ``written`` is where its pages lie already.
        """
        promised, found = work.check.promised_md5, work.md5
        if promised is None or found is None or found == promised:
            return True
        note = f"the file's MD5 is {found.hex()}, its properties file says {promised.hex()}"
        verified = Verified(work.check.depth, Verdict.DIFFER, work.crc64, found, work.sha256)
        status = BlobStatus.COMPLETED_WITH_ERRORS
        disposition = written.status if written is not None else DispositionStatus.CANCELLED
        self._close(work, ItemState.FAILED, status, disposition, written, note, verified)
        return False

    async def _conclude(self, work: Work, placed: Placed, held: _Released | None) -> None:
        """The outcome of a blob that is whole in the store, or was left alone there."""
        if placed.status is DispositionStatus.SKIPPED:
            self._settle(work, placed)
            return
        finding: Finding | None = Finding(Verdict.UNKNOWN if work.check.note else Verdict.MATCH)
        if work.check.is_read_back:
            begun = held.release if held is not None else _nothing
            finding = await self._readback.compare(placed.name, work.item.length, work.crc64, begun)
        if finding is None:
            # Told to stop: the blob is there, and is read back when the transfer goes on.
            self._leave(work)
            return
        verified = Verified(work.check.depth, finding.verdict, work.crc64, work.md5, work.sha256)
        self._settle(work, placed, verified, finding.note)

    async def _of_an_earlier_try(self, work: Work, placed: Placed) -> Verified:
        """What is known of a blob that we committed before: it was verified then, and tells its hashes."""
        md5 = sha256 = None
        if work.check.hashes:
            found = await self._sender.attributes(placed.name)
            md5, sha256 = found.content_md5, _from_hex(found.metadata.get(SHA256_KEY, ""))
        verdict = Verdict.UNKNOWN if work.check.note else Verdict.MATCH
        return Verified(work.check.depth, verdict, None, md5, sha256)

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

    def _settle(
        self, work: Work, placed: Placed | None, verified: Verified | None = None, found: str = ""
    ) -> None:
        """The outcome of an item whose pieces are all through; ``found`` is why it does not match."""
        disposition = placed.status if placed is not None else DispositionStatus.CREATED
        sides = (work.dressed.metadata_status, work.dressed.properties_status)
        if disposition is DispositionStatus.SKIPPED:
            note = "a blob of that name was there already and was left alone"
            self._close(work, ItemState.SKIPPED, BlobStatus.COMPLETED, disposition, placed, note)
        elif work.faults:
            if placed is None or work.item.type is BlobType.BLOCK:
                disposition = DispositionStatus.CANCELLED
            if ChunkStatus.CORRUPTED in work.faults.values():
                verified = Verified(Depth.MANIFEST, Verdict.DIFFER)
            status = BlobStatus.COMPLETED_WITH_ERRORS
            self._close(work, ItemState.FAILED, status, disposition, placed, work.note, verified)
        elif verified is not None and verified.verdict is Verdict.DIFFER:
            status = BlobStatus.BLOB_UNEXPECTED_CHANGE
            self._close(work, ItemState.FAILED, status, disposition, placed, found, verified)
        elif any(status not in (None, SideFileStatus.COMPLETED) for status in sides):
            note = "its metadata or properties file could not be used"
            status = BlobStatus.COMPLETED_WITH_ERRORS
            self._close(work, ItemState.FAILED, status, disposition, placed, note, verified)
        else:
            note = "; ".join(filter(None, (found, work.check.note, work.dressed.note)))
            self._close(work, ItemState.DONE, BlobStatus.COMPLETED, disposition, placed, note, verified)

    def _close(
        self,
        work: Work,
        state: ItemState,
        status: BlobStatus,
        disposition: DispositionStatus,
        placed: Placed | None,
        note: str,
        verified: Verified | None = None,
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
            verified=verified,
        )
        work.is_closed = True
        self._books.under_way(-work.moved_bytes)
        self._books.settle(work.item, outcome)


class _Released:
    """Lets go of a cargo's slots, once: when it is told to, or at the end, whatever the end is."""

    def __init__(self, cargo: Cargo | None) -> None:
        self._cargo = cargo

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        cargo, self._cargo = self._cargo, None
        if cargo is not None:
            cargo.hold.release()


def _nothing() -> None:
    pass


def _give_up(work: Work) -> None:
    """A piece is missing: no hash of the whole file can be had."""
    if work.hash is not None:
        work.hash.give_up()


def _from_hex(text: str) -> bytes | None:
    return bytes.fromhex(text) if re.fullmatch("[0-9a-f]{64}", text) else None


def _reason(error: Exception) -> str:
    if isinstance(error, NoFreeName):
        return "no free name was found for it"
    return getattr(error, "detail", str(error))
